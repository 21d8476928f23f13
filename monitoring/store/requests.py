"""What people asked for by moving an alias in the registry; webhook and poll find the same request."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import requests


@dataclass(frozen=True)
class Request:
    """A version that somebody wants to serve. `source`: who told us (webhook, poll)."""

    id: int
    project: str
    version: str
    source: str
    received_at: datetime
    handled_at: datetime | None = None
    outcome: str | None = None


class Requests:
    """The requests table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def add(
        self, connection: Connection, project: str, version: str, source: str, now: datetime
    ) -> tuple[Request, bool]:
        """Return the request for this version that waits, and whether this call made it."""
        query = select(requests).where(
            requests.c.project == project, requests.c.version == version, requests.c.handled_at.is_(None)
        )
        row = connection.execute(query).first()
        if row is not None:
            return _request(row), False
        values = {"project": project, "version": version, "source": source, "received_at": now}
        connection.execute(insert(requests).values(**values))
        return _request(connection.execute(query).one()), True

    @reads
    def open_ones(self, connection: Connection, project: str | None = None) -> list[Request]:
        """Return the requests that wait, oldest first."""
        query = select(requests).where(requests.c.handled_at.is_(None)).order_by(requests.c.id)
        query = query if project is None else query.where(requests.c.project == project)
        return [_request(row) for row in connection.execute(query)]

    @writes
    def handled(self, connection: Connection, id: int, outcome: str, now: datetime) -> None:  # noqa: A002
        """Note what became of a request."""
        waiting = (requests.c.id == id, requests.c.handled_at.is_(None))
        connection.execute(update(requests).where(*waiting).values(handled_at=now, outcome=outcome))


def _request(row: Row[Any]) -> Request:
    return Request(row.id, row.project, row.version, row.source, row.received_at, row.handled_at, row.outcome)
