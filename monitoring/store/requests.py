"""What people asked for in the registry: by an alias or a tag; webhook and poll find the same request."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import requests

ALIAS, TAG = "champion", "promote"  # by which the registry asks: an alias, or a tag that says true


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
    delivery: str | None = None  # the webhook's own id
    reason: str | None = None  # why it could not be judged anew
    run: str | None = None  # the run that judges it anew
    attempt: int = 0  # runs asked for so far


class Requests:
    """The requests table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def add(
        self,
        connection: Connection,
        project: str,
        version: str,
        source: str,
        now: datetime,
        *,
        delivery: str | None = None,
    ) -> tuple[Request, bool]:
        """Return the request for this version that waits, and whether this call made it.

        A delivery is taken once: one that is known returns what it made then. One that finds its request waiting is
        noted as handled with it, so that it is known as well.
        """
        if delivery is not None:
            known = connection.execute(select(requests).where(requests.c.delivery == delivery)).first()
            if known is not None:
                return _request(known), False
        query = select(requests).where(
            requests.c.project == project, requests.c.version == version, requests.c.handled_at.is_(None)
        )
        row = connection.execute(query).first()
        values = {"project": project, "version": version, "source": source, "received_at": now, "delivery": delivery}
        if row is None:
            connection.execute(insert(requests).values(**values))
            return _request(connection.execute(query).one()), True
        if delivery is not None:
            merged = {"handled_at": now, "outcome": f"the same as request {row.id}"}
            connection.execute(insert(requests).values(**values, **merged))
        return _request(row), False

    @reads
    def get(self, connection: Connection, id: int) -> Request | None:  # noqa: A002
        """Return one request."""
        row = connection.execute(select(requests).where(requests.c.id == id)).first()
        return None if row is None else _request(row)

    @reads
    def open_ones(self, connection: Connection, project: str | None = None) -> list[Request]:
        """Return the requests that wait, oldest first."""
        query = select(requests).where(requests.c.handled_at.is_(None)).order_by(requests.c.id)
        query = query if project is None else query.where(requests.c.project == project)
        return [_request(row) for row in connection.execute(query)]

    @writes
    def judging(self, connection: Connection, id: int, run: str, attempt: int) -> None:  # noqa: A002
        """Note the run that judges the version anew."""
        waiting = (requests.c.id == id, requests.c.handled_at.is_(None))
        connection.execute(update(requests).where(*waiting).values(run=run, attempt=attempt))

    @writes
    def failed(self, connection: Connection, id: int, reason: str) -> None:  # noqa: A002
        """Note why the version can't be judged anew, whoever tries."""
        waiting = (requests.c.id == id, requests.c.handled_at.is_(None))
        connection.execute(update(requests).where(*waiting).values(reason=reason))

    @writes
    def handled(self, connection: Connection, id: int, outcome: str, now: datetime) -> None:  # noqa: A002
        """Note what became of a request."""
        waiting = (requests.c.id == id, requests.c.handled_at.is_(None))
        connection.execute(update(requests).where(*waiting).values(handled_at=now, outcome=outcome))


def _request(row: Row[Any]) -> Request:
    return Request(
        row.id,
        row.project,
        row.version,
        row.source,
        row.received_at,
        row.handled_at,
        row.outcome,
        row.delivery,
        row.reason,
        row.run,
        row.attempt,
    )
