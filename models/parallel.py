"""One training on several devices of this machine: a forked process each, told of by the checkpoint they share."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from torch.multiprocessing.spawn import ProcessException

from data.errors import BadDeclaration, OutOfMemory
from models.checkpoints import Epoch, told

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Learn = Callable[["Fabric", Callable[[Epoch], None]], None]
POLL = 0.2  # seconds between looks at the checkpoint


def launch(fabric: "Fabric", learn: Learn, workdir: Path, progress: Callable[[Epoch], None]) -> None:
    """Run `learn` once per device and tell `progress` of each epoch, in this process.

    Forked rather than spawned, so that a project's own network needs no pickle and no import by name.

    Raises: OutOfMemory and BadDeclaration, as `learn` does.
    """
    ended: list[Exception | None] = []

    def run() -> None:
        try:
            fabric.launch(learn, silent)
            ended.append(None)
        except ProcessException as error:
            ended.append(own_error(str(error)))

    known = told(workdir)
    thread = Thread(target=run, name="training")  # no executor: a process forked from its thread can't end well
    thread.start()
    while thread.is_alive():
        thread.join(POLL)
        epochs = told(workdir)
        common = len(known) if epochs[: len(known)] == known else 0  # else they started anew
        for epoch in epochs[common:]:
            progress(epoch)
        known = epochs
    failure = ended[0] if ended else RuntimeError("the devices' processes could not be started")
    if failure is not None:
        raise failure


def silent(epoch: Epoch) -> None:
    """Say nothing: the child's epoch is told by its parent."""


def own_error(text: str) -> Exception:
    """Return the error a child raised, when it is one that we raise on purpose; only its text came over."""
    last = text.strip().splitlines()[-1]
    for kind in (OutOfMemory, BadDeclaration):
        _, named, message = last.partition(f"{kind.__module__}.{kind.__name__}: ")
        if named:
            return kind(message)
    return RuntimeError(last)
