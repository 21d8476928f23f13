"""Retrainings that were promised, each seen through to its end by one run at a time."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from monitoring import events, telling
from monitoring.effects import NewIntent
from monitoring.records import Intent, Message
from monitoring.store import outbox
from monitoring.store.engine import Database, reads, writes
from monitoring.store.leases import draw, take_from
from monitoring.store.tables import intents

ATTEMPTS = 3  # the first, and two more after a crash, a cancellation or an expired lease


class Intents:
    """The intents table; each method is one transaction. One with its event is opened through Store.record."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def open(self, connection: Connection, project: str, incident_id: int | None, now: datetime) -> tuple[Intent, bool]:
        """Return the intent that this incident has under way, and whether this call opened it."""
        return open_once(connection, NewIntent(project, incident_id), now)

    @reads
    def get(self, connection: Connection, id: int) -> Intent | None:  # noqa: A002
        """Return one intent."""
        return _get(connection, id)

    @reads
    def open_ones(self, connection: Connection, project: str | None = None) -> list[Intent]:
        """Return the intents that have not ended, oldest first."""
        where = [] if project is None else [intents.c.project == project]
        return _all(connection, intents.c.ended_at.is_(None), *where)

    @reads
    def all(self, connection: Connection, project: str) -> list[Intent]:
        """Return every intent that a project has had, oldest first."""
        return _all(connection, intents.c.project == project)

    @reads
    def of(self, connection: Connection, incident_id: int) -> list[Intent]:
        """Return every intent that an incident has had, oldest first."""
        return _all(connection, intents.c.incident_id == incident_id)

    @reads
    def recent(self, connection: Connection, project: str, n: int) -> list[Intent]:
        """Return the last `n` intents, newest first."""
        query = select(intents).where(intents.c.project == project).order_by(intents.c.id.desc()).limit(n)
        return [_intent(row) for row in connection.execute(query)]

    @writes
    def claim(self, connection: Connection, id: int, attempt: int, run: str, now: datetime) -> bool:  # noqa: A002
        """Give an attempt to `run`; return whether it is this run's, now or already. One run gets it."""
        waiting = (intents.c.id == id, intents.c.attempt == attempt, intents.c.state == "open")
        changed = connection.execute(update(intents).where(*waiting).values(state="running", run=run, started_at=now))
        found = _get(connection, id)
        if changed.rowcount == 1 and found is not None:
            started = _event(events.STARTED, found, f"started-{attempt}", now, attempt=attempt, run=run)
            outbox.put(connection, [started])
            return True
        return found is not None and (found.attempt, found.state, found.run) == (attempt, "running", run)

    @writes
    def end(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        outcome: str,
        now: datetime,
        attempt: int | None = None,
        why: str = "",
    ) -> bool:
        """End an intent, and tell people; False where it had ended, or `attempt` is no longer the one in force."""
        where = [intents.c.id == id, intents.c.ended_at.is_(None)]
        if attempt is not None:
            where.append(intents.c.attempt == attempt)
        return end_once(connection, outcome, now, *where, why=why)

    @writes
    def restart(self, connection: Connection, id: int, attempt: int, now: datetime) -> Intent:  # noqa: A002
        """Open the attempt after `attempt`, which is dead, with a new token; after the last one, give up: abandoned.

        Where `attempt` is not the one in force, another has restarted it: nothing changes.
        """
        found = _get(connection, id)
        if found is None:
            raise LookupError(f"there is no intent {id}")
        if found.attempt != attempt or found.state == "ended":
            return found
        if attempt >= ATTEMPTS:
            why = f"its run died {ATTEMPTS} times"
            end_once(connection, "abandoned", now, intents.c.id == id, why=why)
        else:
            lasted = (now - found.started_at).total_seconds() if found.started_at else 0.0
            again = {
                "spent": found.spent + max(lasted, 0.0),
                "state": "open",
                "run": None,
                "started_at": None,
                "attempt": attempt + 1,
                "token": draw(connection, found.project),
            }
            connection.execute(update(intents).where(intents.c.id == id).values(**again))
        return _all(connection, intents.c.id == id)[0]


def open_once(connection: Connection, new: NewIntent, now: datetime) -> tuple[Intent, bool]:
    """Open an intent unless its incident has one under way; return it and whether it is new."""
    if new.incident_id is not None:
        found = _all(connection, intents.c.incident_id == new.incident_id, intents.c.ended_at.is_(None))
        if found:
            return found[0], False
    values = {
        "project": new.project,
        "incident_id": new.incident_id,
        "token": draw(connection, new.project),
        "attempt": 1,
        "state": "open",
        "opened_at": now,
        "actor": new.actor,
        "clock_at": new.clock,
    }
    made = connection.execute(insert(intents).values(**values)).inserted_primary_key
    assert made is not None
    return _all(connection, intents.c.id == made[0])[0], True


def stop_live(connection: Connection, incident_id: int, why: str, now: datetime) -> None:
    """End the retraining that an incident has under way; its run loses the lease, so that nothing comes of it."""
    for live in _all(connection, intents.c.incident_id == incident_id, intents.c.ended_at.is_(None)):
        end_once(connection, "blocked", now, intents.c.id == live.id, why=why)
        if live.run is not None:
            take_from(connection, live.project, live.run)


def _get(connection: Connection, id_: int) -> Intent | None:
    return next(iter(_all(connection, intents.c.id == id_)), None)


def _all(connection: Connection, *where: ColumnElement[bool]) -> list[Intent]:
    return [_intent(row) for row in connection.execute(select(intents).where(*where).order_by(intents.c.id))]


def end_once(connection: Connection, outcome: str, now: datetime, *where: ColumnElement[bool], why: str = "") -> bool:
    """End the intent found by `where`, and tell what it came to; return whether there was one.

    Who was told of its incident is told of its end, once, in this transaction.
    """
    live = _all(connection, intents.c.ended_at.is_(None), *where)
    for one in live:
        done = {"state": "ended", "outcome": outcome, "ended_at": now}
        connection.execute(update(intents).where(intents.c.id == one.id).values(**done))
        told = outbox.told(connection, one.incident_id) if one.incident_id is not None else []
        ended = _event(events.ENDED, one, "ended", now, outcome=outcome, reason=why)
        outbox.put(connection, [*telling.followed_up(one, told, outcome, why, now), ended])
    return bool(live)


def _event(name: str, intent: Intent, key: str, now: datetime, **facts: Any) -> Message:
    about = {"intent": intent.id, "incident": intent.incident_id, **facts}
    return events.event(name, intent.project, f"intent-{intent.id}.{key}", now, **about)


def _intent(row: Row[Any]) -> Intent:
    return Intent(
        row.id,
        row.project,
        row.incident_id,
        row.token,
        row.attempt,
        row.state,
        row.opened_at,
        row.started_at,
        row.run,
        row.ended_at,
        row.outcome,
        row.actor,
        row.clock_at,
        row.spent,
    )
