"""Whether a store can be reached, and whether it keeps what it acknowledges; nothing is made or changed."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from monitoring.store.engine import Database, url_of
from monitoring.store.schema import version

DURABLE = ("fsync", "full_page_writes")  # a PostgreSQL server without them may lose or tear what it has acknowledged


@dataclass(frozen=True)
class Health:
    """`place`: without the password. `schema`: None where no store was made yet. `risks`: settings of the server."""

    place: str
    schema: str | None
    risks: tuple[str, ...] = ()


def examine(url: str) -> Health:
    """Look at the store of a URL; a SQLite file that isn't there is not made.

    Raises: BadSetting, ServerUnavailable.
    """
    parsed = url_of(url)
    place = parsed.set(query={}).render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).exists():
        return Health(place, None)
    database = Database(url)
    try:
        return database.read(lambda connection: Health(place, version(connection), _risks(connection)))
    finally:
        database.close()


def _risks(connection: Connection) -> tuple[str, ...]:
    if connection.dialect.name != "postgresql":
        return ()
    return tuple(name for name in DURABLE if connection.exec_driver_sql(f"SHOW {name}").scalar() != "on")
