"""How a network learns: the same weights each time from the same rows and seed, a kill in between or not.

Lightning Fabric decides about devices and precision; the loop is ours (models/loop.py).
"""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from torch import nn

from data.errors import BadDeclaration, OutOfMemory, TooFewRows
from data.schema import Rows, Schema, length, take
from data.stored import Stored
from models import machine
from models.checkpoints import Epoch, latest, weights_sha256
from models.declarations import Model, Training
from models.encoding import EncodedSpec, Encoder
from models.feeding import Some, feed
from models.lately import settle
from models.loop import Loop
from models.networks import build
from models.parallel import launch
from models.pretrained import taught

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Epoch", "Trained", "fit", "weights_sha256"]

MOST_THREADS = 8  # more gain little on the networks this is for, and change the last bits of sums
ONE_THREAD = 2**15  # values in a batch; on a busy machine 2 threads took 5 to 10 times as long as 1 at 8x8 pixels
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, on the CPU and in evaluation mode, and how it came about."""

    network: nn.Module
    history: list[Epoch]
    best: int
    machine: dict[str, str]  # models.machine.facts: the device, its threads, the instructions
    unlike: str = ""  # why it did not start from the weights that it was given


def fit(
    model: Model,
    training: Training,
    encoder: Encoder,
    train: Rows | Stored,
    *,
    workdir: Path,
    progress: Callable[[Epoch], None],
    resume: bool = True,
    threads: int | None = None,
    memory: int | None = None,
    start: Path | None = None,
) -> Trained:
    """Train the declared network on labelled rows, which may stay in their file where they are more than fit.

    `workdir` holds the checkpoint of the last epoch, from which the same call goes on after a kill; `progress`
    is told each epoch; `threads`: of the CPU, since sums differ in their last bits with their number (default: one
    for small batches, else the cores this process may use, 8 at most); `memory`: bytes that encoded rows may
    take on the device; `start`: a file of weights to start from, if they fit the network.

    Raises: TooFewRows, OutOfMemory, and BadDeclaration for a network or setting that can't work on these rows.
    """
    count = threads or threads_for(training, encoder.spec)
    first, unlike = weights_of(start, model, encoder.spec)
    first = first if first is not None else taught(model, encoder)
    fabric = fabric_for(training)
    learning, judging = split(encoder, train, training)
    weights = class_weights(encoder, learning) if training.balanced else None

    def learn(fabric: "Fabric", tell: Callable[[Epoch], None]) -> None:
        with reproducible(training.seed, count, fabric.device), memory_named(training, fabric.device):
            feeds = [feed(encoder, rows, fabric.device, memory) for rows in (learning, judging)]
            loop = Loop.prepare(model, training, encoder, fabric, feeds, first, weights)
            loop.run(workdir, tell, resume, count)

    if training.devices == 1:
        learn(fabric, progress)
    else:
        launch(fabric, learn, workdir, progress)
    state, extra = latest(workdir)
    with torch.random.fork_rng(devices=[]):
        network = build(model, encoder.spec)
    network.load_state_dict(state.best_weights)
    with reproducible(training.seed, extra["threads"], torch.device("cpu")):
        settle(network.eval(), encoder, train)
    logger.info("trained %d epochs, best %d, validation loss %.4g", state.epoch, state.best, state.best_loss)
    ran_on = machine.facts(fabric.device, extra["threads"], training.devices)
    return Trained(network, state.history, state.best, ran_on, unlike)


def weights_of(start: Path | None, model: Model, spec: EncodedSpec) -> tuple[dict[str, torch.Tensor] | None, str]:
    """Return the weights that a network starts from; none where they are another network's, and why."""
    from safetensors.torch import load

    if start is None:
        return None, ""
    with torch.random.fork_rng(devices=[]):
        wanted = {name: tensor.shape for name, tensor in build(model, spec).state_dict().items()}
    found = load(start.read_bytes())
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found or wanted.get(name) != found[name].shape:
            return None, f"the network is another than the champion's, first at {name}"
    return found, ""


@overload
def split(encoder: Encoder, rows: Rows, training: Training) -> tuple[Rows, Rows]: ...


@overload
def split(encoder: Encoder, rows: Stored, training: Training) -> tuple[Some, Some]: ...


def split(encoder: Encoder, rows: Rows | Stored, training: Training) -> tuple[Rows, Rows] | tuple[Some, Some]:
    """Hold back a share of the entities, drawn by the seed, to judge each epoch.

    What is known to be an anomaly is on neither side: the network would learn that it is usual.

    Raises: TooFewRows.
    """
    count = rows.rows if isinstance(rows, Stored) else length(rows)
    if count < 2:
        raise TooFewRows("training", count, 2)
    if not 0 < training.validation < 1:
        raise BadDeclaration(f"Training(validation={training.validation}): between 0 and 1")
    name = encoder.schema.target
    distinct, which = entities(encoder.schema, rows, count)
    if distinct < 2:
        raise TooFewRows("training: distinct entities", distinct, 2)
    held = min(max(1, round(distinct * training.validation)), distinct - 1)
    drawn = np.random.default_rng(training.seed).permutation(distinct)[:held]
    judged, usual = np.isin(which, drawn), np.ones(count, dtype=bool)
    if encoder.task == "anomaly":
        usual = (rows.column(name) if isinstance(rows, Stored) else rows[name]) != encoder.answers[1]
    learning, judging = usual & ~judged, usual & judged
    if not learning.any() or not judging.any():
        raise TooFewRows("training: rows without an anomaly, to learn from and to validate", int(usual.sum()), 2)
    if isinstance(rows, Stored):
        return Some(rows, np.flatnonzero(learning)), Some(rows, np.flatnonzero(judging))
    return take(rows, learning), take(rows, judging)


def entities(schema: Schema, rows: Rows | Stored, count: int) -> tuple[int, np.ndarray]:
    """Return how many entities there are, and each row's (N,) as a number below that.

    Keys that stay in a file are not read: no two are the same, and as text they may be more than fit.
    """
    if isinstance(rows, Stored):
        named = None if schema.entity_column == schema.key else rows.column(schema.entity_column)
    else:
        named = rows.get(schema.entity_column)
    if named is None:
        return count, np.arange(count)
    distinct, which = np.unique(named.astype(str), return_inverse=True)
    return len(distinct), which


def class_weights(encoder: Encoder, rows: Rows | Some) -> torch.Tensor:
    """Return weights (K,) by which each class that occurs counts the same, and a row 1 on average.

    Raises: BadDeclaration without classes.
    """
    if encoder.task != "classification":
        raise BadDeclaration("Training(balanced=True) needs a Category target")
    name = encoder.schema.target
    known = rows.stored.column(name)[rows.places] if isinstance(rows, Some) else rows[name]
    counts = np.bincount(encoder.target({name: known}), minlength=len(encoder.answers))
    share = counts.sum() / (np.maximum(counts, 1) * np.count_nonzero(counts))
    return torch.from_numpy(np.where(counts, share, 0.0).astype(np.float32))


def threads_for(training: Training, spec: EncodedSpec) -> int:
    """Return the CPU threads that serve batches of this size best."""
    values = training.batch_size * sum(math.prod(shape) for shape, _ in spec.inputs.values())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if values < ONE_THREAD else min(MOST_THREADS, usable)


def fabric_for(training: Training) -> "Fabric":
    """Return Fabric for the declared device and precision.

    Raises: BadDeclaration for a device or precision that isn't there.
    """
    from lightning_fabric import Fabric

    seen = torch.cuda.device_count()  # asks the driver's library only: a process that used CUDA can't be forked
    if training.device == "cuda" and not seen:
        raise BadDeclaration("Training(device='cuda'): torch sees no GPU here")
    device = "cuda" if training.device != "cpu" and seen else "cpu"
    if device == "cpu" and training.precision == "16-mixed":
        raise BadDeclaration("Training(precision='16-mixed') needs a GPU; on a CPU use 'bf16-mixed'")
    if device == "cuda" and training.devices > seen:
        raise BadDeclaration(f"Training(devices={training.devices}): torch sees {seen} GPUs here")
    strategy = "auto" if training.devices == 1 else "ddp_fork"
    return Fabric(accelerator=device, devices=training.devices, strategy=strategy, precision=training.precision)


@contextmanager
def reproducible(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Make torch deterministic while this lasts, and leave its settings and random state as they were."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS at its first use
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # filling is a pass over every new tensor
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
            torch.backends.cudnn.benchmark = before[2]
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def memory_named(training: Training, device: torch.device) -> Iterator[None]:
    """Say what to try when the device has no room, instead of what the allocator says."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        named = isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
        if not named:
            raise
        size = training.batch_size
        advice = f"batch_size={max(1, size // 2)}, precision='bf16-mixed' or a smaller network"
        raise OutOfMemory(f"{device} has no room for batches of {size} rows: try {advice}") from error
