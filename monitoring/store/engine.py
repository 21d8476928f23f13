"""How the store reaches its database: one transaction a method, durable when it returns.

One writer at a time, so what a writer has read holds until it commits: SQLite's BEGIN IMMEDIATE, or an advisory
lock on PostgreSQL. Commits are few because those who have much to write (the service) write it together.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from data.errors import BadSetting, ServerUnavailable

P = ParamSpec("P")
T = TypeVar("T")

BUSY_MS = 5_000  # another writer may hold anybody no longer than this
CONNECT_SECONDS = 2
FAILURES = (OperationalError, InterfaceError, InternalError, ProgrammingError)
"""What says that the database can't be used now; what is left, IntegrityError above all, is about the data."""
WRITER = 7_239_002  # the advisory lock's key: any number that nobody else locks


class Database:
    """An engine, and the two ways to use it. `patience`: milliseconds for another writer, and for a free connection.

    Raises: BadSetting, the URL names a database that the store does not speak to.
    """

    def __init__(self, url: str, patience: int = BUSY_MS) -> None:
        parsed = url_of(url)
        kind = parsed.get_backend_name()
        self.file = Path(parsed.database) if kind == "sqlite" and parsed.database else None
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(parsed, pool_timeout=patience / 1000)
            event.listen(self.engine, "connect", functools.partial(_on_sqlite, patience))
            event.listen(self.engine, "begin", _begin_sqlite)
        elif kind == "postgresql":
            self.engine = create_engine(
                parsed,
                pool_pre_ping=True,
                pool_timeout=patience / 1000,
                isolation_level="REPEATABLE READ",
                connect_args=_patience(parsed),
            )
            event.listen(self.engine, "connect", functools.partial(_on_postgresql, patience))
        else:
            raise BadSetting(f"the store is a SQLite file or a PostgreSQL database, not {kind}")
        options = {} if self.file else {"isolation_level": "READ COMMITTED"}  # the lock comes before what it guards
        self.writer = self.engine.execution_options(holdfast_writer=True, **options)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` reads, from one snapshot.

        Raises: ServerUnavailable.
        """
        return _run(self.engine, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns once it is committed durably.

        Raises: ServerUnavailable, and then nothing is known of the commit. What must not happen twice has a key,
            so asking again is safe; a decision may then stand in the ledger twice, and a lease has to run out.
        """

        def alone(connection: Connection) -> T:
            if self.file is None:
                connection.execute(select(func.pg_advisory_xact_lock(WRITER)))
            return work(connection)

        return _run(self.writer, alone)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def url_of(text: str) -> URL:
    """Read a URL of the store; PostgreSQL is spoken to by psycopg, whichever name its scheme has.

    Raises: BadSetting. The URL may hold a password, so the message doesn't show it.
    """
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):
        raise BadSetting("the store's URL reads like postgresql://user:password@host:5432/database") from None
    spoken = parsed.get_backend_name() in {"postgres", "postgresql"}
    return parsed.set(drivername="postgresql+psycopg") if spoken else parsed


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


def _run(engine: Engine, work: Callable[[Connection], T]) -> T:
    try:
        with engine.begin() as connection:
            return work(connection)
    except (*FAILURES, PoolTimeout) as error:
        said = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
        raise ServerUnavailable(f"the store does not answer: {said[0]}") from error


def _on_sqlite(patience: int, connection: DBAPIConnection, record: object) -> None:  # noqa: ARG001
    connection.isolation_level = None  # the driver begins nothing by itself
    _execute(connection, f"PRAGMA busy_timeout={patience}", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("holdfast_writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _on_postgresql(patience: int, connection: DBAPIConnection, record: object) -> None:  # noqa: ARG001
    _execute(connection, f"SET lock_timeout = {patience}", "SET synchronous_commit = on", "SET TIME ZONE 'UTC'")
    connection.commit()


def _patience(url: URL) -> dict[str, int]:
    """Bound how long a server that is away holds anybody up, unless the URL says so itself."""
    alive = {"keepalives_idle": CONNECT_SECONDS, "keepalives_interval": CONNECT_SECONDS, "keepalives_count": 2}
    wanted = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": BUSY_MS, **alive}
    return {name: value for name, value in wanted.items() if name not in url.query}


def _execute(connection: DBAPIConnection, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()
