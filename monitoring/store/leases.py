"""Who may retrain a project: one holder at a time, with a token that only grows.

A clock that jumps can end a lease early or late; it can't make two tokens valid.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from data.errors import Busy, StaleToken
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import leases

FREE = {"token": None, "holder": None, "expires_at": None}


@dataclass(frozen=True)
class Lease:
    """A holder's right to retrain until `expires_at`."""

    project: str
    token: int
    holder: str
    expires_at: datetime


class Leases:
    """The leases table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def acquire(self, connection: Connection, project: str, holder: str, ttl: timedelta, now: datetime) -> int:
        """Return the fencing token of a new lease, greater than any before.

        Raises: Busy, somebody holds it, the same holder included.
        """
        current = _current(connection, project)
        if current is not None and current.expires_at > now:
            raise Busy(project, current.holder, current.expires_at)
        token = draw(connection, project)
        held = {"token": token, "holder": holder, "expires_at": now + ttl}
        connection.execute(update(leases).where(leases.c.project == project).values(**held))
        return token

    @writes
    def renew(self, connection: Connection, project: str, token: int, ttl: timedelta, now: datetime) -> Lease:
        """Move the end of a lease to `ttl` from now.

        Raises: StaleToken, also for a lease that has run out: another may count on that already.
        """
        current = check_token(connection, project, token)
        if current.expires_at <= now:
            raise StaleToken(f"the lease {token} of {project} ran out at {current.expires_at:%H:%M:%S} UTC")
        connection.execute(update(leases).where(leases.c.project == project).values(expires_at=now + ttl))
        return Lease(project, token, current.holder, now + ttl)

    @writes
    def release(self, connection: Connection, project: str, token: int) -> None:
        """Give a lease back.

        Raises: StaleToken.
        """
        check_token(connection, project, token)
        connection.execute(update(leases).where(leases.c.project == project).values(**FREE))

    @reads
    def check(self, connection: Connection, project: str, token: int) -> None:
        """Return if the token is the holder's.

        A lease past its end is the holder's until somebody else acquires it or `expire` takes it away.

        Raises: StaleToken.
        """
        check_token(connection, project, token)

    @reads
    def current(self, connection: Connection, project: str) -> Lease | None:
        """Return the lease of a project, which may be past its end."""
        return _current(connection, project)

    @writes
    def expire(self, connection: Connection, project: str, now: datetime) -> Lease | None:
        """Take a lease away if it is past its end, and return it."""
        current = _current(connection, project)
        if current is None or current.expires_at > now:
            return None
        connection.execute(update(leases).where(leases.c.project == project).values(**FREE))
        return current


def draw(connection: Connection, project: str) -> int:
    """Return the next token of a project."""
    grown = update(leases).where(leases.c.project == project).values(fence=leases.c.fence + 1)
    if connection.execute(grown).rowcount == 0:
        connection.execute(insert(leases).values(project=project, fence=1))
    return int(connection.scalars(select(leases.c.fence).where(leases.c.project == project)).one())


def take_from(connection: Connection, project: str, holder: str) -> None:
    """Take the lease from a holder, if it has it: whatever its run makes from now on is dropped."""
    held = (leases.c.project == project, leases.c.holder == holder)
    connection.execute(update(leases).where(*held).values(**FREE))


def check_token(connection: Connection, project: str, token: int) -> Lease:
    """Return the lease if the token is its holder's.

    Raises: StaleToken.
    """
    current = _current(connection, project)
    if current is None or current.token != token:
        newer = "nobody holds it now" if current is None else f"{current.holder} has {current.token}"
        raise StaleToken(f"the lease {token} of {project} is no longer valid: {newer}")
    return current


def _current(connection: Connection, project: str) -> Lease | None:
    row = connection.execute(select(leases).where(leases.c.project == project, leases.c.token.is_not(None))).first()
    return None if row is None else _lease(row)


def _lease(row: Row[Any]) -> Lease:
    return Lease(row.project, row.token, row.holder, row.expires_at)
