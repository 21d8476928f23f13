"""Small facts that flows and the keeper must not forget, by name."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import notes


class Notes:
    """The notes table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @reads
    def get(self, connection: Connection, name: str) -> Any:
        """Return the JSON value under a name, or None."""
        return connection.scalar(select(notes.c.value).where(notes.c.name == name))

    @writes
    def put(self, connection: Connection, name: str, value: Any, now: datetime) -> None:
        """Keep a JSON value under a name; the newest one holds."""
        if connection.execute(update(notes).where(notes.c.name == name).values(value=value, at=now)).rowcount == 0:
            connection.execute(insert(notes).values(name=name, value=value, at=now))
