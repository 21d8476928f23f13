"""Whether an incident may start a retraining: a pure function of what is written down, so that it can be replayed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from monitoring.declarations import Governor
from monitoring.records import IncidentKind

Action = Literal["retrain", "suggest", "approve", "wait", "block", "skip"]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Circumstances:
    """What the governor looks at, as it stands in the store.

    Args:
        now: wall time.
        labels: labelled predictions that no snapshot holds yet.
        new_rows: rows accepted since the champion's snapshot by any other way.
        intents_today: retrainings promised in the last 24 hours.
        had_intent: whether this incident has had its retraining, or has one under way.
        last_retraining: when the last retraining of the project ended, or began if it has not ended.
        open_faults: columns, or other names, of open and unacknowledged fault incidents.
        lease: who holds the project's lease, if anybody does.
        failures: retrainings in a row, up to now, that ended refused, failed or abandoned (kept is none).
        approved: whether a person has said yes to this incident's retraining.
    """

    now: datetime
    labels: int
    new_rows: int = 0
    intents_today: int = 0
    had_intent: bool = False
    last_retraining: datetime | None = None
    open_faults: tuple[str, ...] = ()
    lease: str | None = None
    failures: int = 0
    approved: bool = False


@dataclass(frozen=True)
class Ruling:
    """What is done about an incident, why, and everything that was looked at (JSON values).

    `wait` is asked again while the incident is open; so are `block`, `approve` and `suggest`. `skip` is final.
    """

    action: Action
    reason: str
    inputs: Mapping[str, Any]


Rule = Callable[[IncidentKind, Governor, Circumstances], tuple[Action, str] | None]


def decide(kind: IncidentKind, settings: Governor, seen: Circumstances) -> Ruling:
    """Return the first rule's answer that has one; without objections, a retraining as far as `settings` allow."""
    for rule in RULES:
        found = rule(kind, settings, seen)
        if found is not None:
            break
    else:
        found = _allowed(settings, seen)
    action, reason = found
    return Ruling(action, reason, _inputs(kind, settings, seen))


def _world(kind: IncidentKind, settings: Governor, seen: Circumstances) -> tuple[Action, str] | None:
    if kind not in ("drift", "degraded"):
        return "skip", f"a {kind} incident is no change of the world, and only that may retrain"
    if settings.retrain == "off":
        return "skip", "this project's governor has retrain off"
    return ("skip", "this incident has had its retraining") if seen.had_intent else None


def _faults(kind: IncidentKind, settings: Governor, seen: Circumstances) -> tuple[Action, str] | None:  # noqa: ARG001
    if not seen.open_faults:
        return None
    return "block", f"a fault is open ({', '.join(seen.open_faults)}): it must recover or be acknowledged first"


def _breaker(kind: IncidentKind, settings: Governor, seen: Circumstances) -> tuple[Action, str] | None:  # noqa: ARG001
    if seen.failures < settings.breaker:
        return None
    return (
        "block",
        f"the last {seen.failures} retrainings came to nothing: a person must look (breaker {settings.breaker})",
    )


def _labels(kind: IncidentKind, settings: Governor, seen: Circumstances) -> tuple[Action, str] | None:  # noqa: ARG001
    known = seen.labels + seen.new_rows
    if known >= max(settings.minimum_labels, 1):
        return None
    if not known:
        return "wait", f"nothing new to learn: no label since the last snapshot, {settings.minimum_labels} are needed"
    return "wait", f"{known} of {settings.minimum_labels} new labelled rows are there"


def _lease(kind: IncidentKind, settings: Governor, seen: Circumstances) -> tuple[Action, str] | None:  # noqa: ARG001
    return None if seen.lease is None else ("wait", f"{seen.lease} is training")


def _pace(kind: IncidentKind, settings: Governor, seen: Circumstances) -> tuple[Action, str] | None:  # noqa: ARG001
    if seen.last_retraining is not None and seen.now - seen.last_retraining < settings.cooldown:
        return "wait", f"cooling down until {seen.last_retraining + settings.cooldown:%Y-%m-%d %H:%M:%S} UTC"
    if seen.intents_today >= settings.per_day:
        return "wait", f"{seen.intents_today} retrainings in 24 hours, {settings.per_day} are allowed"
    return None


RULES: tuple[Rule, ...] = (_world, _faults, _breaker, _labels, _lease, _pace)


def _allowed(settings: Governor, seen: Circumstances) -> tuple[Action, str]:
    rows = f"{seen.labels + seen.new_rows} new labelled rows"
    if settings.retrain == "suggest":
        return "suggest", f"a retraining on {rows} is suggested; a person starts it"
    if settings.retrain == "approve" and not seen.approved:
        return "approve", f"a retraining on {rows} waits for a person's approval"
    return "retrain", f"nothing stands against a retraining on {rows}"


def _inputs(kind: IncidentKind, settings: Governor, seen: Circumstances) -> dict[str, Any]:
    return {
        "kind": kind,
        "now": seen.now.isoformat(),
        "labels": seen.labels,
        "new_rows": seen.new_rows,
        "intents_today": seen.intents_today,
        "had_intent": seen.had_intent,
        "last_retraining": seen.last_retraining.isoformat() if seen.last_retraining else None,
        "open_faults": list(seen.open_faults),
        "lease": seen.lease,
        "failures": seen.failures,
        "approved": seen.approved,
        "settings": {
            "retrain": settings.retrain,
            "cooldown_s": settings.cooldown.total_seconds(),
            "per_day": settings.per_day,
            "minimum_labels": settings.minimum_labels,
            "breaker": settings.breaker,
        },
    }
