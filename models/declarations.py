"""What a project file may say about its model, its training and its gates."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from data.declared import declared
from data.errors import BadDeclaration, nearest
from data.schema import Column, Rows

if TYPE_CHECKING:
    from torch import nn

    from models.encoding import EncodedSpec
    from models.judging import Comparison, GateResult

Device = Literal["auto", "cpu", "cuda"]
Learner = Literal["linear", "tree", "boosted", "neighbours"]
LEARNERS: tuple[str, ...] = get_args(Learner)
WIDER = 2.5  # margins: what may be lost over several promotions, or on few rows
ROWS, STARTS = ("all", "sliding", "since_drift"), ("scratch", "champion")
SCHEDULES = ("constant", "cosine", "step")
AUGMENT = {
    "shift": "whole pixels, at least 0",
    "crop": "whole pixels, at least 0",
    "flip": "a probability, 0 to 1",
    "noise": "a standard deviation, 0 to 1",
    "mask": "whole bands and frames, at least 0",
}
PROTOCOLS = (
    "holdout, stratified-holdout, time-split, last-of-each, rolling-<origins>, <folds>-fold, leave-one-out, by-group, "
    "by-<column>"
)
PROTOCOL = re.compile(
    r"holdout|stratified-holdout|time-split|last-of-each|leave-one-out|rolling-(?P<origins>[1-9]\d?)|(?P<folds>[1-9]\d?)-fold"
    r"|by-(?P<column>\w+)"
)
NetworkFactory = Callable[["EncodedSpec"], "nn.Module"]


@declared
class Features:
    """Columns computed from a row's other columns, row by row, by the same code in training and in serving.

    `compute` takes the schema's feature columns as `Rows` and returns the columns named here, same length.
    """

    columns: Mapping[str, Column]
    compute: Callable[[Rows], Rows]


@declared
class Model:
    """The network: a built-in's name (docs/kinds.md says what each reads) or a factory `(EncodedSpec) -> nn.Module`.

    The factory imports torch inside itself; what ONNX can't express is served by a torch worker, slower, and the
    factory stays in the file as long as its version serves. `options` are passed to a built-in: `hidden` (widths),
    `channels`, `dropout` (probability, 0 to 1), `activation` (`relu`, `gelu`, `silu`, `tanh`).
    """

    network: str | NetworkFactory
    options: Mapping[str, Any] = field(default_factory=dict)


@declared
class Training:
    """How the network learns.

    `patience`: epochs without a better validation loss before stopping; `validation`: share of the
    training rows held back for that; `device`: `auto` takes a GPU where there is one; `precision` in
    Lightning Fabric's words; `augment`: of each training batch's pictures, amounts by name ({"shift": 2, "flip": 0.5};
    see models/augmenting.py) or a function (images (N, C, H, W) float32 tensor, generator) -> tensor.

    `schedule` of the learning rate over the epochs: "constant", "cosine" down to nothing, or "step" to a tenth at half
    and again at three quarters, each after `warmup` epochs (or a part of one) of growing; `accumulate`: batches to a
    step; `clip`: the gradient's largest norm; `balanced`: each class of the target weighs as much as any other, however
    rare, which also moves the probabilities; `compile`: by torch, which takes a minute first and on a CPU seldom pays.

    `resident`: megabytes of rows that are in memory at once. Where more train they stay in their file and come in
    windows of it, and the encoder and the simple models learn from evenly so many; a quarter of it judges at most.
    That decides the weights, so the machine's own memory does not.

    `rows`: "all" training rows, "sliding": the `newest` so many, or "since_drift": those since the first window of the
    drift that is being answered, and at least the `newest` so many. `start`: the weights of "champion" instead of
    random ones, with its encoder, while the schema is the same; a share `replay`, 0 to below 1, of what it learns is
    then drawn from the rows that are older. `tournament`: changes to these settings ({"rows": "sliding"}), each of
    which is tried beside them on earlier rows; the best one trains, and it alone meets the rows that judge.
    """

    seed: int = 0
    epochs: int = 20
    batch_size: int = 64
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    patience: int = 5
    validation: float = 0.15
    device: Device = "auto"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    schedule: Literal["constant", "cosine", "step"] = "constant"
    warmup: float = 0.0
    accumulate: int = 1
    clip: float | None = None
    balanced: bool = False
    compile: bool = False
    resident: int = 1024
    augment: Callable[..., Any] | Mapping[str, float] | None = None
    rows: Literal["all", "sliding", "since_drift"] = "all"
    newest: int = 5000
    start: Literal["scratch", "champion"] = "scratch"
    replay: float = 0.2
    tournament: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "devices", "newest", "accumulate", "resident"):
            if getattr(self, name) < 1:
                raise BadDeclaration(f"Training({name}={getattr(self, name)}): at least 1")
        for name, known in (("rows", ROWS), ("start", STARTS), ("schedule", SCHEDULES)):
            if (said := str(getattr(self, name))) not in known:
                raise BadDeclaration(f"Training has no {name}={said!r}; {nearest(said, known)}")
        if not 0 <= self.replay < 1:
            raise BadDeclaration(f"Training(replay={self.replay}): a share, at least 0 and below 1")
        for changes in self.tournament:
            self.changed(changes)
        if not self.learning_rate > 0:
            raise BadDeclaration(f"Training(learning_rate={self.learning_rate}): above 0")
        if not self.warmup >= 0 or not (self.clip is None or self.clip > 0):
            raise BadDeclaration(f"Training(warmup={self.warmup}, clip={self.clip}): epochs, and a norm above 0")
        if isinstance(self.augment, Mapping):
            check_amounts(self.augment)

    def changed(self, changes: Mapping[str, Any]) -> "Training":
        """Return these settings with some changed, and no tournament: a contestant of one.

        Raises: BadDeclaration, also for a change that can't be kept as JSON.
        """
        for name, value in changes.items():
            if name == "tournament" or not isinstance(value, str | int | float | bool):
                raise BadDeclaration(f"Training(tournament=…): {name} can't be changed to {value!r}")
        return replace(self, **{**changes, "tournament": ()})


def check_amounts(augment: Mapping[str, float]) -> None:
    """Refuse a change of pictures that has no name here, or an amount that it can't have.

    Raises: BadDeclaration.
    """
    for name, amount in augment.items():
        if name not in AUGMENT:
            raise BadDeclaration(f"Training(augment=…) knows no {name!r}; {nearest(name, AUGMENT)}")
        whole = AUGMENT[name].startswith("whole")
        if not amount >= 0 or (amount != int(amount) if whole else amount > 1):
            raise BadDeclaration(f"Training(augment={{{name!r}: {amount}}}): {AUGMENT[name]}")


@declared
class Threshold:
    """What decides between two levels instead of the likelier one: from which probability on `level` is answered.

    Chosen on the validation rows of each training, from exactly one of: `recall`, the share of the level's rows that
    must be found; `precision`, the share of such answers that must be right; `false_alarms`, the share of other rows
    that may be answered with it, which needs no row of the level; or what the two errors cost, a `missed` row of the
    level and a `false_alarm`, in any one unit.
    """

    level: str
    recall: float | None = None
    precision: float | None = None
    missed: float | None = None
    false_alarm: float | None = None
    false_alarms: float | None = None

    def __post_init__(self) -> None:
        costs = [cost for cost in (self.missed, self.false_alarm) if cost is not None]
        shares = ("recall", "precision", "false_alarms")
        if sum((*(getattr(self, name) is not None for name in shares), bool(costs))) != 1 or len(costs) == 1:
            raise BadDeclaration(
                "Threshold(…) needs exactly one of recall, precision, false_alarms, or missed with false_alarm"
            )
        for name in shares:
            if (share := getattr(self, name)) is not None and not 0 < share < 1:
                raise BadDeclaration(f"Threshold({name}={share}): above 0 and below 1")
        if any(not 0 < cost < math.inf for cost in costs):
            raise BadDeclaration("Threshold(missed=…, false_alarm=…): costs above 0")

    @property
    def costs(self) -> tuple[float, float]:
        """Of a missed row, and of a false alarm; nothing where a floor decides."""
        return self.missed or 0.0, self.false_alarm or 0.0

    def __str__(self) -> str:
        told = [f"{name}={value:g}" for name, value in vars(self).items() if isinstance(value, float | int)]
        return f"Threshold(level={self.level!r}, {', '.join(told)})"


@declared
class Evaluation:
    """Which rows judge. Where rows are `exchangeable` the hash of the entity decides, for ever; else time does.

    `judge` and `anchor` are shares of the rows, 0 to 1; by time, the newest rows judge and the anchor
    is drawn from days (or, without a time column, entities) before them. What is news can't be learned while it
    judges, so with a time column no more judge than `judge_rows`, four weeks or eight windows, whichever is most,
    however long the history grows. `metric` is the one by which a
    candidate must be better: `accuracy`, `balanced_accuracy`, `f1`, `f1_weighted`, `precision`, `recall`, `roc_auc`,
    `average_precision`, `log_loss`, `mae`, `rmse`, `r2`, or of anomalies, without any label, `reconstruction`; of two
    levels, the last is what precision, recall and average_precision look for. `anchor_days`: anchor rows that are so
    much older than the newest row no longer count.
    `threshold`: what decides between two levels. `season`: steps after which a series is like itself, which the trivial
    forecast repeats; 1 repeats the last value. `protocols`: how else `holdfast evaluate` asks what the recipe is
    worth: `holdout`, `stratified-holdout`, `time-split`, `last-of-each` (the newest rows of each user, or of each
    entity, are asked about), `rolling-6`, `10-fold`, `leave-one-out`, `by-group` (an entity left out at a time),
    `by-<column>`. `baselines`: those that learn and stand beside the network: `linear`, `tree`, `boosted`, and where
    items are ranked `neighbours`.
    """

    metric: str = "accuracy"
    judge: float = 0.2
    anchor: float = 0.2
    exchangeable: bool = False
    anchor_days: int | None = None
    judge_rows: int = 1000
    threshold: Threshold | None = None
    season: int = 1
    protocols: tuple[str, ...] = ()
    baselines: tuple[Learner, ...] = ("linear", "tree")

    def __post_init__(self) -> None:
        for protocol in self.protocols:
            if not PROTOCOL.fullmatch(protocol):
                raise BadDeclaration(f"no protocol {protocol!r}; known: {PROTOCOLS}")
        for name in self.baselines:
            if name not in LEARNERS:
                raise BadDeclaration(f"no baseline {name!r}; {nearest(name, LEARNERS)}")
        if self.season < 1:
            raise BadDeclaration(f"Evaluation(season={self.season}): at least 1")
        if self.judge_rows < 1:
            raise BadDeclaration(f"Evaluation(judge_rows={self.judge_rows}): at least 1")
        if self.anchor_days is not None and self.anchor_days < 1:
            raise BadDeclaration(f"Evaluation(anchor_days={self.anchor_days}): at least 1")


@declared
class Gates:
    """What a candidate must show before it may serve.

    `floors`: metric -> its worst acceptable value (a lower bound for accuracy-like metrics, an upper bound
    for errors), on the judge rows. `margin`: loss on the anchor rows that is tolerated, in the metric's unit.
    `max_loss`: loss tolerated against each champion so far, on one common anchor, so that small losses can't
    add up; unless given, two and a half margins. `baseline`: whether the candidate must beat the trivial baseline.
    `slices`: columns (an image's too, as `image.brightness`) of which each level, or each quartile of numbers, is
    held against the champion by itself; fewer rows than `slice_rows` are shown only; `slice_margin`: the loss that
    is tolerated there; unless given, two and a half margins. `beat`: baselines that learn, which the candidate must
    beat too. `latency_ms`: 95th percentile of one row's answer in this process. `size_mb`: of the version's files,
    in 1,000,000 bytes. `extra`: functions of a `Comparison` that return one `GateResult`.
    """

    floors: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.02
    anchor_rows: int = 200
    max_loss: float | None = None
    baseline: bool = True
    slices: tuple[str, ...] = ()
    slice_rows: int = 100
    slice_margin: float | None = None
    beat: tuple[Learner, ...] = ()
    latency_ms: float | None = None
    size_mb: float | None = None
    extra: "tuple[Callable[[Comparison], GateResult], ...]" = ()

    def __post_init__(self) -> None:
        for name in self.beat:
            if name not in LEARNERS:
                raise BadDeclaration(f"no baseline {name!r} to beat; {nearest(name, LEARNERS)}")

    @property
    def most_lost(self) -> float:
        """Loss tolerated against each champion so far, in the metric's unit."""
        return WIDER * self.margin if self.max_loss is None else self.max_loss

    @property
    def lost_in_slice(self) -> float:
        """Loss tolerated on a slice, in the metric's unit."""
        return WIDER * self.margin if self.slice_margin is None else self.slice_margin
