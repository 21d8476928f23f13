"""What a project file may say about windows, alarms, retraining and schedules."""

from datetime import timedelta
from typing import Literal

from data.declared import declared
from data.errors import BadDeclaration, nearest


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
    """When the truth about a prediction is known, and about which: `delay` after its row's time (or its answer's).

    `coverage`: "selected" where people label only what they choose to look at, as a fraud team does. Such labels are
    no sample of all answers: numbers from them are marked, open no incident and promote nothing without a person,
    unless an `audit_share` of the predictions, 0 to 1, is labelled whatever was answered (`holdfast labels audit`).
    """

    delay: timedelta = timedelta(0)
    coverage: Literal["all", "selected"] = "all"
    audit_share: float = 0.0

    def __post_init__(self) -> None:
        if self.delay < timedelta(0):
            raise BadDeclaration("Labels(delay=…) is not negative")
        if self.coverage not in ("all", "selected"):
            raise BadDeclaration(f"no coverage {self.coverage!r}; {nearest(self.coverage, ('all', 'selected'))}")
        if not 0 <= self.audit_share <= 1:
            raise BadDeclaration(f"Labels(audit_share={self.audit_share}): a share of the predictions, 0 to 1")
        if self.audit_share and self.coverage == "all":
            raise BadDeclaration('an audit_share is for coverage="selected": with "all" every label counts')


@declared
class Monitors:
    """What is watched and how often it may cry wolf.

    `false_incidents`: how many in a quarter of a year are bearable while nothing changes, over all columns and
    checks together; every threshold follows from it. Drift and degradation open an incident when `k` of the last
    `n` windows show them, 8 at most; a fault needs one. `minimum_rows`: fewer in a window is `insufficient`.
    `ignore`: columns not watched.
    """

    window: Window = Window(span=timedelta(days=1))
    false_incidents: float = 1.0
    k: int = 2
    n: int = 3
    minimum_rows: int = 50
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.false_incidents < float("inf"):
            raise BadDeclaration(f"Monitors(false_incidents={self.false_incidents}): a number above 0, a quarter")
        if not 1 <= self.k <= self.n <= 8:
            raise BadDeclaration(f"Monitors(k={self.k}, n={self.n}): k of the last n windows, n at most 8")


@declared
class Governor:
    """Whether an incident may start a retraining, and whether its winner may serve without a person.

    `approval_timeout`: how long a version waits for a person's yes before it is a no. `receipt_after`: how long a
    promotion or a refusal is followed before it is settled what it was worth; labels then get their delay to come.

    A retraining starts no sooner than `cooldown` after the last one, on at least `minimum_labels` new rows, and within
    a budget: `per_day` and `per_week` count retrainings in 24 hours and in 7 days, `minutes_per_day` and
    `minutes_per_week` what they take; one more is expected to take as long as the last. After `breaker` in a row that
    came to nothing a person must look, or twice `minimum_labels` be new, then four times, and so on: on each one more
    is tried. A person's own run skips cool-down, new rows and breaker, not a budget that is spent; it spends none, and
    where it fails the breaker does not count it.
    """

    retrain: Literal["off", "suggest", "approve", "auto"] = "auto"
    promote: Literal["approve", "auto"] = "approve"
    approval_timeout: timedelta = timedelta(days=3)
    cooldown: timedelta = timedelta(hours=1)
    per_day: int = 3
    per_week: int = 12
    minutes_per_day: float = 480.0
    minutes_per_week: float = 1440.0
    minimum_labels: int = 100
    breaker: int = 3
    receipt_after: timedelta = timedelta(days=14)

    def __post_init__(self) -> None:
        for name in ("approval_timeout", "receipt_after"):
            if getattr(self, name) <= timedelta(0):
                raise BadDeclaration(f"{name} must be longer than nothing")


@declared
class Rollout:
    """Whether a version that waits for a person meanwhile answers beside the champion, and when that ends by itself.

    `mode`: "shadow" logs its answers and returns none; "canary" lets it answer a `share` of the keys, above 0 and at
    most 0.5, always the same ones. It ends, and the champion goes on alone, once it is shown to be behind by more than
    a margin: `error_margin`, rows it fails to answer, as a share of 0 to 1 above the champion's; `latency_margin`,
    the 95th percentile of its answer's time as a multiple of the champion's; `metric_margin`, the project's metric on
    labelled rows, in the metric's unit. Latency and metric are compared from `minimum_rows` of each on.
    """

    mode: Literal["none", "shadow", "canary"] = "none"
    share: float = 0.1
    minimum_rows: int = 200
    error_margin: float = 0.01
    latency_margin: float = 2.0
    metric_margin: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise BadDeclaration("share is above 0 and at most 0.5: the champion answers most rows")
        if not (self.minimum_rows >= 1 and 0 <= self.error_margin < 1 and self.metric_margin >= 0):
            raise BadDeclaration("minimum_rows is at least 1, error_margin in [0, 1), metric_margin not negative")
        if not self.latency_margin >= 1:
            raise BadDeclaration("latency_margin is a ratio of at least 1")


@declared
class Schedule:
    """How often flows start by themselves. Only `monitor` is armed from the start; `None` means never."""

    monitor: timedelta = timedelta(hours=1)
    ingest: timedelta | None = timedelta(days=1)
    train: timedelta | None = None
    harvest: timedelta | None = None
    score: timedelta | None = None
