"""What the governor looks at, gathered from the store.

Everything is told on the project's own clock, so that cool-down and budgets pass in a replay as the rows' time does.
How long a run took is what it took on the machine, whatever the clock.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from monitoring.governor import Circumstances
from monitoring.records import Generation, Incident, Intent
from projects.declaration import Project
from tasks.gathering import new_rows, same_data
from tasks.resources import Resources

DAY, WEEK = timedelta(days=1), timedelta(days=7)
FRUITLESS = ("refused", "failed", "abandoned")
UNCOUNTED = ("unneeded", "blocked", "cancelled")  # neither fruit nor fruitless, and no run of the budget
JUDGED = ("promoted", "challenger", "kept", "refused")
LOOKED_AT = 500  # newest intents: more than any budget of a week


def circumstances(
    resources: Resources,
    project: Project,
    generation: Generation | None,
    open_incidents: Sequence[Incident],
    now: datetime,
) -> Circumstances:
    """Return what the governor looks at, as the store has it; `now` is the project's clock's time.

    `generation`: what serves. Before the first one nothing is a retraining, so that nothing binds a training but the
    lease.
    """
    store, wall = resources.store, resources.now()
    lease = store.leases.current(project.name)
    holder = lease.holder if lease is not None and lease.expires_at > wall else None
    if generation is None:
        return Circumstances(now=now, lease=holder)
    first = store.ledger.generations(project.name)[0]
    known = [one for one in store.intents.recent(project.name, LOOKED_AT) if one.opened_at > first.at]
    labels = store.labels.count_unharvested(project.name, until=now - project.labels.delay)
    rows = new_rows(resources, project.name, generation)
    spending = [one for one in known if one.actor is None]
    counted = [one for one in spending if one.outcome not in UNCOUNTED]
    return Circumstances(
        now=now,
        labels=labels,
        new_rows=rows,
        same_data=not labels and rows > 0 and same_data(resources, project),
        runs_today=sum(ours(one, one.opened_at) > now - DAY for one in counted),
        runs_this_week=sum(ours(one, one.opened_at) > now - WEEK for one in counted),
        minutes_today=minutes(spending, now - DAY, wall),
        minutes_this_week=minutes(spending, now - WEEK, wall),
        minutes_by_people=minutes([one for one in known if one.actor is not None], now - WEEK, wall),
        last_minutes=next((lasted(one, wall) for one in known if one.outcome in JUDGED), 0.0),
        last_retraining=ours(known[0], known[0].ended_at or known[0].opened_at) if known else None,
        open_faults=tuple(
            name for one in open_incidents if one.blocks for name in one.detail.get("columns", [one.reason])
        ),
        lease=holder,
        promised=next((one.id for one in known if one.ended_at is None), None),
        failures=failures(known, generation),
    )


def failures(known: Iterable[Intent], generation: Generation) -> int:
    """Return how many retrainings in a row came to nothing; a promotion mends the breaker.

    What a person tries and fails at says nothing of those that start by themselves; what succeeds does.
    """
    ended = [one for one in known if one.ended_at and one.opened_at > generation.at and one.outcome not in UNCOUNTED]
    ended = [one for one in ended if one.actor is None or one.outcome not in FRUITLESS]
    return next((count for count, one in enumerate(ended) if one.outcome not in FRUITLESS), len(ended))


def ours(intent: Intent, at: datetime) -> datetime:
    """Return a time of an intent on the project's clock, which was `clock_at` when it was opened."""
    return at + (intent.clock_at - intent.opened_at) if intent.clock_at else at


def minutes(known: Iterable[Intent], since: datetime, wall: datetime) -> float:
    """Return how long the runs of these intents took since then, on the project's clock; those under way up to now."""
    found = 0.0
    for one in known:
        until = one.ended_at or wall
        late = max(ours(one, until) - since, timedelta(0)) / timedelta(minutes=1)
        found += min(lasted(one, wall), late)
    return found


def lasted(intent: Intent, wall: datetime) -> float:
    """Return the minutes that the runs of an intent have taken, those that died among them."""
    running = (intent.ended_at or wall) - intent.started_at if intent.started_at else timedelta(0)
    return intent.spent / 60 + max(running, timedelta(0)) / timedelta(minutes=1)
