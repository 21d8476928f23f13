"""How the store reaches its database: one transaction a method, durable when it returns.

Under SQLite a writer begins with BEGIN IMMEDIATE, so what it has read holds until it commits. Elsewhere writers
are serializable, and one that lost a race runs again.
"""

import functools
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from data.errors import ServerUnavailable

P = ParamSpec("P")
T = TypeVar("T")

BUSY_MS = 5_000  # a locked SQLite file may hold a request no longer than this
TRIES = 20
LOST_RACES = {"40001", "40P01", "23505"}  # SQLSTATE: serialization failure, deadlock, unique violation


class Database:
    """An engine, and the two ways to use it."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.file = Path(self.url.database) if self.url.get_backend_name() == "sqlite" and self.url.database else None
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(self.url)
        if self.file is not None:
            event.listen(self.engine, "connect", _on_connect)
            event.listen(self.engine, "begin", _on_begin)
            self.writer = self.engine.execution_options(holdfast_begin="BEGIN IMMEDIATE")
        else:
            self.writer = self.engine.execution_options(isolation_level="SERIALIZABLE")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads, from one snapshot.

        Raises: ServerUnavailable.
        """
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise _unavailable(error) from error

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns once it is committed durably; `work` may run again after a lost race.

        Raises: ServerUnavailable, and nothing is known of the commit then: ask again, every write is idempotent.
        """
        for attempt in range(TRIES):
            try:
                with self.writer.begin() as connection:
                    return work(connection)
            except (OperationalError, InterfaceError, IntegrityError, PoolTimeout) as error:
                if attempt + 1 < TRIES and getattr(getattr(error, "orig", None), "sqlstate", None) in LOST_RACES:
                    time.sleep(random.uniform(0, 0.005 * (attempt + 1)))  # noqa: S311
                    continue
                if isinstance(error, IntegrityError):
                    raise
                raise _unavailable(error) from error
        raise AssertionError

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


class Part(Protocol):
    """A part of the store."""

    database: Database


S = TypeVar("S", bound=Part)


def writes(method: Callable[Concatenate[S, Connection, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make `method` one durable transaction; it gets the connection as its first argument."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **keys: P.kwargs) -> T:
        return self.database.write(lambda connection: method(self, connection, *args, **keys))

    return run


def reads(method: Callable[Concatenate[S, Connection, P], T]) -> Callable[Concatenate[S, P], T]:
    """Give `method` the connection of one snapshot as its first argument."""

    @functools.wraps(method)
    def run(self: S, /, *args: P.args, **keys: P.kwargs) -> T:
        return self.database.read(lambda connection: method(self, connection, *args, **keys))

    return run


def _unavailable(error: DBAPIError | PoolTimeout) -> ServerUnavailable:
    return ServerUnavailable(f"the store does not answer: {getattr(error, 'orig', None) or error}")


def _on_connect(connection: DBAPIConnection, record: object) -> None:  # noqa: ARG001
    connection.isolation_level = None  # the driver begins nothing by itself
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    options: Mapping[str, Any] = connection.get_execution_options()
    connection.exec_driver_sql(options.get("holdfast_begin", "BEGIN"))
