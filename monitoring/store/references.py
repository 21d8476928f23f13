"""What a generation's windows are compared with; each accepted change is a new revision, none is overwritten."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from data.errors import Corrupt
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import references


@dataclass(frozen=True)
class Change:
    """The change of the world that a revision takes in: whose incident, who accepted it, and its windows.

    `first_window` is the one in which it began, `last_window` the last one accepted with it.
    """

    incident_id: int
    actor: str
    first_window: int
    last_window: int


@dataclass(frozen=True)
class Revision:
    """One state of a generation's reference, without its payload; `change` is None for the one it began with."""

    number: int
    sha256: str
    reason: str
    at: datetime
    change: Change | None = None


class References:
    """The references table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def put(
        self, connection: Connection, project: str, generation: int, payload: bytes, *, reason: str, now: datetime
    ) -> int:
        """Add a revision, counted from 1, and return it; the newest one's payload again adds none."""
        return put(connection, project, generation, payload, reason=reason, now=now)

    @reads
    def get(
        self,
        connection: Connection,
        project: str,
        generation: int,
        revision: int | None = None,
        *,
        window: int | None = None,
    ) -> bytes | None:
        """Return the payload of a revision, the newest unless named, or None.

        `window`: the newest that is for this window, since a change that came later says nothing of it.

        Raises: Corrupt, it is not what was put.
        """
        query = select(references).where(references.c.project == project, references.c.generation == generation)
        if revision is not None:
            query = query.where(references.c.revision == revision)
        if window is not None:
            query = query.where(func.coalesce(references.c.first_window, window) <= window)
        row = connection.execute(query.order_by(references.c.revision.desc()).limit(1)).first()
        if row is None:
            return None
        found = hashlib.sha256(row.payload).hexdigest()
        if found != row.sha256:
            raise Corrupt(f"reference {row.revision} of {project} generation {generation}", row.sha256, found)
        return bytes(row.payload)

    @reads
    def newest(self, connection: Connection, project: str, generation: int, window: int) -> int | None:
        """Return the newest revision that is for a window, or None."""
        of = (references.c.project == project, references.c.generation == generation)
        known = func.coalesce(references.c.first_window, window) <= window
        found: int | None = connection.scalar(select(func.max(references.c.revision)).where(*of, known))
        return found

    @reads
    def revisions(self, connection: Connection, project: str, generation: int) -> list[Revision]:
        """Return what is known of each revision of a generation's reference, oldest first."""
        of = (references.c.project == project, references.c.generation == generation)
        wanted = [column for column in references.c if column.name != "payload"]
        query = select(*wanted).where(*of).order_by(references.c.revision)
        return [
            Revision(
                row.revision,
                row.sha256,
                row.reason,
                row.at,
                None
                if row.incident_id is None
                else Change(row.incident_id, row.actor, row.first_window, row.last_window),
            )
            for row in connection.execute(query)
        ]

    @reads
    def accepted(self, connection: Connection, project: str, generation: int) -> int:
        """Return the last window whose change was accepted; -1 without any."""
        of = (references.c.project == project, references.c.generation == generation)
        found = connection.scalar(select(func.max(references.c.last_window)).where(*of))
        return -1 if found is None else int(found)


def put(
    connection: Connection,
    project: str,
    generation: int,
    payload: bytes,
    *,
    reason: str,
    now: datetime,
    change: Change | None = None,
) -> int:
    """Add a revision unless the newest holds the same."""
    of = (references.c.project == project, references.c.generation == generation)
    newest = int(connection.scalar(select(func.max(references.c.revision)).where(*of)) or 0)
    sha256 = hashlib.sha256(payload).hexdigest()
    same = select(references.c.revision).where(*of, references.c.revision == newest, references.c.sha256 == sha256)
    if connection.execute(same).first() is not None:
        return newest
    values = {
        "project": project,
        "generation": generation,
        "revision": newest + 1,
        "payload": payload,
        "sha256": sha256,
        "reason": reason,
        "at": now,
        **({} if change is None else vars(change)),
    }
    connection.execute(insert(references).values(**values))
    return newest + 1
