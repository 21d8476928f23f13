"""What a verdict, or a round of the governor, changes: plain values that the store writes in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.records import Check, IncidentKind, Message, Severity


@dataclass(frozen=True)
class NewIncident:
    """An incident to open, unless one of its kind, or of the kinds `beside`, is open in the project already.

    `first_window`, `last_window`: the bad windows of its generation, where it is about windows.
    """

    project: str
    kind: IncidentKind
    generation: int
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[IncidentKind, ...] = ()
    severity: Severity = "warning"
    first_window: int | None = None
    last_window: int | None = None


@dataclass(frozen=True)
class Update:
    """One more bad window of an open incident. `size`: how bad, in the check's own unit; `faults`: what is wrong."""

    incident_id: int
    check: Check
    window: int
    rows: int
    reason: str
    size: float
    severity: Severity
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NewIntent:
    """A retraining to promise. `incident_id` None means the incident that the same effects open, if they open one.

    `actor`: the person who asked for it; None: the governor. `clock`: now, by the project's own clock.
    """

    project: str
    incident_id: int | None = None
    actor: str | None = None
    clock: datetime | None = None


@dataclass(frozen=True)
class NewDecision:
    """A line for the ledger. `subject` None means the incident that the same effects open, else their intent.

    The store adds `incident` (opened by the same effects) and `intent` (promised by them) to the inputs.
    """

    project: str
    kind: str  # as in records.Decision
    subject: str | None
    reason: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Effects:
    """Everything that stands or falls together.

    `closed`: (incident id, why). The store adds `incident`, `intent` and `token` to the payloads of `messages`, and to
    alerts the incident's page. That an incident is over, or has become critical, it tells by itself.
    Where such an incident is open already, it takes the place of `opened`, whose alerts (messages and
    decisions of kind "alert") are dropped: its opening has sent them. Where the incident has an intent under way,
    that takes the place of `intent`, whose events and decisions of kind "retrain" are dropped.
    """

    opened: NewIncident | None = None
    closed: tuple[tuple[int, str], ...] = ()
    updated: tuple[Update, ...] = ()
    messages: tuple[Message, ...] = ()
    intent: NewIntent | None = None
    decisions: tuple[NewDecision, ...] = ()


NOTHING = Effects()
