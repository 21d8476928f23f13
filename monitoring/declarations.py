"""What a project file may say about windows, alarms, retraining and schedules."""

from datetime import timedelta
from typing import Literal

from data.declared import declared
from data.errors import BadDeclaration


@declared
class Window:
    """The unit that gets one verdict per check: a count of rows, or a span of the row's own time."""

    rows: int | None = None
    span: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.span is None):
            raise BadDeclaration("Window takes either rows=… or span=…")
        if (self.rows is not None and self.rows < 1) or (self.span is not None and self.span <= timedelta(0)):
            raise BadDeclaration("Window must be longer than nothing")


@declared
class Labels:
    """When the truth about a prediction is known: `delay` after its row's time (or its answer's)."""

    delay: timedelta = timedelta(0)


@declared
class Monitors:
    """What is watched and how often it may cry wolf.

    `false_alarms`: probability, 0 to 1, that a window without any change is called drift, over all columns
    together. Drift and degradation open an incident when `k` of the last `n` windows show them; a fault
    needs one. `minimum_rows`: fewer in a window is `insufficient`. `ignore`: columns not watched.
    """

    window: Window = Window(span=timedelta(days=1))
    false_alarms: float = 0.01
    k: int = 2
    n: int = 3
    minimum_rows: int = 50
    ignore: tuple[str, ...] = ()


@declared
class Governor:
    """Whether an incident may start a retraining, and whether its winner may serve without a person.

    `approval_timeout`: how long a version waits for a person's yes before it is a no.
    """

    retrain: Literal["off", "suggest", "approve", "auto"] = "auto"
    promote: Literal["approve", "auto"] = "approve"
    approval_timeout: timedelta = timedelta(days=3)
    cooldown: timedelta = timedelta(hours=1)
    per_day: int = 3
    minimum_labels: int = 100
    breaker: int = 3

    def __post_init__(self) -> None:
        if self.approval_timeout <= timedelta(0):
            raise BadDeclaration("approval_timeout must be longer than nothing")


@declared
class Schedule:
    """How often flows start by themselves. Only `monitor` is armed from the start; `None` means never."""

    monitor: timedelta = timedelta(hours=1)
    ingest: timedelta | None = timedelta(days=1)
    train: timedelta | None = None
    harvest: timedelta | None = None
    score: timedelta | None = None
