"""What a generation's windows are compared with; each accepted change is a new revision, none is overwritten."""

import hashlib
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from data.errors import Corrupt
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import references


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
    def get(self, connection: Connection, project: str, generation: int, revision: int | None = None) -> bytes | None:
        """Return the payload of a revision, the newest unless named, or None.

        Raises: Corrupt, it is not what was put.
        """
        query = select(references).where(references.c.project == project, references.c.generation == generation)
        if revision is not None:
            query = query.where(references.c.revision == revision)
        row = connection.execute(query.order_by(references.c.revision.desc()).limit(1)).first()
        if row is None:
            return None
        found = hashlib.sha256(row.payload).hexdigest()
        if found != row.sha256:
            raise Corrupt(f"reference {row.revision} of {project} generation {generation}", row.sha256, found)
        return bytes(row.payload)


def put(connection: Connection, project: str, generation: int, payload: bytes, *, reason: str, now: datetime) -> int:
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
    }
    connection.execute(insert(references).values(**values))
    return newest + 1
