"""One connection of the driver's own for whoever writes most: SQLAlchemy's layers would cost more than the row.

Statements are written with ? for each value and one text for both databases.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.exc import TimeoutError as PoolTimeout

from data.errors import ServerUnavailable
from monitoring.store.engine import FAILURES, WRITER, Database

PATIENCE_MS = 200  # for another writer, before whoever waits is asked whether its clients still do
STATEMENT_MS = 1_500  # PostgreSQL's own bound; a file is never away
PIECES = (64, *range(32, 0, -1))  # rows of one INSERT: few lengths, so that each statement is prepared once
LOCKED = {"55P03", "57014"}  # PostgreSQL's lock_timeout and statement_timeout


class Locked(ServerUnavailable):
    """Another writer holds the store; the same may be tried again."""


class Wire:
    """Opened by the first statement, dropped after any failure, opened again by the next. For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dbapi = database.engine.dialect.loaded_dbapi
        self.failures = (PoolTimeout, *(getattr(self.dbapi, one.__name__) for one in FAILURES))
        self.is_file = database.file is not None
        self.in_list = "IN (SELECT value FROM json_each(?))" if self.is_file else "= ANY(?)"
        self.own: PoolProxiedConnection | None = None
        self.cursor: Any = None
        self.inserts: dict[tuple[str, int], str] = {}

    def open(self) -> None:
        """Connect; the connection is nobody else's.

        Raises: what the driver raises.
        """
        if self.cursor is not None:
            return
        self.own = self.database.engine.raw_connection()
        self.own.detach()
        connection: Any = self.own.dbapi_connection
        if self.is_file:
            connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
        else:
            connection.commit()
            connection.autocommit = True
            connection.execute(f"SET lock_timeout={PATIENCE_MS}")
            connection.execute(f"SET statement_timeout={STATEMENT_MS}")
        self.cursor = connection.cursor()

    def close(self) -> None:
        """Drop the connection; what is not committed is rolled back."""
        own, self.own, self.cursor = self.own, None, None
        if own is not None:
            own.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin as the only writer, and commit durably.

        Raises: Locked; ServerUnavailable, and where the commit itself failed nothing is known of it. What the data
            violate is raised as the driver says it, with nothing written.
        """
        try:
            self.begin()
            yield
            self.cursor.execute("COMMIT")
        except self.failures as error:
            self.drop()
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise (Locked if locked(error) else ServerUnavailable)(f"the store does not answer: {said}") from error
        except BaseException:
            self.drop()
            raise

    def begin(self) -> None:
        """Begin; a connection that died since its last use is replaced."""
        alive = self.cursor is not None
        try:
            self.open()
            self.cursor.execute(self.first)
        except self.failures as error:
            if not alive or locked(error):
                raise
            self.drop()
            self.open()
            self.cursor.execute(self.first)

    @property
    def first(self) -> str:
        """What begins a transaction of the only writer."""
        return "BEGIN IMMEDIATE" if self.is_file else f"BEGIN; SELECT pg_advisory_xact_lock({WRITER})"

    def drop(self) -> None:
        """Close a connection whose state is unknown; that may fail too."""
        with suppress(self.dbapi.Error):
            self.close()

    def execute(self, sql: str, values: Sequence[Any]) -> None:
        """Run one statement."""
        self.cursor.execute(self.marked(sql), values)

    def all(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return every row of a query."""
        self.execute(sql, values)
        return list(self.cursor.fetchall())

    def insert(self, into: str, rows: Sequence[tuple[Any, ...]], after: str = "") -> int:
        """Insert rows into "table (column, …)" by as few statements as pieces allow; return how many went in."""
        start = inserted = 0
        for size in PIECES:
            while len(rows) - start >= size:
                values = [value for row in rows[start : start + size] for value in row]
                self.cursor.execute(self.insertion(into, size, len(rows[start]), after), values)
                inserted += self.cursor.rowcount
                start += size
        return inserted

    def insertion(self, into: str, size: int, width: int, after: str) -> str:
        """Return the INSERT of `size` rows."""
        sql = self.inserts.get((into, size))
        if sql is None:
            row = f"({', '.join('?' * width)})"
            sql = self.marked(f"INSERT INTO {into} VALUES {', '.join([row] * size)} {after}")  # noqa: S608 (our words)
            self.inserts[into, size] = sql
        return sql

    def marked(self, sql: str) -> str:
        """Return a statement with the driver's own mark for a value."""
        return sql if self.is_file else sql.replace("?", "%s")

    def among(self, column: str) -> str:
        """Return the condition that a column's value is in a list, which `listed` makes one value."""
        return f"{column} {self.in_list}"

    def listed(self, texts: list[str]) -> Any:
        """Return a list of texts as one value for `among`."""
        return orjson.dumps(texts).decode() if self.is_file else texts

    def time(self, at: datetime) -> Any:
        """Return an aware time as the tables hold it."""
        if not self.is_file:
            return at
        at = at if at.tzinfo is UTC else at.astimezone(UTC)
        return at.replace(tzinfo=None).isoformat(" ", "microseconds")


def locked(error: Exception) -> bool:
    """Whether it was another writer that stood in the way."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in {5, 6}  # SQLITE_BUSY, SQLITE_LOCKED
    return getattr(error, "sqlstate", None) in LOCKED
