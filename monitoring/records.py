"""The words in which the rooms speak of what happened: plain values, no storage and no statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Check = Literal["data", "performance"]
Outcome = Literal["failed", "fault", "insufficient", "degraded", "drift", "ok"]
IncidentKind = Literal[
    "fault", "labels", "skew", "drift", "degraded", "refused-data", "retraining", "registry", "alias"
]
Severity = Literal["info", "warning", "critical"]  # critical: told again until a person has acknowledged it
ORDER: tuple[Severity, ...] = ("info", "warning", "critical")


Truth = str | float | list[list[float]]
"""A label as it is told: a class, a number, or a list a step of a number a channel."""


@dataclass(frozen=True)
class Prediction:
    """One answer of the service. `at` is when it was answered; `row_time` is the row's own time, else `at`."""

    id: str
    project: str
    generation: int
    at: datetime
    row_time: datetime
    features: bytes  # models.predictor: pack_row of the row as validated, identifiers included
    output: Mapping[str, Any]  # as answered: models.outputs.Outputs.answers
    sequence: int = -1  # position within (project, generation, trial) from 0, given by the store
    label: Truth | None = None
    trial: int = 0  # the canary's trial that answered beside this generation; 0: the champion itself


@dataclass(frozen=True)
class Label:
    """The truth about one prediction."""

    prediction_id: str
    value: Truth
    at: datetime


@dataclass(frozen=True)
class WindowKey:
    """One window of one generation: rows [start_row, end_row) by sequence, or [start, end) by row time.

    `rows` is what the log holds of it, `closed_at` the clock's time when it ended.
    """

    project: str
    generation: int
    index: int
    start: datetime
    end: datetime
    start_row: int | None = None
    end_row: int | None = None

    def holds(self, one: Prediction) -> bool:
        """Tell whether an answer of its generation lies in it."""
        if self.start_row is not None and self.end_row is not None:
            return self.start_row <= one.sequence < self.end_row
        return self.start <= one.row_time < self.end


@dataclass(frozen=True)
class Spell:
    """A time in which whoever asked did not ask what the source has: rows of [since, until), or of ever since."""

    since: datetime
    until: datetime | None

    def holds(self, one: Prediction) -> bool:
        """Tell whether an answer's row lies in it, whoever answered."""
        return self.since <= one.row_time and (self.until is None or one.row_time < self.until)


@dataclass(frozen=True)
class Verdict:
    """What one check said of one window. `cut` marks a window that a swap ended early."""

    window: WindowKey
    check: Check
    outcome: Outcome
    rows: int
    reason: str  # one sentence for people
    detail: Mapping[str, Any] = field(default_factory=dict)  # statistics, thresholds, columns; JSON values


@dataclass(frozen=True)
class Incident:
    """Something that people should know, from its opening to its closing.

    `first_window`, `last_window`: the bad windows of its generation, as far as it is about windows. `declared_by`: the
    person who said of a drift that it is a broken sensor.
    """

    id: int
    project: str
    kind: IncidentKind
    generation: int
    opened_at: datetime
    reason: str
    detail: Mapping[str, Any]
    acknowledged_at: datetime | None = None
    closed_at: datetime | None = None
    closed_why: str | None = None
    severity: Severity = "warning"
    updated_at: datetime | None = None
    acknowledged_by: str | None = None
    snoozed_until: datetime | None = None
    snoozed_by: str | None = None
    first_window: int | None = None
    last_window: int | None = None
    declared_by: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether it is an open fault that no person has acknowledged: no retraining learns from a broken sensor."""
        fault = self.kind in ("fault", "labels", "skew") or self.declared_by is not None
        return fault and self.acknowledged_at is None and self.closed_at is None

    def waits(self, now: datetime) -> bool:
        """Tell whether it is open and nobody has acknowledged it, put it off or called it a fault."""
        known = self.acknowledged_at is not None or self.declared_by is not None or self.closed_at is not None
        return not known and (self.snoozed_until is None or self.snoozed_until <= now)

    def spoils(self, window: WindowKey) -> bool:
        """Tell whether a person's word makes a fault of this window: of all from the first bad one to the last."""
        if self.declared_by is None or self.first_window is None or self.generation != window.generation:
            return False
        last = self.last_window if self.closed_at is not None else None
        return self.first_window <= window.index and (last is None or window.index <= last)

    @property
    def spell(self) -> Spell | None:
        """When rows were asked otherwise than they landed, where that is what it is about; open, it has no end."""
        if "since" not in self.detail or "until" not in self.detail:
            return None
        until = None if self.closed_at is None else datetime.fromisoformat(self.detail["until"])
        return Spell(datetime.fromisoformat(self.detail["since"]), until)


@dataclass(frozen=True)
class Generation:
    """What serves: the ledger's own counter, which only grows."""

    project: str
    number: int
    version: str  # MLflow's
    run_id: str
    manifest_sha256: str
    at: datetime
    actor: str
    reason: str
    gates: list[Mapping[str, Any]]
    waived: tuple[str, ...] = ()
    cut: datetime | None = None  # newest row time its version learned from


@dataclass(frozen=True)
class Decision:
    """One line of the ledger: what was decided, about what, from which inputs."""

    id: int
    project: str
    at: datetime
    kind: str  # alert, suppress, retrain, wait, skip, promote, keep, refuse, ask, reject, expire, void, rollback, …
    subject: str  # "incident 3", "version 7", "batch 2026-11-01"
    reason: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Intent:
    """The ledger's promise that one incident gets one retraining, seen through to a verdict."""

    id: int
    project: str
    incident_id: int | None
    token: int  # fencing token of the attempt in force
    attempt: int
    state: Literal["open", "running", "ended"]
    opened_at: datetime
    started_at: datetime | None = None
    run: str | None = None  # the orchestrator's run
    ended_at: datetime | None = None
    outcome: str | None = None  # promoted, kept, refused, challenger (a person decides), unneeded, cancelled, …
    actor: str | None = None  # the person who asked for it; None: the governor
    clock_at: datetime | None = None  # when it was opened, by the project's own clock
    spent: float = 0.0  # seconds of attempts that died


@dataclass(frozen=True)
class Message:
    """One alert for one channel, as it waits in the outbox. `id` is the same in every copy sent.

    `incident_id`: what it tells of, if it tells of an incident; it then waits while that is snoozed.
    """

    id: str
    channel: str
    kind: str  # alert, event
    payload: Mapping[str, Any]
    created_at: datetime
    attempts: int = 0
    incident_id: int | None = None
