"""How a network learns: an explicit loop over resident tensors, the same weights each time, a kill in between or not.

Lightning Fabric decides about the device and the precision. Each epoch draws its order, its dropout and its
augmentation from a seed of its own, so a resumed training needs no state of a generator.
"""

import hashlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import torch
from torch import Tensor, nn

from data.errors import BadDeclaration, OutOfMemory, TooFewRows
from data.schema import Rows, length, take
from models.checkpoints import Epoch, State, copied, restore, save
from models.declarations import Model, Training
from models.encoding import EncodedSpec, Encoder
from models.features import code_sha256
from models.feeding import Feed, feed
from models.networks import build

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Epoch", "Trained", "fit", "weights_sha256"]

MOST_THREADS = 8  # more gain little on the networks this is for, and change the last bits of sums
ONE_THREAD = 2**15  # values in a batch; on a busy machine 2 threads took 5 to 10 times as long as 1 at 8x8 pixels
JUDGED = 1024  # rows validated at once
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, on the CPU and in evaluation mode, and how it came about."""

    network: nn.Module
    history: list[Epoch]
    best: int
    device: str
    threads: int


def fit(
    model: Model,
    training: Training,
    encoder: Encoder,
    train: Rows,
    *,
    workdir: Path,
    progress: Callable[[Epoch], None],
    resume: bool = True,
    threads: int | None = None,
    memory: int | None = None,
) -> Trained:
    """Train the declared network on labelled rows.

    `workdir` holds the checkpoint of the last epoch, from which the same call goes on after a kill; `progress`
    is told each epoch; `threads`: of the CPU, since sums differ in their last bits with their number (default: one
    for small batches, else the cores this process may use, 8 at most); `memory`: bytes that encoded rows may
    take on the device.

    Raises: TooFewRows, OutOfMemory, and BadDeclaration for a network or setting that can't work on these rows.
    """
    threads = threads or threads_for(training, encoder.spec)
    fabric = fabric_for(training)
    with reproducible(training.seed, threads, fabric.device), memory_named(training, fabric.device):
        learning, judging = split(encoder, train, training)
        feeds = [feed(encoder, rows, fabric.device, memory) for rows in (learning, judging)]
        loop = Loop.prepare(model, training, encoder, fabric, feeds)
        state = loop.run(workdir, progress, resume, threads)
    loop.network.load_state_dict(state.best_weights)
    loop.network.cpu().eval()
    logger.info("trained %d epochs, best %d, validation loss %.4g", state.epoch, state.best, state.best_loss)
    return Trained(loop.network, state.history, state.best, str(fabric.device), threads)


def weights_sha256(network: nn.Module) -> str:
    """Return the hash of a network's weights, as their file has it."""
    from safetensors.torch import save as serialised

    return hashlib.sha256(serialised(copied(network.state_dict()))).hexdigest()


@dataclass
class Loop:
    """One training: its parts, ready to run."""

    training: Training
    encoder: Encoder
    fabric: "Fabric"
    network: nn.Module
    wrapped: nn.Module
    optimizer: Any  # Fabric's, which has the interface of torch's
    learning: Feed
    judging: Feed
    fingerprint: str
    layout: torch.memory_format  # of pictures; channels last is up to twice as fast, but a user's `view` may refuse it

    @classmethod
    def prepare(cls, model: Model, training: Training, encoder: Encoder, fabric: "Fabric", feeds: list[Feed]) -> "Loop":
        """Build the network from the seed and put everything on the device."""
        if training.augment is not None and encoder.spec.images is None:
            raise BadDeclaration("Training(augment=…) needs an Image column")
        torch.manual_seed(training.seed)
        network = build(model, encoder.spec)
        code = model.network if isinstance(model.network, str) else code_sha256(model.network)
        seen = [code, encoder.to_json(), str(fabric.device), *(some.sha256() for some in feeds)]
        identity = fingerprint(training, network, seen)
        layout = torch.channels_last if model.network == "cnn" else torch.contiguous_format
        network = network.to(memory_format=layout)  # type: ignore[call-overload]
        wrapped, optimizer = fabric.setup(network, optimizer_for(training, network))
        return cls(training, encoder, fabric, network, wrapped, optimizer, feeds[0], feeds[1], identity, layout)

    def run(self, workdir: Path, progress: Callable[[Epoch], None], resume: bool, threads: int) -> State:
        """Run the epochs that are left, until the last one or until none has been better for `patience`."""
        found = restore(workdir, self.fingerprint, self.network, self.optimizer) if resume else None
        state, extra = found or (State(), {})
        torch.set_num_threads(extra.get("threads", threads))
        scaler = self.fabric.strategy.precision
        if extra.get("precision"):
            scaler.load_state_dict(extra["precision"])
        while state.epoch < self.training.epochs and state.epoch - state.best < self.training.patience:
            epoch = self.epoch(state.epoch + 1)
            if not math.isfinite(epoch.train_loss + epoch.validation_loss):
                self.diverged(state, epoch)
                break
            state.add(epoch, self.network)
            extra = {"threads": torch.get_num_threads(), "precision": scaler.state_dict()}
            save(workdir, self.fingerprint, state, network=self.network, optimizer=self.optimizer, extra=extra)
            progress(epoch)
        return state

    def diverged(self, state: State, epoch: Epoch) -> None:
        """Keep the best epoch so far; without any there is nothing to keep."""
        text = f"the loss is no number in epoch {epoch.number}: try a learning_rate below {self.training.learning_rate}"
        if not state.best:
            raise BadDeclaration(text)
        logger.warning("%s; keeping epoch %d", text, state.best)

    def epoch(self, number: int) -> Epoch:
        """Learn from every row once and judge the validation rows."""
        started = time.perf_counter()
        seed = epoch_seed(self.training.seed, number)
        torch.manual_seed(seed)
        train_loss = self.learn(torch.Generator().manual_seed(seed))
        validation_loss, metric = self.judge()
        seconds = time.perf_counter() - started
        return Epoch(number, self.training.epochs, train_loss, validation_loss, metric, seconds)

    def learn(self, generator: torch.Generator) -> float:
        """Step through the rows in a random order; return the mean loss."""
        self.wrapped.train()
        total = torch.zeros((), device=self.fabric.device)
        rows = 0
        for positions in batches(self.learning.rows, self.training.batch_size, generator):
            inputs, target = self.learning.batch(positions)
            if self.training.augment is not None:
                inputs["image"] = self.training.augment(inputs["image"], generator)
            if "image" in inputs:
                inputs["image"] = inputs["image"].contiguous(memory_format=self.layout)
            self.optimizer.zero_grad()
            loss = loss_of(self.encoder, self.wrapped(*inputs.values()), target).mean()
            self.fabric.backward(loss)
            self.optimizer.step()
            total += loss.detach() * len(positions)
            rows += len(positions)
        return float(total) / rows

    def judge(self) -> tuple[float, float]:
        """Return the mean loss and the metric of `Epoch` on the validation rows."""
        self.wrapped.eval()
        loss = metric = 0.0
        with torch.inference_mode():
            for start in range(0, self.judging.rows, JUDGED):
                positions = torch.arange(start, min(start + JUDGED, self.judging.rows))
                inputs, target = self.judging.batch(positions)
                outputs = self.wrapped(*inputs.values())
                loss += float(loss_of(self.encoder, outputs, target).sum())
                metric += float(metric_of(self.encoder, outputs, target).sum())
        return loss / self.judging.rows, metric / self.judging.rows


def loss_of(encoder: Encoder, outputs: Tensor, target: Tensor) -> Tensor:
    """Return each row's loss (B,): cross entropy, or the squared error in standard deviations.

    Raises: BadDeclaration when the network returns another shape than the specification asks for.
    """
    if outputs.shape != (len(target), encoder.spec.outputs):
        wanted = (len(target), encoder.spec.outputs)
        raise BadDeclaration(f"the network returns {tuple(outputs.shape)} where {wanted} is wanted")
    if encoder.task == "classification":
        return nn.functional.cross_entropy(outputs.float(), target, reduction="none")
    return (outputs[:, 0].float() - target) ** 2


def metric_of(encoder: Encoder, outputs: Tensor, target: Tensor) -> Tensor:
    """Return each row's part of the metric (B,): whether it is right, or its absolute error in the target's unit."""
    if encoder.task == "classification":
        return (outputs.argmax(dim=1) == target).float()
    return (outputs[:, 0].float() - target).abs() * encoder.scales[encoder.schema.target][1]


def batches(rows: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Deal all positions out in a random order; a single row left over is dropped, as it has no batch statistics."""
    order = torch.randperm(rows, generator=generator)
    for positions in torch.split(order, size):
        if len(positions) > 1 or rows == 1 or size == 1:
            yield positions


def split(encoder: Encoder, rows: Rows, training: Training) -> tuple[Rows, Rows]:
    """Hold back a share of the entities, drawn by the seed, to judge each epoch.

    Raises: TooFewRows.
    """
    count = length(rows)
    if count < 2:
        raise TooFewRows("training", count, 2)
    if not 0 < training.validation < 1:
        raise BadDeclaration(f"Training(validation={training.validation}): between 0 and 1")
    named = rows.get(encoder.schema.entity_column)
    entities = np.arange(count).astype(str) if named is None else named.astype(str)
    distinct, which = np.unique(entities, return_inverse=True)
    if len(distinct) < 2:
        raise TooFewRows("training: distinct entities", len(distinct), 2)
    held = min(max(1, round(len(distinct) * training.validation)), len(distinct) - 1)
    drawn = np.random.default_rng(training.seed).permutation(len(distinct))[:held]
    judged = np.isin(which, drawn)
    return take(rows, ~judged), take(rows, judged)


def threads_for(training: Training, spec: EncodedSpec) -> int:
    """Return the CPU threads that serve batches of this size best."""
    values = training.batch_size * sum(math.prod(shape) for shape, _ in spec.inputs.values())
    return 1 if values < ONE_THREAD else min(MOST_THREADS, len(os.sched_getaffinity(0)))


def optimizer_for(training: Training, network: nn.Module) -> torch.optim.Optimizer:
    """Return the declared optimiser, fused: one pass over memory a step, and as deterministic."""
    rate, decay = training.learning_rate, training.weight_decay
    learned = [tensor for tensor in network.parameters() if tensor.requires_grad]
    if not learned:
        raise BadDeclaration("the network has no parameter to learn")
    if training.optimizer == "sgd":
        return torch.optim.SGD(learned, lr=rate, weight_decay=decay, momentum=training.momentum, fused=True)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(learned, lr=rate, weight_decay=decay, fused=True)


def fabric_for(training: Training) -> "Fabric":
    """Return Fabric for the declared device and precision.

    Raises: BadDeclaration for a device or precision that isn't there.
    """
    from lightning_fabric import Fabric

    if training.device == "cuda" and not torch.cuda.is_available():
        raise BadDeclaration("Training(device='cuda'): torch sees no GPU here")
    device = "cuda" if training.device != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cpu" and training.precision == "16-mixed":
        raise BadDeclaration("Training(precision='16-mixed') needs a GPU; on a CPU use 'bf16-mixed'")
    if training.devices > 1:
        raise BadDeclaration(f"Training(devices={training.devices}): one device a training")
    return Fabric(accelerator=device, devices=1, precision=training.precision)


@contextmanager
def reproducible(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Make torch deterministic while this lasts, and leave its settings and random state as they were."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS at its first use
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
            torch.backends.cudnn.benchmark = before[2]


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


def epoch_seed(seed: int, number: int) -> int:
    """Return the seed of one epoch's draws."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:7], "big")


def fingerprint(training: Training, network: nn.Module, seen: list[Any]) -> str:
    """Hash what decides the weights, so that a checkpoint is only resumed by the training that wrote it.

    `seen`: the network's code, the encoder, the device and the rows, in JSON values.
    """
    declared = {**asdict(training), "augment": training.augment and code_sha256(training.augment)}
    parts = [declared, repr(network), weights_sha256(network), torch.__version__, *seen]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
