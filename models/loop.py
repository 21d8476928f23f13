"""The loop itself: epochs over a feed, judged on held-back rows, checkpointed, stopped when nothing gets better.

Each epoch draws its order, its dropout and its augmentation from a seed of its own, so a resumed training needs
no state of a generator.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import torch
from torch import Tensor, nn

from data.errors import BadDeclaration
from models import ranked
from models.augmenting import augmented
from models.checkpoints import Epoch, State, restore, save, weights_sha256
from models.declarations import Model, Training
from models.encoding import Encoder
from models.engine import Engine
from models.features import code_sha256
from models.feeding import Feed
from models.networks import build
from models.pictures import CONVOLUTIONAL
from models.rates import grouped, rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SEEN = {"image", "audio"}  # inputs that can be changed a little while training
JUDGED = 1024  # rows validated at once
logger = logging.getLogger(__name__)


@dataclass
class Loop:
    """One training: its parts, ready to run."""

    training: Training
    encoder: Encoder
    fabric: "Fabric"
    network: nn.Module
    engine: Engine
    learning: Feed
    judging: Feed
    fingerprint: str
    layout: torch.memory_format  # of pictures; channels last is up to twice as fast, but a user's `view` may refuse it
    weights: Tensor | None  # of the classes (K,), where they are balanced

    @classmethod
    def prepare(
        cls,
        model: Model,
        training: Training,
        encoder: Encoder,
        fabric: "Fabric",
        feeds: list[Feed],
        start: dict[str, Tensor] | None = None,
        weights: Tensor | None = None,
    ) -> "Loop":
        """Build the network from the seed, give it the weights to start from, and put everything on the device.

        `start` may hold a part of the weights: the others stay as the seed drew them.

        Raises: BadDeclaration for weights of another network.
        """
        if training.augment is not None and not SEEN & encoder.spec.inputs.keys():
            raise BadDeclaration("Training(augment=…) needs an Image or an Audio column")
        torch.manual_seed(training.seed)
        network = build(model, encoder.spec)
        if start is not None:
            begin(network, start)
        code = model.network if isinstance(model.network, str) else code_sha256(model.network)
        seen = [code, encoder.to_json(), str(fabric.device), *(some.sha256() for some in feeds)]
        identity = fingerprint(training, network, seen)
        layout = torch.channels_last if model.network in CONVOLUTIONAL else torch.contiguous_format
        network = network.to(memory_format=layout)  # type: ignore[call-overload]
        engine = Engine.start(fabric, training, network, optimizer_for(training, network))
        weights = None if weights is None else weights.to(fabric.device)
        learning, judging = feeds
        return cls(training, encoder, fabric, network, engine, learning, judging, identity, layout, weights)

    def run(self, workdir: Path, progress: Callable[[Epoch], None], resume: bool, threads: int) -> State:
        """Run the epochs that are left, until the last one or until none has been better for `patience`."""
        found = restore(workdir, self.fingerprint, self.network, self.engine.optimizer) if resume else None
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
            if self.fabric.is_global_zero:
                save(
                    workdir, self.fingerprint, state, network=self.network, optimizer=self.engine.optimizer, extra=extra
                )
                progress(epoch)
            self.fabric.barrier()
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
        train_loss = self.learn(number, torch.Generator().manual_seed(seed))
        validation_loss, metric = self.judge()
        seconds = time.perf_counter() - started
        return Epoch(number, self.training.epochs, train_loss, validation_loss, metric, seconds)

    def learn(self, number: int, generator: torch.Generator) -> float:
        """Step through the rows in a random order; return the mean loss."""
        self.engine.module.train()
        total, rows = torch.zeros(2, dtype=torch.float64)
        dealt = list(self.shares(batches(self.learning.windows(generator), self.training.batch_size)))
        steps = -(-len(dealt) // self.training.accumulate)
        for step, group in enumerate(grouped(dealt, self.training.accumulate)):
            for settings in self.engine.optimizer.param_groups:
                settings["lr"] = rate(self.training, number, step, steps)
            loss = self.step(group, generator)
            total = total.to(loss.device) + loss
            rows += sum(map(len, group))
        sums = torch.stack([total.cpu(), rows]).to(self.fabric.device)
        total, rows = self.fabric.all_reduce(sums, reduce_op="sum")
        return float(total / rows)

    def step(self, group: list[Tensor], generator: torch.Generator) -> Tensor:
        """Take one step by the mean gradient over some batches; return the sum of the rows' losses."""
        rows, sums = sum(map(len, group)), []
        self.engine.optimizer.zero_grad()
        for at, positions in enumerate(group):
            with self.engine.adding(last=at == len(group) - 1):
                loss = self.losses(positions, generator).sum()
                self.engine.backward(loss / rows)
            sums.append(loss.detach())
        self.engine.step(self.training.clip)
        return torch.stack(sums).sum()

    def losses(self, positions: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of each of these rows (B,), which are changed at random where that is declared."""
        inputs, target = self.learning.batch(positions)
        if self.training.augment is not None:
            name = "image" if "image" in inputs else "audio"
            inputs[name] = augmented(inputs[name], self.training.augment, generator)
        return self.weighed(self.engine.forward(self.laid_out(self.beside(inputs, generator))), target)

    def beside(self, inputs: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the inputs, with those of drawn items behind them where items are ranked."""
        return ranked.with_drawn(self.encoder, inputs, generator) if self.encoder.spec.ranked else inputs

    def weighed(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return each row's loss (B,), by the weight of its class where classes are balanced."""
        losses = loss_of(self.encoder, outputs, target)
        return losses if self.weights is None else losses * self.weights[target]

    def laid_out(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """Return a network's inputs, pictures in the layout of its weights."""
        return [
            values.contiguous(memory_format=self.layout) if values.ndim == 4 else values for values in inputs.values()
        ]

    def shares(self, dealt: Iterator[Tensor]) -> Iterator[Tensor]:
        """Give each device an equal part of each batch; what can't be shared by twos is left out of the epoch."""
        world = self.fabric.world_size
        for positions in dealt:
            if world == 1:
                yield positions
            elif len(positions) >= 2 * world:
                yield positions[: len(positions) // world * world][self.fabric.global_rank :: world]

    def judge(self) -> tuple[float, float]:
        """Return the mean loss and the metric of `Epoch` on the validation rows, as the first device finds them."""
        self.network.eval()
        loss = metric = 0.0
        starts = range(0, self.judging.rows, JUDGED) if self.fabric.is_global_zero else ()
        with torch.inference_mode(), self.fabric.autocast():
            for start in starts:
                positions = torch.arange(start, min(start + JUDGED, self.judging.rows))
                inputs, target = self.judging.batch(positions)
                outputs = self.network(*self.laid_out(inputs))
                loss += float(self.weighed(outputs, target).sum())
                metric += float(metric_of(self.encoder, outputs, target).sum())
        loss, metric = self.fabric.broadcast((loss / self.judging.rows, metric / self.judging.rows))
        return loss, metric


def loss_of(encoder: Encoder, outputs: Tensor, target: Tensor) -> Tensor:
    """Return each row's loss (B,): cross entropy, or the (mean) squared error in standard deviations.

    Raises: BadDeclaration when the network returns another shape than the specification asks for.
    """
    if outputs.shape[1:] != (encoder.spec.outputs,) or len(outputs) not in ranked.sizes(encoder, len(target)):
        wanted = (len(target), encoder.spec.outputs)
        raise BadDeclaration(f"the network returns {tuple(outputs.shape)} where {wanted} is wanted")
    if encoder.task == "anomaly":
        return (outputs.float() ** 2).mean(dim=1)
    if encoder.task == "classification":
        return nn.functional.cross_entropy(outputs.float(), target, reduction="none")
    if encoder.spec.ranked:
        return ranked.losses(encoder, outputs, target)
    return ((outputs.float() - target.view(outputs.shape)) ** 2).mean(dim=1)


def metric_of(encoder: Encoder, outputs: Tensor, target: Tensor) -> Tensor:
    """Return each row's part of the metric (B,): whether it is right, or its (mean) error in the target's unit."""
    if encoder.task == "classification":
        return (outputs.argmax(dim=1) == target).float()
    if encoder.scoring:
        reach = torch.as_tensor(encoder.scoring.reach, dtype=torch.float32, device=outputs.device)
        counted = torch.as_tensor(encoder.scoring.counted, dtype=torch.float32, device=outputs.device)
        return ((outputs.float() * reach) ** 2 @ counted).sqrt()
    if encoder.spec.ranked:
        outputs = outputs[: len(target), :1]
    unit = torch.as_tensor(encoder.unit[1], dtype=torch.float32, device=outputs.device)
    return ((outputs.float() - target.view(outputs.shape)).abs() * unit).mean(dim=1)


def batches(windows: list[Tensor], size: int) -> Iterator[Tensor]:
    """Deal positions out; a single row left over is dropped, as it has no batch statistics."""
    for window in windows:
        for positions in torch.split(window, size):
            if len(positions) > 1 or len(window) == 1 or size == 1:
                yield positions


def begin(network: nn.Module, start: dict[str, Tensor]) -> None:
    """Give a network the weights to start from, or a part of them.

    Raises: BadDeclaration for those of another network.
    """
    try:
        strange = network.load_state_dict(start, strict=False).unexpected_keys
    except RuntimeError as error:
        strange = [" ".join(str(error).split())[:300]]
    if strange:
        raise BadDeclaration(f"the weights to start from are another network's: {', '.join(strange[:3])}")


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


def epoch_seed(seed: int, number: int) -> int:
    """Return the seed of one epoch's draws."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:7], "big")


def fingerprint(training: Training, network: nn.Module, seen: list[Any]) -> str:
    """Hash what decides the weights, so that a checkpoint is only resumed by the training that wrote it.

    `seen`: the network's code, the encoder, the device and the rows, in JSON values.
    """
    augment = training.augment
    declared = {**asdict(training), "augment": code_sha256(augment) if callable(augment) else augment}
    parts = [declared, repr(network), weights_sha256(network), torch.__version__, *seen]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()
