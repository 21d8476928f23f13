import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import serving_parts as parts
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from store_parts import NOON, url

from data.packing import unpack_rows
from monitoring.store import open_store

__all__ = ["url"]

SIZES = st.sampled_from([1.0, 2.0, 3.0])
NAMES = st.integers(0, 5)
BAD_ROWS = st.sampled_from(
    [{"size": 1e9}, {"size": None}, {"siez": 1.0}, {"size": True}, {"id": "\n"}, {"id": "x" * 201}]
)
Row = dict[str, Any]


def factor(generation: int) -> float:
    return 10.0 + generation


@dataclass(frozen=True)
class Answer:
    """What a client was told of one row."""

    size: float
    value: float
    generation: int


@dataclass
class Pending:
    """A request that got no answer, since the service died under it."""

    rows: list[Row]
    key: str | None


@dataclass
class Log:
    """Answers and labels by id."""

    answers: dict[str, Answer]
    labels: dict[str, float]


@dataclass
class World:
    """The service in its process, and what it acknowledged since an example began. `before`: what the log held then."""

    home: Path
    store_url: str
    kills: int
    swaps: int
    port: int = field(default_factory=parts.free_port)
    generation: int = 0
    before: "Log" = field(default_factory=lambda: Log({}, {}))
    answers: dict[str, Answer] = field(default_factory=dict)
    labels: dict[str, tuple[float, int]] = field(default_factory=dict)

    def start(self) -> None:
        self.service = parts.Service(self.home, self.port, HOLDFAST_DATABASE_URL=self.store_url)
        self.service.wait()
        self.client = httpx.Client(base_url=self.service.url, timeout=20)

    def stop(self) -> None:
        self.client.close()
        self.service.process.terminate()
        self.service.process.wait(20)

    def promote(self) -> None:
        self.generation += 1
        parts.promote(self.home, self.generation, factor(self.generation))

    def swap(self) -> None:
        self.promote()
        parts.wait_for_generation(self.client, "prices", self.generation)

    def ask(self, rows: list[Row], key: str | None = None, client: httpx.Client | None = None) -> httpx.Response:
        headers = {"idempotency-key": key} if key else {}
        return (client or self.client).post("/v1/prices/predict", json={"rows": rows}, headers=headers)

    def begin(self) -> None:
        self.before, self.answers, self.labels = self.log(), {}, {}

    def acknowledge(self, rows: list[Row], told: dict[str, Any]) -> None:
        """Note what a 200 said, and hold it to what was said before and to what its generation computes."""
        assert len(told["predictions"]) == len(rows)
        for row, said in zip(rows, told["predictions"], strict=True):
            answer = Answer(row["size"], said["value"], said.get("generation", told["generation"]))
            assert said["id"] == row.get("id", said["id"])
            assert answer.value == answer.size * factor(answer.generation)
            before = self.answers.setdefault(said["id"], answer)
            assert before == answer

    def kill_amid(self, name: str, acknowledged: int) -> None:
        """Kill the service under requests, once so many are answered; start it again, and ask again what was lost."""
        enough, answered, pending = threading.Event(), count(1), []

        def ask(worker: int) -> None:
            with httpx.Client(base_url=self.service.url, timeout=20) as client:
                for number in count():
                    words = f"{name}-{worker}-{number}"
                    keyed = worker == 0  # its rows have no ids: only the key tells that they are the same
                    rows = [row_of(None if keyed else f"{words}-{n}", float(worker + 1)) for n in range(worker + 1)]
                    try:
                        answer = self.ask(rows, words if keyed else None, client)
                    except httpx.TransportError:
                        pending.append(Pending(rows, words if keyed else None))
                        return
                    assert answer.status_code == 200, answer.text
                    self.acknowledge(rows, answer.json())
                    if next(answered) >= acknowledged:
                        enough.set()

        with ThreadPoolExecutor(3) as pool:
            workers = [pool.submit(ask, worker) for worker in range(3)]
            enough.wait(20)
            self.service.kill()
            for worker in workers:
                worker.result()
        self.client.close()
        self.start()
        found = self.log().answers
        assert (self.before.answers | self.answers).items() <= found.items()
        for one in pending:
            logged = [row["id"] in found for row in one.rows if "id" in row]
            assert all(logged) or not any(logged), "half a request is in the log"
            self.acknowledge(one.rows, self.ask(one.rows, one.key).raise_for_status().json())

    def log(self) -> Log:
        """Read the log; each id once, and the sequences of a generation without a gap."""
        store = open_store(self.store_url)
        stored = store.predictions.since("prices", NOON - timedelta(days=3650))
        store.close()
        sizes = unpack_rows(parts.PRICES, [one.features for one in stored])["size"].tolist() if stored else []
        found = {
            one.id: Answer(size, one.output["value"], one.generation) for one, size in zip(stored, sizes, strict=True)
        }
        assert len(found) == len(stored)
        for generation in range(1, self.generation + 1):
            mine = sorted(one.sequence for one in stored if one.generation == generation)
            assert mine == list(range(len(mine)))
        return Log(found, {one.id: one.label for one in stored if one.label is not None})

    def check(self) -> None:
        """The log holds what it held, and what was acknowledged since, and nothing else."""
        found = self.log()
        assert found.answers == self.before.answers | self.answers
        assert found.labels == self.before.labels | {id_: value for id_, (value, _) in self.labels.items()}


def row_of(id_: str | None, size: float) -> Row:
    return {"size": size, "note": None, **({"id": id_} if id_ else {})}


class LogRules(RuleBasedStateMachine):
    """One example: clients of the world's service with names of their own, one request after another."""

    world: World
    examples = count()

    def __init__(self) -> None:
        super().__init__()
        self.example = next(self.examples)
        self.bursts = count()
        self.world.begin()
        self.keys: dict[str, tuple[list[Row], bytes]] = {}  # what they were used for, and what that was answered

    def name(self, number: int) -> str:
        return f"{self.example}-{number}"

    def rows(self, drawn: list[tuple[int | None, float]]) -> list[Row]:
        return [row_of(None if number is None else self.name(number), size) for number, size in drawn]

    @rule(drawn=st.lists(st.tuples(st.none() | NAMES, SIZES), min_size=1, max_size=4))
    def a_client_asks(self, drawn: list[tuple[int | None, float]]) -> None:
        rows = self.rows(drawn)
        self.judge(rows, self.world.ask(rows))

    def judge(self, rows: list[Row], answer: httpx.Response) -> None:
        """Hold an answer to what is known of the ids in its request."""
        answers, named = self.world.answers, {row["id"]: row["size"] for row in rows if "id" in row}
        if len(named) < sum("id" in row for row in rows):
            assert answer.status_code == 422, answer.text
        elif any(id_ in answers and answers[id_].size != size for id_, size in named.items()):
            assert answer.status_code == 409, answer.text
        else:
            assert answer.status_code == 200, answer.text
            self.world.acknowledge(rows, answer.json())

    @rule(drawn=st.lists(st.tuples(st.none() | NAMES, SIZES), min_size=1, max_size=3), number=st.integers(0, 2))
    def a_client_asks_with_a_key(self, drawn: list[tuple[int | None, float]], number: int) -> None:
        rows, key = self.rows(drawn), self.name(number)
        answer = self.world.ask(rows, key)
        if key not in self.keys:
            self.judge(rows, answer)
            if answer.status_code == 200:
                self.keys[key] = (rows, answer.content)
        elif self.keys[key][0] == rows:
            assert (answer.status_code, answer.content) == (200, self.keys[key][1])
        else:
            assert answer.status_code in (409, 422), answer.text

    @rule(number=st.integers(0, 2))
    def a_client_asks_again_with_its_key(self, number: int) -> None:
        if self.name(number) in self.keys:
            rows, content = self.keys[self.name(number)]
            again = self.world.ask(rows, self.name(number))
            assert (again.status_code, again.content) == (200, content)

    @rule(number=NAMES, size=SIZES)
    def a_client_asks_twice(self, number: int, size: float) -> None:
        rows = self.rows([(number, size)])
        first, again = self.world.ask(rows), self.world.ask(rows)
        self.judge(rows, first)
        assert (again.status_code, again.content) == (first.status_code, first.content)

    @rule(bad=BAD_ROWS, number=NAMES)
    def a_bad_row_refuses_its_whole_request(self, bad: Row, number: int) -> None:
        answer = self.world.ask([row_of(self.name(number), 1.0), {**row_of(None, 1.0), **bad}])
        assert answer.status_code == 422, answer.text

    @rule(body=st.sampled_from([b"", b"{", b'{"rows": 1}', b'{"rows": [{"size": NaN, "note": "a"}]}']))
    def a_bad_body_is_refused(self, body: bytes) -> None:
        answer = self.world.client.post(
            "/v1/prices/predict", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (400, 422), answer.text

    @rule(drawn=st.lists(st.tuples(NAMES, SIZES, st.integers(0, 3)), min_size=1, max_size=3))
    def the_truth_comes_late_twice_and_corrected(self, drawn: list[tuple[int, float, int]]) -> None:
        labels = [
            {"id": self.name(number), "label": value, "time": (NOON - timedelta(days=300 - day)).isoformat()}
            for number, value, day in drawn
        ]
        answer = self.world.client.post("/v1/prices/labels", json={"labels": labels})
        if len({number for number, *_ in drawn}) < len(drawn):
            assert answer.status_code == 422, answer.text
            return
        told = answer.raise_for_status().json()
        counts = {"new": 0, "repeated": 0, "corrected": 0, "unknown": 0}
        for number, value, day in drawn:
            counts[self.label(self.name(number), value, day)] += 1
        assert {what: told[what] for what in counts} == counts

    def label(self, id_: str, value: float, day: int) -> str:
        before = self.world.labels.get(id_)
        if id_ not in self.world.answers:
            return "unknown"
        if before is not None and (before[0] == value or day < before[1]):
            return "repeated"
        self.world.labels[id_] = (value, day)
        return "corrected" if before else "new"

    @rule()
    def a_new_generation_comes(self) -> None:
        if self.world.swaps > 0:  # no precondition: what may be drawn mustn't depend on earlier examples
            self.world.swaps -= 1
            self.world.swap()

    @rule(acknowledged=st.integers(1, 30))
    def the_service_is_killed_and_comes_back(self, acknowledged: int) -> None:
        if self.world.kills > 0:
            self.world.kills -= 1
            self.world.kill_amid(f"{self.example}-burst{next(self.bursts)}", acknowledged)

    def teardown(self) -> None:
        self.world.check()


@contextmanager
def world_of(home: Path, url: str, kills: int, swaps: int) -> Iterator[World]:
    world = World(home, url, kills, swaps)
    world.promote()
    world.start()
    try:
        yield world
    finally:
        world.stop()


def test_the_log_holds_what_was_acknowledged_whatever_clients_do_and_however_the_service_dies(
    tmp_path: Path, url: str
) -> None:
    with world_of(tmp_path, url, kills=1, swaps=2) as LogRules.world:
        few = settings(max_examples=6, stateful_step_count=30, deadline=None, phases=[Phase.generate])
        run_state_machine_as_test(LogRules, settings=few)


@pytest.mark.soak
def test_the_log_holds_what_was_acknowledged_for_long(tmp_path: Path, url: str) -> None:
    with world_of(tmp_path, url, kills=40, swaps=60) as LogRules.world:
        many = settings(max_examples=1_000, stateful_step_count=50, deadline=None, phases=[Phase.generate])
        run_state_machine_as_test(LogRules, settings=many)
