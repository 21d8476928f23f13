"""What looks like an onnxruntime session and answers with torch, which stays out of this process: in a worker.

A worker ends with its session, which ends with the predictor that nobody holds any more.
"""

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models.encoding import EncodedSpec
from models.torch_process import SERVING, WORKING, Patience, Recipe, Worker, WorkerDown
from models.worker import answered

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SERVING", "WORKING", "Inside", "Patience", "Recipe", "TorchSession", "WorkerDown"]

MOST_AWAKE = 3  # workers of a process that has time: each takes some 250 MB, and a judging asks up to 24 champions


class Node(NamedTuple):
    """An input or output, by its name."""

    name: str


class TorchSession:
    """Answers encoded rows through a worker of its own.

    Where there is time to wait for it, a worker that was not asked for long is ended, and started when it is needed.
    """

    awake: "list[weakref.ref[TorchSession]]" = []  # noqa: RUF012 (of the process; the one asked last stands last)
    turns = threading.RLock()

    def __init__(self, recipe: Recipe, patience: Patience) -> None:
        """Start the worker and wait until it could answer.

        Raises: Corrupt for other weights or other code than the version's; BadDeclaration when its code fails;
            ServerUnavailable when it does not come up.
        """
        self.recipe, self.patience = recipe, patience
        self.workers: list[Worker] = []  # one, or none while it rests
        self.ended = weakref.finalize(self, rest, self.workers)
        self.worker  # noqa: B018 (it has to start)

    @property
    def worker(self) -> Worker:
        """The worker, started when it is not."""
        if self.workers and not self.patience.restart:
            return self.workers[0]
        with self.turns:
            if not self.workers:
                worker = Worker(self.recipe)
                worker.start()
                self.workers.append(worker)
            if self.patience.restart:
                self.take_turn()
            return self.workers[0]

    def take_turn(self) -> None:
        """Become the last to rest, and let the first ones rest when there are too many."""
        others = [other for other in TorchSession.awake if other() not in {None, self}]
        first = max(0, len(others) + 1 - MOST_AWAKE)
        for other in others[:first]:
            if (session := other()) is not None:
                rest(session.workers)
        TorchSession.awake = [*others[first:], weakref.ref(self)]

    def get_inputs(self) -> list[Node]:
        """Return what the network takes."""
        return [Node(name) for name in self.recipe.spec.inputs]

    def get_outputs(self) -> list[Node]:
        """Return what it gives."""
        return [Node("output")]

    def run(self, _names: Sequence[str] | None, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Answer rows, a few in a message.

        Raises: WorkerDown; BadDeclaration when the network raises.
        """
        rows, count = len(next(iter(given.values()))), self.worker.rows
        parts = [
            self.answer({name: values[start : start + count] for name, values in given.items()})
            for start in range(0, rows, count)
        ]
        return [parts[0] if len(parts) == 1 else np.concatenate(parts)]

    def answer(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Answer what fits in a message; whoever has the time asks a second process when the first one dies."""
        try:
            return self.worker.ask(given, self.patience)
        except WorkerDown:
            if not self.patience.restart:
                raise
            return self.worker.ask(given, self.patience)


def rest(workers: list[Worker]) -> None:
    """End a session's worker."""
    while workers:
        workers.pop().close()


class Inside:
    """Answers with torch in this process: for the golden answers of a version, where it was trained."""

    def __init__(self, network: "nn.Module", spec: EncodedSpec) -> None:
        self.network, self.spec = network, spec

    def get_inputs(self) -> list[Node]:
        """Return what the network takes."""
        return [Node(name) for name in self.spec.inputs]

    def get_outputs(self) -> list[Node]:
        """Return what it gives."""
        return [Node("output")]

    def run(self, _names: Sequence[str] | None, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Answer rows on one thread, as the worker will, so that the same weights give the same bytes."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            rows = {name: torch.from_numpy(values) for name, values in given.items()}
            return [answered(self.network, self.spec, rows).numpy()]
        finally:
            torch.set_num_threads(before)
