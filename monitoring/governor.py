"""Whether a retraining may begin: a pure function of what is written down, so that it can be replayed.

Who asks matters. An incident asks by itself; so does a schedule, which a project declares. A person has looked, and
so skips the cool-down, "nothing new to learn" and the breaker, which asks for a person; the ledger says what was
skipped. Nobody skips an open fault (whoever acknowledges it may go on), the lease, or the budget.

A tripped breaker lets one retraining through at each doubling of what is new (half-open: Nygard 2007, Release It!), so
that a loop which nobody looks at costs little and is not dead for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from monitoring.declarations import Governor
from monitoring.records import IncidentKind

Action = Literal["retrain", "suggest", "approve", "wait", "block", "skip"]
Asker = Literal["incident", "schedule", "person"]


@dataclass(frozen=True)
class Circumstances:
    """What the governor looks at, as it stands in the store. Times are the project's own clock's.

    Args:
        now: wall time, or in a replay the newest row's.
        labels: labelled predictions that no snapshot holds yet.
        new_rows: rows that have landed since the last training fixed what it learns from.
        same_data: whether a training would learn from just the rows that the last one learned from.
        runs_today, runs_this_week: retrainings promised in the last 24 hours and 7 days, people's own left out.
        minutes_today, minutes_this_week: what they have taken, and those under way have so far.
        minutes_by_people: what the runs that people started took in 7 days, which is told and spends no budget.
        last_minutes: how long the last one took that came to a verdict.
        last_retraining: when the last retraining of the project ended, or began if it has not ended.
        open_faults: columns, or other names, of open and unacknowledged fault incidents.
        lease: who holds the project's lease, if anybody does.
        promised: a retraining that has not ended yet, if there is one.
        failures: retrainings in a row, up to now, that ended refused, failed or abandoned (kept is none), people's own
            left out.
        tried: retrainings of the incident that asks which were kept or refused; each doubles what must be new.
    """

    now: datetime
    labels: int = 0
    new_rows: int = 0
    same_data: bool = False
    runs_today: int = 0
    runs_this_week: int = 0
    minutes_today: float = 0.0
    minutes_this_week: float = 0.0
    minutes_by_people: float = 0.0
    last_minutes: float = 0.0
    last_retraining: datetime | None = None
    open_faults: tuple[str, ...] = ()
    lease: str | None = None
    promised: int | None = None
    failures: int = 0
    tried: int = 0


@dataclass(frozen=True)
class Ruling:
    """What is done, why, and everything that was looked at (JSON values).

    `wait` and `block` are asked again while the incident is open; `skip` is final; `approve` and `suggest` leave it to
    a person, who starts it.
    """

    action: Action
    reason: str
    inputs: Mapping[str, Any]


Answer = tuple[Action, str] | None
Rule = Callable[[Governor, Circumstances], Answer]


def decide(kind: IncidentKind | None, settings: Governor, seen: Circumstances, asker: Asker = "incident") -> Ruling:
    """Return the first objection of the rules that bind who asks; without any, a retraining as `settings` allow.

    `kind`: the incident's, None where there is none.
    """
    found = _unfit(kind, settings) if asker == "incident" else None
    for rule in BINDING[asker]:
        found = found or rule(settings, seen)
    if found is None:
        found = _asked(settings, seen) if asker == "person" else _allowed(settings, seen, asker)
    inputs = {"kind": kind, "asker": asker, **_plain(asdict(seen)), "settings": _limits(settings)}
    return Ruling(*found, inputs)


def _unfit(kind: IncidentKind | None, settings: Governor) -> Answer:
    if kind not in ("drift", "degraded"):
        return "skip", f"a {kind} incident is no change of the world, and only that may retrain"
    return ("skip", "this project's governor has retrain off") if settings.retrain == "off" else None


def _faults(settings: Governor, seen: Circumstances) -> Answer:  # noqa: ARG001
    if not seen.open_faults:
        return None
    return "block", f"a fault is open ({', '.join(seen.open_faults)}): it must recover or be acknowledged first"


def _breaker(settings: Governor, seen: Circumstances) -> Answer:
    if not tripped(settings, seen):
        return None
    return (
        "block",
        f"the last {seen.failures} retrainings came to nothing: a person must look (breaker {settings.breaker}), "
        f"or {half_open(settings, seen):,} new labelled rows must come, on which one more is tried",
    )


def tripped(settings: Governor, seen: Circumstances) -> bool:
    """Tell whether so many in a row came to nothing that none starts by itself, for all that is new by now."""
    return seen.failures >= settings.breaker and seen.labels + seen.new_rows < half_open(settings, seen)


def half_open(settings: Governor, seen: Circumstances) -> int:
    """Return the new rows on which a tripped breaker lets one retraining through; each that fails doubles them."""
    beyond: int = 2 ** max(seen.failures - settings.breaker + 1, seen.tried)
    return max(settings.minimum_labels, 1) * beyond


def _news(settings: Governor, seen: Circumstances) -> Answer:
    known = seen.labels + seen.new_rows
    asked = settings.minimum_labels * 2**seen.tried
    if not known:
        return "wait", f"nothing new to learn: no label since the last snapshot, {asked} are needed"
    if seen.same_data:
        return "wait", "nothing new to learn: the snapshot is the one that the last training learned from"
    if known < asked:
        return "wait", f"{known} of {asked} new labelled rows are there"
    return None


def _lease(settings: Governor, seen: Circumstances) -> Answer:  # noqa: ARG001
    return None if seen.lease is None else ("wait", f"{seen.lease} is training")


def _promised(settings: Governor, seen: Circumstances) -> Answer:  # noqa: ARG001
    return None if seen.promised is None else ("wait", f"intent {seen.promised} comes first")


def _pace(settings: Governor, seen: Circumstances) -> Answer:
    if seen.last_retraining is None or seen.now - seen.last_retraining >= settings.cooldown:
        return None
    return "wait", f"cooling down until {seen.last_retraining + settings.cooldown:%Y-%m-%d %H:%M:%S} UTC"


def _budget(settings: Governor, seen: Circumstances) -> Answer:
    for span, runs, most in (
        ("24 hours", seen.runs_today, settings.per_day),
        ("7 days", seen.runs_this_week, settings.per_week),
    ):
        if runs >= most:
            return "wait", f"{runs} retrainings in {span}, {most} are allowed"
    for span, minutes, limit in (
        ("24 hours", seen.minutes_today, settings.minutes_per_day),
        ("7 days", seen.minutes_this_week, settings.minutes_per_week),
    ):
        if minutes >= limit or minutes + seen.last_minutes > limit:
            said = f"retraining took {minutes:.0f} minutes in {span} and the last run {seen.last_minutes:.0f}"
            return "wait", f"{said}: one more is beyond the {limit:g} that are allowed"
    return None


BINDING: Mapping[Asker, tuple[Rule, ...]] = {
    "incident": (_faults, _breaker, _news, _lease, _promised, _pace, _budget),
    "schedule": (_faults, _breaker, _news, _lease, _promised, _pace, _budget),
    "person": (_faults, _lease, _budget),
}
SKIPPED: Mapping[Rule, str] = {_breaker: "the breaker", _news: '"nothing new to learn"', _pace: "the cool-down"}


def _allowed(settings: Governor, seen: Circumstances, asker: Asker) -> tuple[Action, str]:
    rows = f"{seen.labels + seen.new_rows} new labelled rows"
    if asker == "incident" and settings.retrain == "suggest":
        return "suggest", f"a retraining on {rows} is suggested; a person starts it"
    if asker == "incident" and settings.retrain == "approve":
        return "approve", f"a retraining on {rows} waits for a person's approval"
    return "retrain", f"nothing stands against a retraining on {rows}"


def _asked(settings: Governor, seen: Circumstances) -> tuple[Action, str]:
    skipped = [f"{name} ({found[1]})" for rule, name in SKIPPED.items() if (found := rule(settings, seen))]
    said = f"a person started it, which skips {' and '.join(skipped)}" if skipped else "a person started it"
    spent = f"; people's runs took {seen.minutes_by_people:.0f} minutes in 7 days" if seen.minutes_by_people else ""
    return "retrain", said + spent


def _limits(settings: Governor) -> dict[str, Any]:
    return {
        "retrain": settings.retrain,
        "cooldown_s": settings.cooldown.total_seconds(),
        "per_day": settings.per_day,
        "per_week": settings.per_week,
        "minutes_per_day": settings.minutes_per_day,
        "minutes_per_week": settings.minutes_per_week,
        "minimum_labels": settings.minimum_labels,
        "breaker": settings.breaker,
    }


def _plain(seen: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in seen.items()}
    return {**plain, "open_faults": list(seen["open_faults"])}
