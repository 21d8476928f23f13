"""Bringing a database to the newest schema, once, whoever opens it first."""

from pathlib import Path

from sqlalchemy import Connection, inspect, literal_column, select, table

from data.errors import BadSetting
from monitoring.store.engine import Database

NEWEST = "0003"  # a test holds it equal to the newest migration


def ensure(database: Database) -> None:
    """Migrate unless the newest migration is in; then Alembic isn't even imported.

    Raises: BadSetting (a newer Holdfast has written this store), ServerUnavailable.
    """
    if database.read(version) == NEWEST:
        return
    if database.file is None:
        database.write(_migrate)
        return
    from filelock import FileLock

    with FileLock(f"{database.file}.migrating"):
        with database.engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA journal_mode=WAL")  # kept in the file
        database.write(_migrate)


def version(connection: Connection) -> str | None:
    """Return the newest migration that is in, or None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(select(literal_column("version_num")).select_from(table("alembic_version")))
    return found


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    found = version(connection)
    if found is not None and found not in {
        script.revision for script in ScriptDirectory.from_config(config).walk_revisions()
    }:
        raise BadSetting(f"the store was written by a newer Holdfast (schema {found}, this one knows {NEWEST})")
    command.upgrade(config, "head")
