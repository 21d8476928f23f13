import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, select
from store_parts import NOON, TTL, store, url, url_of

from data.errors import BadSetting, ServerUnavailable
from monitoring.store import Store, open_store
from monitoring.store.engine import Database
from monitoring.store.schema import NEWEST
from monitoring.store.tables import metadata, notes

__all__ = ["store", "url"]

PRAGMAS = {"synchronous": 2, "journal_mode": "wal", "busy_timeout": 5_000, "foreign_keys": 1}
VARIABLES = {"fsync": "on", "synchronous_commit": "on", "lock_timeout": "5s", "TimeZone": "UTC"}

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
    how, wanted = ("PRAGMA", PRAGMAS) if store.database.file else ("SHOW", VARIABLES)

    def told(connection: Connection) -> dict[str, object]:
        return {name: connection.exec_driver_sql(f"{how} {name}").scalar() for name in wanted}

    assert store.database.write(told) == wanted


def test_a_reader_sees_one_moment_and_a_writer_all_that_was_before_it(store: Store) -> None:
    def look_twice(connection: Connection) -> list[object]:
        first = connection.execute(select(notes.c.value)).all()
        store.notes.put("while one reads", 1, NOON)
        return [first, connection.execute(select(notes.c.value)).all()]

    first, second = store.database.read(look_twice)
    assert first == second
    assert store.notes.get("while one reads") == 1


def test_a_migration_that_fails_leaves_the_store_as_it_was(url: str) -> None:
    execute(url, "CREATE TABLE verdicts (theirs TEXT)")
    with pytest.raises(ServerUnavailable, match="already exists"):
        open_store(url)
    assert tables(url) == ["verdicts"]
    execute(url, "DROP TABLE verdicts")
    open_store(url).close()


def test_a_store_of_a_newer_release_is_left_alone(url: str) -> None:
    open_store(url).close()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadSetting, match="newer Holdfast"):
        open_store(url)


def execute(url: str, statement: str) -> None:
    database = Database(url)
    database.write(lambda connection: connection.exec_driver_sql(statement))
    database.close()


def tables(url: str) -> list[str]:
    database = Database(url)
    found = database.read(lambda connection: inspect(connection).get_table_names())
    database.close()
    return found


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
