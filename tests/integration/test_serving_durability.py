import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import serving_parts as parts
from store_parts import held, url, url_of

from data.errors import HoldfastError
from monitoring.store import Store, open_store
from monitoring.store.journal import Entry, Outcome
from serving import batching
from serving.batching import Batcher
from serving.cores import Cores
from serving.generations import Generations, Served
from serving.refusals import Refused
from serving.telemetry import Telemetry

__all__ = ["url"]
ROW = {"size": 3.0, "note": "a"}
SECONDS = 4.0  # in which the service answers while its log does not: 2 are promised, and the machine is busy


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    home = tmp_path_factory.mktemp("home")
    parts.promote(home, 1, factor=2.0)
    generations = Generations(home, (), lambda _: None, lambda _: None)
    generations.look()
    return generations.of("prices")


@contextmanager
def batching_into(store: Store) -> Iterator[Batcher]:
    batcher = Batcher(store.journal.write, Telemetry(), Cores(together=True), lambda *_: None)
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.stop()
        store.close()


async def ask(batcher: Batcher, served: Served, id_: str) -> float | str:
    try:
        rows = await batcher.submit(served, served.reader.read([{**ROW, "id": id_}], 1), None, 100)
    except HoldfastError as refused:
        return str(refused)
    return float(rows[0].output[9:-1])


async def soon(reached: Callable[[], bool]) -> None:
    while not reached():
        await asyncio.sleep(0.01)


def test_after_a_commit_that_failed_whole_nothing_is_committed_whose_client_was_told(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "COMMIT_SECONDS", 0.5)
    store = open_store(url_of(tmp_path))

    def write(entries: Sequence[Entry]) -> list[Outcome]:
        if len(entries) > 1:
            raise ValueError("one of them breaks the driver")
        written = store.journal.write(entries)
        time.sleep(0.8)
        return written

    async def act(batcher: Batcher) -> list[float | str]:
        batcher.write = write
        answers = await asyncio.gather(*[ask(batcher, served, f"{n}") for n in range(3)])
        await soon(lambda: batcher.waiting == 0)
        return answers

    with batching_into(store) as batcher:
        answers = asyncio.run(act(batcher))
        assert all("ask again" in str(answer) for answer in answers[1:])
        assert store.predictions.count("prices") == 1


def test_a_writer_in_the_way_is_waited_out(url: str, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "COMMIT_SECONDS", 60.0)
    store = open_store(url)

    async def act(batcher: Batcher) -> list[float | str]:
        with held(url):
            asked = [asyncio.create_task(ask(batcher, served, f"{n}")) for n in range(5)]
            await soon(lambda: "log failed" in batcher.log_problem)
        return await asyncio.gather(*asked)

    with batching_into(store) as batcher:
        assert asyncio.run(act(batcher)) == [6.0] * 5
        assert batcher.log_problem == ""
        assert store.predictions.count("prices") == 5


def test_what_nobody_waits_for_any_more_is_not_committed(
    url: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "COMMIT_SECONDS", 0.3)
    store = open_store(url)

    async def act(batcher: Batcher) -> None:
        with held(url):
            told = await asyncio.gather(*(ask(batcher, served, f"{n}") for n in range(20)))
            assert all("the prediction log failed" in str(one) for one in told), told
            await soon(lambda: batcher.waiting == batcher.weight == 0)
            assert not batcher.deadlines.waiting
        monkeypatch.setattr(batching, "COMMIT_SECONDS", 60.0)
        assert await ask(batcher, served, "after") == 6.0

    with batching_into(store) as batcher:
        asyncio.run(act(batcher))
        assert store.predictions.count("prices") == 1


def test_what_was_predicted_too_late_is_not_committed(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told, real = open_store(url_of(tmp_path)), threading.Event(), batching.answer

    def slow(served: Served, questions: Any) -> Any:
        told.wait(20)
        return real(served, questions)

    async def act(batcher: Batcher) -> None:
        monkeypatch.setattr(batching, "PREDICT_SECONDS", 0.2)
        assert "no durable answer in time" in str(await ask(batcher, served, "late"))
        monkeypatch.setattr(batching, "PREDICT_SECONDS", 60.0)
        told.set()
        assert await ask(batcher, served, "after") == 6.0

    monkeypatch.setattr(batching, "answer", slow)
    with batching_into(store) as batcher:
        asyncio.run(act(batcher))
        assert store.predictions.get("prices", "late") is None
        assert store.predictions.count("prices") == 1
        assert batcher.waiting == batcher.weight == 0


def test_what_waits_is_bounded_in_rows_and_bytes_until_the_threads_let_go_of_it(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "COMMIT_SECONDS", 60.0)
    monkeypatch.setattr(batching, "WAITING_ROWS", 4)
    monkeypatch.setattr(batching, "WAITING_BYTES", 1000)
    store = open_store(url_of(tmp_path))

    async def act(batcher: Batcher) -> None:
        row = served.reader.read([ROW], 1)
        with held(url_of(tmp_path)):
            waiting = [asyncio.create_task(ask(batcher, served, f"{n}")) for n in range(4)]
            await soon(lambda: batcher.waiting == 4)
            with pytest.raises(Refused):
                batcher.submit(served, row, None, 100)
            waiting.pop().cancel()  # its client is gone, its rows are still there
            await asyncio.sleep(0)
            with pytest.raises(Refused):
                batcher.submit(served, row, None, 100)
        assert await asyncio.gather(*waiting) == [6.0] * 3
        await soon(lambda: batcher.waiting == 0)
        with pytest.raises(Refused):
            batcher.submit(served, row, None, 1001)
        assert await ask(batcher, served, "after") == 6.0

    with batching_into(store) as batcher:
        asyncio.run(act(batcher))


def test_a_full_database_refuses_and_loses_nothing(tmp_path: Path, served: Served) -> None:
    store = open_store(url_of(tmp_path))

    def pages(count: int) -> None:
        store.journal.wire.open()
        store.journal.wire.cursor.execute(f"PRAGMA max_page_count={count}")

    async def fill(batcher: Batcher) -> list[str]:
        answered = []
        for number in range(5000):
            if await ask(batcher, served, f"{number}") != 6.0:
                return answered
            answered.append(f"{number}")
        return []

    with batching_into(store) as batcher:
        pages(1)  # as many as there are
        answered = asyncio.run(fill(batcher))
        assert "full" in batcher.log_problem
        assert asyncio.run(ask(batcher, served, "after")) == 6.0  # the connection is a new one, without the limit
        assert store.predictions.count("prices") == len(answered) + 1
        assert answered
        assert all(store.predictions.get("prices", id_) for id_ in answered)


def test_a_row_that_the_log_refuses_fails_alone(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url_of(tmp_path))
    real = store.journal.write

    def write(entries: Any) -> Any:
        for entry in entries:
            for row in entry.rows:
                if row.id == "broken":
                    row.features = None
        return real(entries)

    async def act(batcher: Batcher) -> list[float | str]:
        with held(url_of(tmp_path)):  # so that they are one batch
            asked = [asyncio.create_task(ask(batcher, served, id_)) for id_ in ("a", "broken", "b")]
            await soon(lambda: batcher.log_problem != "")
        return await asyncio.gather(*asked)

    monkeypatch.setattr(batching, "COMMIT_SECONDS", 60.0)
    monkeypatch.setattr(store.journal, "write", write)
    with batching_into(store) as batcher:
        a, broken, b = asyncio.run(act(batcher))
        assert (a, "log failed" in str(broken), b) == (6.0, True, 6.0)
        assert store.predictions.count("prices") == 2


def test_whoever_asks_while_the_log_is_locked_is_told_so_and_whatever_is_acknowledged_is_in_it(
    url: str, tmp_path: Path
) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    acknowledged: set[str] = set()
    ended = threading.Event()

    def ask_on(worker: int) -> list[int]:
        told = []
        with httpx.Client(base_url=service.url, timeout=SECONDS) as client:
            while not ended.is_set():
                id_ = f"{worker}-{len(told)}"
                answer = client.post("/v1/prices/predict", json={"rows": [{**ROW, "id": id_}]})
                told.append(answer.status_code)
                if answer.status_code == 200:
                    acknowledged.add(id_)
                else:
                    assert answer.headers["retry-after"], answer.text
        return told

    with parts.serving(tmp_path, HOLDFAST_DATABASE_URL=url) as service, ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(ask_on, worker) for worker in range(6)]
        wait_for_more(acknowledged, workers)
        with held(url):
            threading.Event().wait(2.5)
        wait_for_more(acknowledged, workers)
        ended.set()
        told = {status for worker in workers for status in worker.result()}
    store = open_store(url)
    logged = {id_ for id_ in acknowledged if store.predictions.get("prices", id_)}
    store.close()
    assert told == {200, 503}
    assert logged == acknowledged


def wait_for_more(acknowledged: set[str], workers: list[Any]) -> None:
    wanted = len(acknowledged) + 20
    while len(acknowledged) < wanted and not any(worker.done() for worker in workers):
        threading.Event().wait(0.02)
