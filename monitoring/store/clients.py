"""Who may ask the service: clients, each with one secret that is kept as its sha256 only."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from data.errors import BadSetting, nearest
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import clients

PREFIX = "hf_"  # by which scanners and people know a leaked one
SCOPES = {
    "predict": "ask for predictions, and read them again",
    "label": "tell the truth about predictions",
    "read": "see the overview, the reports and the metrics",
    "admin": "all of these",
}
LOCAL = "local"  # whoever asks a service that needs no key
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True)
class ApiClient:
    """One line of the table. `projects`: those it may ask, none named: all. Revoked ones stay, as history."""

    id: int
    name: str
    secret_sha256: str = field(repr=False)
    scopes: tuple[str, ...]
    projects: tuple[str, ...]
    rows_per_second: int | None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None
    revoked_by: str | None = None


class Clients:
    """The clients table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def add(
        self,
        connection: Connection,
        name: str,
        scopes: Sequence[str],
        now: datetime,
        actor: str,
        *,
        projects: Sequence[str] = (),
        rows_per_second: int | None = None,
    ) -> tuple[ApiClient, str]:
        """Return a new client and its secret, which nobody can show again.

        Raises: BadSetting, also where a client of this name has a key that isn't revoked.
        """
        _check(name, scopes, projects, rows_per_second)
        if connection.scalar(select(clients.c.id).where(*_live(name))) is not None:
            raise BadSetting(f"{name!r} has a key: revoke it first, or take another name")
        secret = PREFIX + secrets.token_urlsafe(32)
        values = {
            "name": name,
            "secret_sha256": hashed(secret),
            "scopes": [scope for scope in SCOPES if scope in scopes],
            "projects": sorted(set(projects)),
            "rows_per_second": rows_per_second,
            "created_at": now,
            "created_by": actor[:200],
        }
        connection.execute(insert(clients).values(**values))
        return _client(connection.execute(select(clients).where(*_live(name))).one()), secret

    @writes
    def revoke(self, connection: Connection, name: str, now: datetime, actor: str) -> None:
        """End a client's key.

        Raises: BadSetting, no client of this name has one.
        """
        values = {"revoked_at": now, "revoked_by": actor[:200]}
        if connection.execute(update(clients).where(*_live(name)).values(**values)).rowcount == 0:
            known = connection.scalars(select(clients.c.name).where(clients.c.revoked_at.is_(None)))
            raise BadSetting(f"no client {name[:80]!r} has a key; {nearest(name[:80], known)}")

    @reads
    def all(self, connection: Connection) -> list[ApiClient]:
        """Return every client there ever was, oldest first."""
        return [_client(row) for row in connection.execute(select(clients).order_by(clients.c.id))]


def hashed(secret: str) -> str:
    """Return what is kept of a secret. 32 random bytes need no salt and no slow hash: nobody can try them all."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _check(name: str, scopes: Sequence[str], projects: Sequence[str], rows_per_second: int | None) -> None:
    if not NAME.fullmatch(name) or name == LOCAL:
        raise BadSetting(f"{name[:80]!r} is no client's name: 1 to 80 of a-z 0-9 . _ -, not {LOCAL!r}")
    if not scopes:
        raise BadSetting(f"a key needs a scope: {', '.join(SCOPES)}")
    for scope in scopes:
        if scope not in SCOPES:
            raise BadSetting(f"no scope {scope[:80]!r}; {nearest(scope[:80], SCOPES)}")
    if projects and {"read", "admin"} & set(scopes):
        raise BadSetting("'read' and 'admin' are for every project: name none, or leave these scopes out")
    if rows_per_second is not None and not 1 <= rows_per_second <= 1_000_000_000:
        raise BadSetting(f"{rows_per_second} rows a second: at least 1 expected")


def _live(name: str) -> tuple[Any, ...]:
    return (clients.c.name == name, clients.c.revoked_at.is_(None))


def _client(row: Row[Any]) -> ApiClient:
    return ApiClient(
        row.id,
        row.name,
        row.secret_sha256,
        tuple(row.scopes),
        tuple(row.projects),
        row.rows_per_second,
        row.created_at,
        row.created_by,
        row.revoked_at,
        row.revoked_by,
    )
