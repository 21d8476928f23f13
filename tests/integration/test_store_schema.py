import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_mock_engine, event
from sqlalchemy.dialects import postgresql
from store_parts import NOON, TTL, store, url_of

from data.errors import BadSetting, ServerUnavailable
from monitoring.store import Store, open_store
from monitoring.store.engine import Database
from monitoring.store.schema import NEWEST
from monitoring.store.tables import metadata

__all__ = ["store"]

LIGHT = """
import sys, time
from monitoring.store import open_store
start = time.perf_counter()
store = open_store(sys.argv[1])
seconds = time.perf_counter() - start
heavy = {"alembic", "pandas", "torch", "mlflow", "numpy", "prefect"} & set(sys.modules)
assert not heavy, heavy
assert seconds < 0.05 * float(sys.argv[2]), seconds
"""


def test_migrations_make_the_tables_that_the_code_speaks_of(store: Store) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert store.database.read(differences) == []


def test_the_newest_migration_is_the_one_that_opening_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", "monitoring/store/migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST


def test_opening_a_migrated_store_is_quick_and_light(tmp_path: Path) -> None:
    open_store(url_of(tmp_path)).close()
    slack = "4"  # a busy machine; alone it takes under a tenth of the 50 ms
    subprocess.run([sys.executable, "-c", LIGHT, url_of(tmp_path), slack], check=True)


def test_a_commit_is_on_the_disk_before_it_returns(store: Store) -> None:
    def pragma(name: str) -> object:
        return store.database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    assert (pragma("synchronous"), pragma("journal_mode"), pragma("busy_timeout")) == (2, "wal", 5_000)
    assert pragma("foreign_keys") == 1


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE verdicts (theirs TEXT)")
    connection.close()
    with pytest.raises(ServerUnavailable, match="already exists"):
        open_store(url_of(tmp_path))
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("verdicts",)]
    connection.execute("DROP TABLE verdicts")
    connection.commit()
    connection.close()
    open_store(url_of(tmp_path)).close()


def test_a_store_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    open_store(url_of(tmp_path)).close()
    connection = sqlite3.connect(tmp_path / "holdfast.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(BadSetting, match="newer Holdfast"):
        open_store(url_of(tmp_path))


def test_a_locked_store_says_so_within_its_bound(tmp_path: Path) -> None:
    opened = open_store(url_of(tmp_path))
    other = sqlite3.connect(tmp_path / "holdfast.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    quick = Database(url_of(tmp_path))
    event.listen(quick.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=200"))
    with pytest.raises(ServerUnavailable, match="locked"):
        quick.write(lambda connection: connection.exec_driver_sql("SELECT 1"))
    assert opened.leases.current("p") is None
    other.execute("ROLLBACK")
    other.close()
    assert opened.leases.acquire("p", "run", TTL, NOON) == 1
    quick.close()
    opened.close()


def test_the_tables_are_those_of_postgresql_too() -> None:
    statements: list[str] = []
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    engine = create_mock_engine("postgresql://", lambda sql, *_: statements.append(str(sql.compile(dialect=dialect))))
    metadata.create_all(engine, checkfirst=False)
    made = "\n".join(statements)
    assert "CREATE UNIQUE INDEX ux_incidents_open ON incidents (project, kind) WHERE closed_at IS NULL" in made
    assert "TIMESTAMP WITH TIME ZONE" in made
