"""What people should know; at most one incident of a kind is open in a project."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from monitoring import events, telling
from monitoring.effects import NewDecision, NewIncident, Update
from monitoring.records import ORDER, Incident, IncidentKind, Message, Spell
from monitoring.store import outbox
from monitoring.store.engine import Database, reads, writes
from monitoring.store.intents import stop_live
from monitoring.store.ledger import add_decision
from monitoring.store.tables import decisions, incidents


class Incidents:
    """The incidents table; each method is one transaction. One with alerts is opened through Store.record."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def open(self, connection: Connection, new: NewIncident, now: datetime) -> tuple[Incident, bool]:
        """Return the open incident of this kind, and whether this call opened it."""
        return open_once(connection, new, now)

    @reads
    def get(self, connection: Connection, id: int) -> Incident | None:  # noqa: A002
        """Return one incident."""
        row = connection.execute(select(incidents).where(incidents.c.id == id)).first()
        return None if row is None else _incident(row)

    @reads
    def open_ones(
        self, connection: Connection, project: str | None = None, kind: IncidentKind | None = None
    ) -> list[Incident]:
        """Return the open incidents of a project, or of all, oldest first."""
        where: list[ColumnElement[bool]] = [incidents.c.closed_at.is_(None)]
        if project is not None:
            where.append(incidents.c.project == project)
        if kind is not None:
            where.append(incidents.c.kind == kind)
        return _all(connection, *where)

    @reads
    def recent(self, connection: Connection, project: str | None, n: int) -> list[Incident]:
        """Return the last `n` incidents of a project, or of all, open or closed, newest first."""
        query = select(incidents).order_by(incidents.c.id.desc()).limit(n)
        query = query if project is None else query.where(incidents.c.project == project)
        return [_incident(row) for row in connection.execute(query)]

    @reads
    def declared(self, connection: Connection, project: str) -> list[Incident]:
        """Return the incidents, open or closed, of which a person said that they are broken sensors, oldest first."""
        return _all(connection, incidents.c.project == project, incidents.c.declared_by.is_not(None))

    @reads
    def skewed(self, connection: Connection, project: str) -> list[Spell]:
        """Return the times in which the service was asked other values than the source has, oldest incident first."""
        return skewed(connection, project)

    @writes
    def spoil(self, connection: Connection, id: int, since: datetime, until: datetime, now: datetime) -> None:  # noqa: A002
        """Let an open incident's spell reach over the rows of [since, until) too."""
        for found in _all(connection, incidents.c.id == id, incidents.c.closed_at.is_(None)):
            known = found.detail
            first = min(since.isoformat(), known.get("since", since.isoformat()), key=datetime.fromisoformat)
            last = max(until.isoformat(), known.get("until", until.isoformat()), key=datetime.fromisoformat)
            detail = {**known, "since": first, "until": last}
            connection.execute(update(incidents).where(incidents.c.id == id).values(detail=detail, updated_at=now))

    @writes
    def acknowledge(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        now: datetime,
        *,
        actor: str,
        decision: NewDecision,
    ) -> bool:
        """Note that a person has seen it; return False, with nothing written, where one had, or it is closed."""
        unseen = incidents.c.acknowledged_at.is_(None)
        return _change(connection, id, decision, now, unseen, acknowledged_at=now, acknowledged_by=actor)

    @writes
    def snooze(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        until: datetime,
        now: datetime,
        *,
        actor: str,
        decision: NewDecision,
    ) -> bool:
        """Send nothing of it before `until`, what waits included; return False where that holds, or it is closed."""
        other = incidents.c.snoozed_until.is_(None) | (incidents.c.snoozed_until != until)
        changed = _change(connection, id, decision, now, other, snoozed_until=until, snoozed_by=actor)
        if changed:
            outbox.postpone(connection, id, until)
        return changed

    @writes
    def declare_fault(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        now: datetime,
        *,
        actor: str,
        decision: NewDecision,
    ) -> bool:
        """Take it for a broken sensor, whose retraining under way is stopped; False where it is one, or is closed."""
        undeclared = incidents.c.declared_by.is_(None)
        values = {"declared_by": actor, "severity": "critical", "acknowledged_at": None, "acknowledged_by": None}
        if not _change(connection, id, decision, now, undeclared, **values):
            return False
        stop_live(connection, id, decision.reason, now)
        return True

    @writes
    def escalate(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        now: datetime,
        *,
        decision: NewDecision,
        messages: Iterable[Message],
    ) -> bool:
        """Make it critical and tell of it, once for each kind of decision; False where that was done, or it is closed.

        The row stays locked meanwhile, so that of two who come at once the second sees the first one's line.
        """
        still = (incidents.c.id == id, incidents.c.closed_at.is_(None))
        worse = {"severity": "critical", "updated_at": now}
        if connection.execute(update(incidents).where(*still).values(**worse)).rowcount == 0:
            return False
        of = (decisions.c.project == decision.project, decisions.c.subject == decision.subject)
        told = (*of, decisions.c.kind == decision.kind)
        if connection.execute(select(decisions.c.id).where(*told).limit(1)).first() is not None:
            return False
        add_decision(connection, decision, now)
        after = _all(connection, incidents.c.id == id)[0]
        risen = _event(events.UPDATED, after, f"updated-{decision.kind}", now, reason=decision.reason)
        outbox.put(connection, [risen, *messages])
        return True

    @writes
    def remind(self, connection: Connection, id: int, repeat: timedelta, now: datetime) -> bool:  # noqa: A002
        """Tell again of an incident that waits for people, once a `repeat`; return whether this call did.

        One that is critical, or whose sleep is over since it was last told; never one that a person knows of.
        """
        found = _all(connection, incidents.c.id == id, incidents.c.closed_at.is_(None))
        told = outbox.told(connection, id)
        if not found or not told or not found[0].waits(now):
            return False
        newest, slept = max(one.created_at for one in told), found[0].snoozed_until
        woken = slept is not None and newest < slept
        if not woken and (found[0].severity != "critical" or now - newest < repeat):
            return False
        outbox.put(connection, telling.reminder(found[0], told, int(now.timestamp()), now))
        return True

    @writes
    def accept(self, connection: Connection, id: int, now: datetime, *, decision: NewDecision) -> bool:  # noqa: A002
        """Close it as harmless, for the decision's reason; False, with nothing written, where it was closed before."""
        if not close_once(connection, id, decision.reason, now):
            return False
        add_decision(connection, decision, now)
        return True

    @writes
    def close(self, connection: Connection, id: int, why: str, now: datetime) -> bool:  # noqa: A002
        """Close it; return False where it was closed before."""
        return close_once(connection, id, why, now)


def skewed(connection: Connection, project: str) -> list[Spell]:
    """Return the spells of a project's skew incidents, open or closed, oldest first."""
    found = _all(connection, incidents.c.project == project, incidents.c.kind == "skew")
    return [spell for one in found if (spell := one.spell)]


def open_once(connection: Connection, new: NewIncident, now: datetime) -> tuple[Incident, bool]:
    """Open an incident unless one of its kind, or of those beside it, is open; return it and whether it is new."""
    still = (incidents.c.project == new.project, incidents.c.closed_at.is_(None))
    same = (*still, incidents.c.kind == new.kind)
    found = _all(connection, *same) or _all(connection, *still, incidents.c.kind.in_(new.beside))
    if found:
        return found[0], False
    values = {
        "project": new.project,
        "kind": new.kind,
        "generation": new.generation,
        "opened_at": now,
        "updated_at": now,
        "reason": new.reason,
        "detail": new.detail,
        "severity": new.severity,
        "first_window": new.first_window,
        "last_window": new.last_window,
    }
    connection.execute(insert(incidents).values(**values))
    made = _all(connection, *same)[0]
    outbox.put(connection, [_event(events.OPENED, made, "opened", now, reason=made.reason)])
    return made, True


def update_once(connection: Connection, new: Update, now: datetime) -> None:
    """Note one more bad window of an open incident, and tell people once it has become critical."""
    found = _all(connection, incidents.c.id == new.incident_id, incidents.c.closed_at.is_(None))
    if not found:
        return
    before = found[0]
    urgent = max(before.severity, new.severity, key=ORDER.index)
    last = max(new.window, before.last_window if before.last_window is not None else new.window)
    values = {"detail": _grown(before, new), "severity": urgent, "last_window": last, "updated_at": now}
    connection.execute(update(incidents).where(incidents.c.id == before.id).values(**values))
    if urgent == before.severity:
        return
    after = replace(before, severity=urgent)
    outbox.put(connection, [_event(events.UPDATED, after, f"updated-{urgent}", now, reason=new.reason)])
    if urgent == "critical" and after.acknowledged_at is None:
        told = outbox.told(connection, after.id)
        outbox.put(connection, telling.escalated(after, told, new.reason, now))


def _grown(before: Incident, new: Update) -> dict[str, Any]:
    """Return an incident's detail with its newest window: how many there were, the latest, and each check's worst."""
    detail = dict(before.detail)
    latest = {"check": new.check, "window": new.window, "rows": new.rows, "reason": new.reason, "size": new.size}
    worst = dict(detail.get("worst") or {})
    if new.check not in worst or new.size > worst[new.check]["size"]:
        worst[new.check] = latest
    more = before.last_window is None or new.window > before.last_window  # else the other check has counted it
    left = {"left": dict(new.faults)} if new.faults else {}
    return {**detail, **left, "latest": latest, "worst": worst, "count": int(detail.get("count", 0)) + more}


def close_once(connection: Connection, id_: int, why: str, now: datetime, *, tell: bool = True) -> bool:
    """Close an incident unless it is closed, and tell those who know of it, unless the caller does."""
    still = (incidents.c.id == id_, incidents.c.closed_at.is_(None))
    if connection.execute(update(incidents).where(*still).values(closed_at=now, closed_why=why)).rowcount == 0:
        return False
    if tell:
        over = _all(connection, incidents.c.id == id_)[0]
        news = telling.recovered(over, outbox.told(connection, id_), why, now)
        outbox.put(connection, [*news, _event(events.RECOVERED, over, "closed", now, reason=why)])
    return True


def _event(name: str, incident: Incident, key: str, now: datetime, **facts: Any) -> Message:
    about = {"incident": incident.id, "kind": incident.kind, "severity": incident.severity, **facts}
    return events.event(name, incident.project, f"incident-{incident.id}.{key}", now, **about)


def _change(
    connection: Connection,
    id_: int,
    decision: NewDecision,
    now: datetime,
    unless: ColumnElement[bool],
    **values: Any,
) -> bool:
    """Change an open incident and write why, unless it stands so already."""
    where = (incidents.c.id == id_, incidents.c.closed_at.is_(None), unless)
    if connection.execute(update(incidents).where(*where).values(**values, updated_at=now)).rowcount == 0:
        return False
    add_decision(connection, decision, now)
    return True


def _all(connection: Connection, *where: ColumnElement[bool]) -> list[Incident]:
    return [_incident(row) for row in connection.execute(select(incidents).where(*where).order_by(incidents.c.id))]


def _incident(row: Row[Any]) -> Incident:
    return Incident(**row._mapping)  # noqa: SLF001 (SQLAlchemy's own name for it)
