"""What the tests of the store share: a store on a real file and one on a real server, and things to put into it."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from postgres_parts import Postgres

from data.errors import HoldfastError
from monitoring.events import RETRAIN
from monitoring.records import Generation, Message, Prediction, Verdict, WindowKey
from monitoring.store import Store, open_store
from monitoring.store.engine import Database

T = TypeVar("T")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TTL = timedelta(seconds=120)


KINDS = ("sqlite", "postgresql")


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'holdfast.db'}"


def child() -> dict[str, str]:
    """Return an environment in which a process of its own can import the tests' parts."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def new_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of an empty database of its own."""
    if kind == "sqlite":
        return url_of(folder)
    server: Postgres = request.getfixturevalue("postgres")
    return server.create(request.node.name)


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(new_database(request.param, request, tmp_path_factory.mktemp("store")))
    yield opened
    opened.close()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the test's own."""
    return new_database(request.param, request, tmp_path)


@contextmanager
def held(url: str) -> Iterator[None]:
    """Be a writer that lets nobody else write."""
    database, begun, ended = Database(url), threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        begun.set()
        ended.wait()

    writer = threading.Thread(target=database.write, args=(hold,))
    writer.start()
    begun.wait()
    try:
        yield
    finally:
        ended.set()
        writer.join()
        database.close()


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project of the test's own, so that tests can share one store."""
    return str(request.node.name)[:80]


def answer(project: str, id_: str, minute: float = 0, generation: int = 1, features: bytes = b"[0.5]") -> Prediction:
    at = NOON + timedelta(minutes=minute)
    output = {"class": "7", "confidence": 0.1 + 0.2, "probabilities": {"7": 0.1 + 0.2, "1": 1e-300}}
    return Prediction(id_, project, generation, at, at, features, output)


def window(project: str, index: int = 0, generation: int = 1) -> WindowKey:
    start = NOON + timedelta(hours=index)
    return WindowKey(project, generation, index, start, start + timedelta(hours=1))


def verdict(project: str, index: int = 0, reason: str = "all is well") -> Verdict:
    return Verdict(window(project, index), "data", "drift", 60, reason, {"columns": {"x": float("nan")}})


def generation(project: str, version: str = "1") -> Generation:
    gates: list[Mapping[str, Any]] = [{"gate": "floor", "passed": True}]
    return Generation(project, 0, version, "run", "f" * 64, NOON, "governor", "gates passed", gates, ("slice",), NOON)


def message(id_: str, kind: str = "alert") -> Message:
    return Message(id_, "log", kind, {"text": "something has changed"}, NOON)


def asked_for(messages: list[Message]) -> list[Message]:
    """Leave out the events by which the store itself tells what was done."""
    return [one for one in messages if one.payload.get("event") in (None, RETRAIN)]


def without_sequence(prediction: Prediction) -> Prediction:
    return replace(prediction, sequence=-1)


def race(contestants: int, act: Callable[[int], T]) -> list[T | HoldfastError]:
    """Let threads do `act(number)` at once; return what each got, its refusal included."""
    ready = threading.Barrier(contestants)

    def run(number: int) -> T | HoldfastError:
        ready.wait()
        try:
            return act(number)
        except HoldfastError as refusal:
            return refusal

    with ThreadPoolExecutor(contestants) as pool:
        return list(pool.map(run, range(contestants)))
