import threading
from collections.abc import Iterator

import pytest
from postgres_parts import Postgres, binaries, postgres_server
from sqlalchemy import event
from store_parts import NOON, TTL, answer, generation

from data.errors import BadSetting, ServerUnavailable
from holdfast import doctor
from monitoring.store import Store, open_store
from monitoring.store.engine import Database
from tasks.settings import read_settings


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of this module's own, since it is stopped under the tests' feet."""
    if binaries() is None:
        pytest.skip("no PostgreSQL here: initdb and postgres are neither on the PATH nor in /usr/lib/postgresql")
    with postgres_server() as running:
        yield running


@pytest.fixture
def store(server: Postgres, request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = open_store(server.create(request.node.name))
    yield opened
    opened.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_whatever_its_url_calls_the_driver_the_store_is_reached(server: Postgres, scheme: str) -> None:
    database = Database(server.url("postgres").replace("postgresql", scheme))
    assert database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1
    database.close()


def test_the_socket_of_the_server_leads_to_the_store_too(server: Postgres) -> None:
    database = Database(f"postgresql://holdfast@/postgres?host={server.folder}&port={server.port}")
    assert database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1
    database.close()


@pytest.mark.parametrize("url", ["hunter2", "mysql://u:hunter2@h/x", "postgresql://u:hunter2@h:port/x", "sqlite://"])
def test_a_url_of_no_store_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadSetting) as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_a_server_that_ends_and_comes_back_is_found_again_with_all_it_acknowledged(
    server: Postgres, store: Store, end: str
) -> None:
    store.predictions.append([answer("p", "before")])
    getattr(server, end)()
    for work in (store.predictions.append, lambda rows: store.predictions.get("p", rows[0].id)):
        with pytest.raises(ServerUnavailable, match="refused") as told:
            work([answer("p", "meanwhile")])
        assert "\n" not in str(told.value)
    server.start()
    store.predictions.append([answer("p", "after")])
    assert store.predictions.get("p", "meanwhile") is None
    assert [store.predictions.get("p", id_) is not None for id_ in ("before", "after")] == [True, True]


def test_a_connection_that_is_cut_in_a_transaction_leaves_nothing_of_it(server: Postgres, store: Store) -> None:
    def cut(connection: object) -> None:
        connection.exec_driver_sql("INSERT INTO notes VALUES ('half', '1', now())")  # type: ignore[attr-defined]
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")  # type: ignore[attr-defined]

    with pytest.raises(ServerUnavailable, match="terminating connection"):
        store.database.write(cut)
    assert store.notes.get("half") is None
    assert store.leases.acquire("p", "run", TTL, NOON) == 1


def test_a_writer_waits_for_the_one_before_it_and_not_for_ever(server: Postgres, store: Store) -> None:
    held, done = threading.Event(), threading.Event()

    def hold(connection: object) -> None:
        held.set()
        done.wait(30)

    slow = threading.Thread(target=store.database.write, args=(hold,))
    slow.start()
    held.wait(30)
    quick = Database(store.database.engine.url.render_as_string())
    event.listen(quick.engine, "connect", hurry)
    try:
        with pytest.raises(ServerUnavailable, match="lock timeout"):
            quick.write(lambda connection: None)
        assert store.leases.current("p") is None
    finally:
        done.set()
        slow.join()
    assert Store(quick).ledger.append_generation(0, generation("p")).number == 1
    quick.close()


def hurry(connection: object, record: object) -> None:
    connection.execute("SET lock_timeout = 200")  # type: ignore[attr-defined]
    connection.commit()  # type: ignore[attr-defined]


def test_a_user_without_rights_is_told_so(server: Postgres, store: Store) -> None:
    url = store.database.engine.url
    execute(store, "CREATE ROLE stranger LOGIN")
    stranger = Database(url.set(username="stranger").render_as_string())
    with pytest.raises(ServerUnavailable, match="permission denied"):
        Store(stranger).ledger.generation("p")
    stranger.close()


def test_doctor_says_where_the_store_is_and_what_is_wrong_with_it(server: Postgres, store: Store) -> None:
    url = store.database.engine.url.render_as_string().replace("holdfast@", "holdfast:hunter2@")

    def told() -> list[doctor.Finding]:
        return list(doctor.store(read_settings(database_url=url)))

    (found,) = told()
    assert (found.state, "schema 0" in found.sentence, "hunter2" in found.sentence) == ("ok", True, False)
    server.stop()
    try:
        (found,) = told()
        assert (found.state, "refused" in found.sentence, "hunter2" in found.sentence) == ("broken", True, False)
    finally:
        server.start()


def execute(store: Store, statement: str) -> None:
    store.database.write(lambda connection: connection.exec_driver_sql(statement))
