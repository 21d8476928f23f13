"""The state of a training after an epoch, so that a killed one goes on as if nothing had happened.

Tensors are safetensors, everything else is JSON, which names the tensors' file and its hash: whatever moment a
kill comes at, either the last epoch's pair or the one before is whole. Random numbers need no state, since each
epoch draws from a seed of its own.
"""

import hashlib
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from data.errors import Corrupt

logger = logging.getLogger(__name__)
STATE = "checkpoint.json"


@dataclass(frozen=True)
class Epoch:
    """How one epoch went; losses are means over rows.

    `metric`: accuracy, or the mean absolute error in the target's unit, on the validation rows.
    """

    number: int
    epochs: int
    train_loss: float
    validation_loss: float
    metric: float
    seconds: float


@dataclass
class State:
    """What grows while training: the epochs so far, and the best weights among them."""

    history: list[Epoch] = field(default_factory=list)
    best: int = 0  # number of the epoch with the lowest validation loss
    best_loss: float = float("inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Number of the last finished epoch."""
        return len(self.history)

    def add(self, epoch: Epoch, network: nn.Module) -> None:
        """Count an epoch, and keep a copy of its weights when it is the best so far."""
        self.history.append(epoch)
        if epoch.validation_loss < self.best_loss:
            self.best, self.best_loss = epoch.number, epoch.validation_loss
            self.best_weights = copied(network.state_dict())


def save(
    folder: Path, fingerprint: str, state: State, *, network: nn.Module, optimizer: Optimizer, extra: dict[str, Any]
) -> None:
    """Write the state after `state.epoch`, and drop the one before. `extra` is kept as JSON."""
    from safetensors.torch import save as serialised

    tensors = {f"network.{name}": value for name, value in copied(network.state_dict()).items()}
    tensors |= {f"best.{name}": value for name, value in copied(state.best_weights).items()}
    for index, slots in optimizer.state_dict()["state"].items():
        found = {key: value for key, value in slots.items() if isinstance(value, Tensor)}
        tensors |= {f"optimizer.{index}.{key}": value for key, value in copied(found).items()}
    content = serialised(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"epoch-{state.epoch}.safetensors"
    write_durably(folder / name, content)
    stored = {
        "fingerprint": fingerprint,
        "tensors": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "history": [asdict(epoch) for epoch in state.history],
        "best": state.best,
        "best_loss": state.best_loss,
        "extra": extra,
    }
    write_durably(folder / STATE, orjson.dumps(stored))
    for path in folder.glob("epoch-*.safetensors"):
        if path.name != name:
            path.unlink()


def restore(
    folder: Path, fingerprint: str, network: nn.Module, optimizer: Optimizer
) -> tuple[State, dict[str, Any]] | None:
    """Load the last whole state of this very training into `network` and `optimizer`, if there is one.

    A state of other rows, other settings or other code, or one that is damaged, is not used.
    """
    found = read(folder, fingerprint)
    if found is None:
        return None
    stored, tensors = found
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    network.load_state_dict(parts["network"])
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition(".")
        slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    state = state_of(stored, parts["best"])
    logger.info("resuming after epoch %d", state.epoch)
    return state, stored["extra"]


def read(folder: Path, fingerprint: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return what `save` wrote, for this fingerprint if one is given, if it is whole."""
    from safetensors.torch import load as deserialised

    try:
        stored = orjson.loads((folder / STATE).read_bytes())
        content = (folder / stored["tensors"]).read_bytes()
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if hashlib.sha256(content).hexdigest() != stored.get("sha256"):
        logger.warning("the checkpoint in %s is damaged: training starts again", folder)
        return None
    if fingerprint is not None and stored.get("fingerprint") != fingerprint:
        logger.info("the checkpoint in %s is of another training: starting anew", folder)
        return None
    return stored, deserialised(content)


def latest(folder: Path) -> tuple[State, dict[str, Any]]:
    """Return the state that a training in this folder has just ended with, and its `extra`.

    Raises: Corrupt when it isn't there or not whole.
    """
    found = read(folder)
    if found is None:
        raise Corrupt(str(folder), "a checkpoint", "none")
    stored, tensors = found
    best = {name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")}
    return state_of(stored, best), stored["extra"]


def state_of(stored: dict[str, Any], best: dict[str, Tensor]) -> State:
    """Rebuild the state from its JSON and the best epoch's weights."""
    return State([Epoch(**epoch) for epoch in stored["history"]], stored["best"], stored["best_loss"], best)


def told(folder: Path) -> list[Epoch]:
    """Return the epochs that stand in a folder now, while another process may be adding to them."""
    try:
        stored = orjson.loads((folder / STATE).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return []
    return [Epoch(**epoch) for epoch in stored["history"]]


def weights_sha256(network: nn.Module) -> str:
    """Return the hash of a network's weights, as their file has it."""
    from safetensors.torch import save as serialised

    return hashlib.sha256(serialised(copied(network.state_dict()))).hexdigest()


def copied(tensors: dict[str, Any]) -> dict[str, Tensor]:
    """Copy tensors to the CPU, each with memory of its own, also where a network ties two together."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format).cpu() for name, tensor in tensors.items()
    }


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file's content as a whole; a kill or a power cut leaves the old or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
