"""What people should know; at most one incident of a kind is open in a project."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from monitoring.effects import NewIncident
from monitoring.records import Incident, IncidentKind
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import incidents


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

    @writes
    def acknowledge(self, connection: Connection, id: int, now: datetime) -> bool:  # noqa: A002
        """Note that a person has seen it; return False where one had already, or it is closed."""
        unseen = (incidents.c.id == id, incidents.c.acknowledged_at.is_(None), incidents.c.closed_at.is_(None))
        return connection.execute(update(incidents).where(*unseen).values(acknowledged_at=now)).rowcount == 1

    @writes
    def close(self, connection: Connection, id: int, why: str, now: datetime) -> bool:  # noqa: A002
        """Close it; return False where it was closed before."""
        return close_once(connection, id, why, now)


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
        "reason": new.reason,
        "detail": new.detail,
    }
    connection.execute(insert(incidents).values(**values))
    return _all(connection, *same)[0], True


def close_once(connection: Connection, id_: int, why: str, now: datetime) -> bool:
    """Close an incident unless it is closed."""
    still = (incidents.c.id == id_, incidents.c.closed_at.is_(None))
    return connection.execute(update(incidents).where(*still).values(closed_at=now, closed_why=why)).rowcount == 1


def _all(connection: Connection, *where: ColumnElement[bool]) -> list[Incident]:
    return [_incident(row) for row in connection.execute(select(incidents).where(*where).order_by(incidents.c.id))]


def _incident(row: Row[Any]) -> Incident:
    return Incident(
        row.id,
        row.project,
        row.kind,
        row.generation,
        row.opened_at,
        row.reason,
        row.detail,
        row.acknowledged_at,
        row.closed_at,
        row.closed_why,
    )
