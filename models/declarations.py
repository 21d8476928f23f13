"""What a project file may say about its model, its training and its gates."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from data.declared import declared
from data.errors import BadDeclaration
from data.schema import Column, Rows

if TYPE_CHECKING:
    from torch import nn

    from models.encoding import EncodedSpec
    from models.judging import Comparison, GateResult

Device = Literal["auto", "cpu", "cuda"]
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
    """The network: a built-in's name (`cnn`, `mlp`) or a factory `(EncodedSpec) -> nn.Module`.

    The factory imports torch inside itself. `options` are passed to a built-in: `hidden` (widths),
    `channels`, `dropout` (probability, 0 to 1), `activation` (`relu`, `gelu`, `silu`, `tanh`).
    """

    network: str | NetworkFactory
    options: Mapping[str, Any] = field(default_factory=dict)


@declared
class Training:
    """How the network learns.

    `patience`: epochs without a better validation loss before stopping; `validation`: share of the
    training rows held back for that; `device`: `auto` takes a GPU where there is one; `precision` in
    Lightning Fabric's words; `augment`: a function (images (N, C, H, W) float32 tensor, generator) ->
    tensor, applied to each training batch of a network that takes one image.
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
    augment: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "devices"):
            if getattr(self, name) < 1:
                raise BadDeclaration(f"Training({name}={getattr(self, name)}): at least 1")
        if not self.learning_rate > 0:
            raise BadDeclaration(f"Training(learning_rate={self.learning_rate}): above 0")


@declared
class Evaluation:
    """Which rows judge. Where rows are `exchangeable` the hash of the entity decides, for ever; else time does.

    `judge` and `anchor` are shares of the rows, 0 to 1; by time, the newest rows judge and the anchor
    is drawn from days (or, without a time column, entities) before them. `metric` is the one by which a
    candidate must be better: `accuracy`, `f1`, `log_loss`, `mae`, `rmse`, `r2`.
    """

    metric: str = "accuracy"
    judge: float = 0.2
    anchor: float = 0.2
    exchangeable: bool = False


@declared
class Gates:
    """What a candidate must show before it may serve.

    `floors`: metric -> its worst acceptable value (a lower bound for accuracy-like metrics, an upper bound
    for errors), on the judge rows. `margin`: loss on the anchor rows that is tolerated, in the metric's unit.
    `baseline`: whether the candidate must beat the trivial baseline. `latency_ms`: 95th percentile of one
    row's answer in this process. `extra`: functions of a `Comparison` that return one `GateResult`.
    """

    floors: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.02
    anchor_rows: int = 200
    baseline: bool = True
    latency_ms: float | None = None
    extra: "tuple[Callable[[Comparison], GateResult], ...]" = ()
