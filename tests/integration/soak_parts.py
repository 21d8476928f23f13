"""Clients that keep a journal on the disk, and the audit that holds a journal against the log."""

import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import onnx
from onnx import numpy_helper
from serving_parts import NoWeights

from data.packing import unpack_rows
from models.predictor import TOLERANCE, Predictor, read_version
from models.writing import write_version
from monitoring.records import Generation, Prediction
from monitoring.store import Store

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SHOWN = 20  # problems of one kind
Row = dict[str, Any]


def variant(trained: Path, folder: Path, random: Random) -> tuple[str, Predictor]:
    """Write a version whose answers differ from the others', and return its manifest's hash."""
    folder.mkdir(parents=True)
    shutil.copy(trained / "snapshot.json", folder)
    original = read_version(trained / "model")
    network = onnx.load(trained / "model" / "network.onnx")
    for weights in network.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype == np.float32:
            weights.CopyFrom(numpy_helper.from_array(values * np.float32(random.uniform(0.6, 1.4)), weights.name))
    (folder / "model").mkdir()
    onnx.save(network, folder / "model" / "network.onnx")
    golden = {"plum": np.array(["g1", "g2"], object), "size": np.array([0.5, -1.0]), "sugar": np.array([0.1, 0.2])}
    encoder, nothing = original.encoder, NoWeights()
    manifest = write_version(folder / "model", encoder=encoder, network=nothing, golden=golden, difference=0.0)  # type: ignore[arg-type]
    return manifest, read_version(folder / "model")


class Journal:
    """What was sent and what was acknowledged, a line each, on the disk before anything goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, **said: Any) -> None:
        os.write(self.file, json.dumps({**said, "at": datetime.now(UTC).isoformat()}).encode() + b"\n")
        os.fdatasync(self.file)

    def close(self) -> None:
        os.close(self.file)


@dataclass(frozen=True)
class Question:
    """One request. Only one with a key, or whose rows have ids, may be sent again."""

    number: str
    rows: list[Row]
    key: str | None = None

    @property
    def repeatable(self) -> bool:
        return self.key is not None or all("id" in row for row in self.rows)


def question(random: Random, number: str) -> Question:
    """Return plums that nobody has asked about before: rows of two random floats."""
    rows: list[Row] = [
        {"size": random.uniform(-3, 3), "sugar": random.uniform(-3, 3)} for _ in range(random.randint(1, 4))
    ]
    how = random.choice(["plain", "named", "keyed", "both"])
    if how in ("named", "both"):
        rows = [{**row, "id": f"{number}-{place}"} for place, row in enumerate(rows)]
    return Question(number, rows, number if how in ("keyed", "both") else None)


class Crowd:
    """Clients that ask on and on, whatever becomes of the service; one that may ask again does until it is answered."""

    def __init__(self, url: str, project: str, journal: Journal, seed: int, clients: int) -> None:
        self.url, self.path, self.journal, self.seed = url, f"/v1/{project}/predict", journal, seed
        self.acknowledged = self.repeats = 0
        self.refused: Counter[int] = Counter()
        self.cut = 0  # requests whose connection ended without an answer
        self.generations: set[int] = set()
        self.ended = threading.Event()
        self.pool = ThreadPoolExecutor(clients)
        self.workers: list[Future[None]] = [self.pool.submit(self.ask_on, one) for one in range(clients)]

    def ask_on(self, worker: int) -> None:
        random, asked = Random(f"{self.seed} {worker}"), list[Question]()
        with httpx.Client(base_url=self.url, timeout=20) as client:
            while not self.ended.is_set():
                if random.random() < 0.1 and (before := [one for one in asked[-500:] if one.repeatable]):
                    self.repeats += 1
                    self.ask(client, random.choice(before))
                new = question(random, f"{worker}-{len(asked)}")
                asked.append(new)
                self.journal.write(sent=new.number, key=new.key, rows=new.rows)
                self.ask(client, new)
                time.sleep(0.01)

    def ask(self, client: httpx.Client, asked: Question) -> None:
        headers = {"idempotency-key": asked.key} if asked.key else {}
        while not self.ended.is_set():
            try:
                answer = client.post(self.path, json={"rows": asked.rows}, headers=headers)
            except httpx.TransportError:
                self.cut += 1
            else:
                if answer.status_code == 200:
                    self.take(asked, answer.json())
                    return
                assert answer.status_code == 503, answer.text
                self.refused[answer.status_code] += 1
            if not asked.repeatable:
                return
            time.sleep(0.02)

    def take(self, asked: Question, answer: Row) -> None:
        self.journal.write(answered=asked.number, answer=answer)
        self.generations.add(answer["generation"])
        self.acknowledged += len(answer["predictions"])

    def wait(self, reached: Callable[[], bool], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not reached():
            assert not any(worker.done() for worker in self.workers), [worker.exception() for worker in self.workers]
            assert time.monotonic() < until, self
            time.sleep(0.01)

    def go_on(self, rows: int) -> None:
        """Wait until so many more rows are answered."""
        wanted = self.acknowledged + rows
        self.wait(lambda: self.acknowledged >= wanted)

    def end(self) -> None:
        self.ended.set()
        for worker in self.workers:
            worker.result()
        self.pool.shutdown()

    def __repr__(self) -> str:
        return f"{self.acknowledged} rows answered, {dict(self.refused)} refused, {self.cut} cut, {self.generations}"


@dataclass
class Audit:
    """What a journal and the log together show. `problems`: empty where every promise was kept."""

    problems: list[str] = field(default_factory=list)
    rows: int = 0  # acknowledged
    requests: int = 0
    unanswered: int = 0  # rows in the log whose client never learned of it
    worst: float = 0.0  # difference of an answer from what its generation's version answers now

    def blame(self, kind: str, whom: Iterable[object]) -> None:
        guilty = [str(one) for one in whom]
        if guilty:
            self.problems.append(f"{kind}: {len(guilty)}, such as {', '.join(guilty[:SHOWN])}")


@dataclass(frozen=True)
class Answered:
    """One acknowledged row."""

    sent: Row
    told: Row
    generation: int
    sent_at: datetime
    told_at: datetime


def audit(
    journal: Path, store: Store, project: str, versions: Mapping[str, Predictor], ledger: Iterable[Generation]
) -> Audit:
    """Hold a journal against the log. `versions`: the predictor behind each manifest that the ledger may name."""
    found = Audit()
    sent, answers = read(journal)
    serving = {one.number: one for one in ledger}
    logged = store.predictions.since(project, LONG_AGO)
    rows = [answered for number in answers for answered in told(sent[number], answers[number][0])]
    found.rows, found.requests = len(rows), len(answers)
    found.blame("answered differently when asked again", (n for n, all_ in answers.items() if differ(all_)))
    found.blame("named another version than the ledger's", misnamed(answers, serving))
    found.blame("ids that stand twice in the log", twice(one.id for one in logged))
    kept = places(logged, next(iter(versions.values())))
    asked = [(row["size"], row["sugar"]) for line in sent.values() for row in line["rows"]]
    found.blame("rows that stand twice in the log", (at for at in asked if len(kept.get(at, [])) > 1))
    found.blame("rows in the log that nobody sent", set(kept) - set(asked))
    found.blame("lost", (one.told["id"] for one in rows if (one.sent["size"], one.sent["sugar"]) not in kept))
    pairs = [(one, kept[at][0]) for one in rows if (at := (one.sent["size"], one.sent["sugar"])) in kept]
    found.blame("not logged as answered", (one.told["id"] for one, row in pairs if not same(one, row)))
    found.blame("gaps in the sequence of a generation", gaps(logged))
    found.unanswered = len(logged) - len(pairs)
    recompute(found, rows, serving, versions)
    return found


def read(journal: Path) -> tuple[dict[str, Row], dict[str, list[Row]]]:
    """Return what was sent, and every answer to it, by the number of the request."""
    sent: dict[str, Row] = {}
    answers: dict[str, list[Row]] = {}
    for line in map(json.loads, journal.read_text().splitlines()):
        if "sent" in line:
            sent[line["sent"]] = line
        else:
            answers.setdefault(line["answered"], []).append(line)
    return sent, answers


def told(asked: Row, answer: Row) -> list[Answered]:
    said, times = answer["answer"], [datetime.fromisoformat(line["at"]) for line in (asked, answer)]
    assert len(said["predictions"]) == len(asked["rows"])
    return [
        Answered(row, one, one.get("generation", said["generation"]), times[0], times[1])
        for row, one in zip(asked["rows"], said["predictions"], strict=True)
    ]


def differ(answers: list[Row]) -> bool:
    return any(one["answer"] != answers[0]["answer"] for one in answers)


def misnamed(answers: Mapping[str, list[Row]], serving: Mapping[int, Generation]) -> set[tuple[int, str]]:
    named = {(one["answer"]["generation"], one["answer"]["version"]) for all_ in answers.values() for one in all_}
    return {
        (number, version) for number, version in named if number not in serving or serving[number].version != version
    }


def twice(ids: Iterable[str]) -> list[str]:
    return [id_ for id_, times in Counter(ids).items() if times > 1]


def places(logged: list[Prediction], reader: Predictor) -> dict[tuple[float, float], list[Prediction]]:
    """Return the log's rows by what was asked."""
    columns = unpack_rows(reader.schema, [one.features for one in logged])
    kept: dict[tuple[float, float], list[Prediction]] = {}
    for size, sugar, one in zip(columns["size"].tolist(), columns["sugar"].tolist(), logged, strict=True):
        kept.setdefault((size, sugar), []).append(one)
    return kept


def same(one: Answered, row: Prediction) -> bool:
    """Whether id, generation, output and time are those that were answered."""
    said = {key: value for key, value in one.told.items() if key not in ("id", "generation")}
    return (
        (row.id, row.generation, row.output) == (one.told["id"], one.generation, said)
        and row.id == one.sent.get("id", row.id)
        and one.sent_at <= row.at <= one.told_at
    )


def gaps(logged: list[Prediction]) -> list[int]:
    lanes: dict[int, list[int]] = {}
    for one in logged:
        lanes.setdefault(one.generation, []).append(one.sequence)
    return [number for number, lane in lanes.items() if sorted(lane) != list(range(len(lane)))]


def recompute(
    found: Audit, rows: list[Answered], serving: Mapping[int, Generation], versions: Mapping[str, Predictor]
) -> None:
    """Ask the version of each generation again, and compare."""
    lanes: dict[int, list[Answered]] = {}
    for one in rows:
        lanes.setdefault(one.generation, []).append(one)
    wrong: list[str] = []
    for number, lane in lanes.items():
        if number not in serving:
            continue  # misnamed, and said so
        predictor = versions[serving[number].manifest_sha256]
        columns = {name: np.array([one.sent[name] for one in lane]) for name in ("size", "sugar")}
        expected = predictor.predict(columns).values
        given = np.array([[one.told["probabilities"][level] for level in predictor.levels] for one in lane])
        apart = np.abs(expected - given).max(axis=1)
        wrong += [one.told["id"] for one, far in zip(lane, apart.tolist(), strict=True) if not far <= TOLERANCE]
        found.worst = max(found.worst, float(apart.max()))
    found.blame("not what the version of their generation answers", wrong)
