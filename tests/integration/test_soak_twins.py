"""Each promise that the sieges check, broken on purpose: the checks must notice (P1, P5)."""

from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import serving_parts as parts
from loop_parts import Orchard, Orchestra, damage, plant
from soak_parts import Audit, Journal, Question, audit, variant
from vandal_parts import look, served_well

from data.errors import Corrupt
from models.predictor import read_version
from tasks import promotion
from tasks.reports import Report

EARLY = """
from threading import Timer
from serving.batching import Batcher
write = Batcher.commit
def commit(self, jobs):
    self.settle([(job, job.entry.rows) for job in jobs])
    Timer(60, write, (self, jobs)).start()
Batcher.commit = commit
"""
KEYLESS = """
from serving import app
app.key_of = lambda *_: None
"""
ROUNDED = """
from serving import app
exact = app.answer_json
def rounded(*told):
    return exact(*told).replace(b'"confidence":0.', b'"confidence":0.0')
app.answer_json = rounded
"""
STALE = """
from dataclasses import replace
from serving import batching
answer, first = batching.answer, []
def stale(served, questions):
    first.append(served.predictor)
    return answer(replace(served, predictor=first[0]), questions)
batching.answer = stale
"""
BACKDATED = """
from datetime import datetime, timedelta
from serving import answering
class Yesterday(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=1)
answering.datetime = Yesterday
"""
MUTATIONS = [
    pytest.param("", None, id="sound"),
    pytest.param(EARLY, "lost", id="early"),
    pytest.param(KEYLESS, "rows that stand twice in the log", id="keyless"),
    pytest.param(STALE, "not what the version of their generation answers", id="stale"),
    pytest.param(ROUNDED, "not logged as answered", id="rounded", marks=pytest.mark.soak),
    pytest.param(BACKDATED, "not logged as answered", id="backdated", marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("mutation", "found"), MUTATIONS)
def test_the_audit_finds_a_service_that_breaks_its_promise(
    trained: Path, tmp_path: Path, mutation: str, found: str | None
) -> None:
    orchard = plant(trained, "http://127.0.0.1:1", tmp_path / "home", "audited")
    folders = [tmp_path / f"variant-{number}" for number in range(2)]
    versions = dict(variant(trained, folder, Random(number)) for number, folder in enumerate(folders))
    journal, port = Journal(tmp_path / "journal.jsonl"), parts.free_port()
    first = Question("first", [{"size": 0.1, "sugar": 0.2}, {"size": 0.3, "sugar": 0.4}], "first")
    second = Question("second", [{"size": 0.5, "sugar": 0.6}])
    serve(orchard, folders[0], 1)
    service = parts.Service(
        tmp_path / "home",
        port,
        command=parts.broken(mutation) if mutation else parts.SERVICE,
        HOLDFAST_PROJECTS=orchard.settings.projects,
    )
    try:
        service.wait()
        with httpx.Client(base_url=service.url) as client:
            for asked, again in ((first, 2), (second, 1)):
                journal.write(sent=asked.number, key=asked.key, rows=asked.rows)
                for _ in range(again):
                    ask(client, orchard, asked, journal)
                if asked is first:
                    serve(orchard, folders[1], 2)
                    parts.wait_for_generation(client, orchard.name, 2)
    finally:
        service.kill()
    journal.close()
    ledger = orchard.store.ledger.generations(orchard.name)
    told: Audit = audit(journal.path, orchard.store, orchard.name, versions, ledger)
    orchard.store.close()
    kinds = [problem.split(":")[0] for problem in told.problems]
    assert kinds == [] if found is None else found in kinds, told.problems
    assert told.requests == 2


def serve(orchard: Orchard, variant: Path, number: int) -> None:
    orchard.trained = variant
    generation = orchard.serve(str(100 + number))
    parts.point(orchard.settings.home, orchard.name, number, generation.manifest_sha256)


def ask(client: httpx.Client, orchard: Orchard, asked: Question, journal: Journal) -> None:
    headers = {"idempotency-key": asked.key} if asked.key else {}
    answer = client.post(f"/v1/{orchard.name}/predict", json={"rows": asked.rows}, headers=headers)
    assert answer.status_code == 200, answer.text
    journal.write(answered=asked.number, answer=answer.json())


def test_what_serves_is_seen_to_be_spoiled_where_nobody_verifies(
    orchard: Orchard, mlflow_folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper_sees = champion_of_two(orchard, "passed")
    damage(mlflow_folder, orchard, "2")
    keeper_sees()
    assert served_well(orchard) == 1
    sound = read_version(trained / "model")
    for module in ("tasks.promotion", "tasks.placing"):
        monkeypatch.setattr(f"{module}.read_version", lambda *_, **__: sound)
    keeper_sees()
    assert orchard.serving.number == 2
    with pytest.raises(Corrupt):
        served_well(orchard)


def test_what_serves_is_seen_to_have_failed_where_nobody_looks_at_the_gates(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper_sees = champion_of_two(orchard, "refused")
    keeper_sees()
    assert served_well(orchard) == 1
    monkeypatch.setattr(promotion, "promote", careless)
    keeper_sees()
    assert orchard.serving.number == 2
    with pytest.raises(AssertionError):
        served_well(orchard)


def champion_of_two(orchard: Orchard, verdict: Any) -> Any:
    """Serve one version, judge another, and return what gives that one the alias and lets the keeper look."""
    orchestra = Orchestra()
    keeper = orchestra.keeper(orchard)
    orchard.promote()
    look(orchard, orchestra, keeper)
    orchard.register(verdict)

    def give_and_look() -> None:
        orchard.models.set_alias(orchard.name, "champion", "2")
        look(orchard, orchestra, keeper)

    return give_and_look


def careless(resources: Any, name: str, version: str, *, actor: str, reason: str, **_: Any) -> Report:
    """Promote whatever was judged."""
    judged, serving = promotion.verdict_on(resources, name, version).inputs, resources.store.ledger.generation(name)
    return promotion.serve(
        resources,
        resources.project(name),
        version,
        replaces=serving,
        manifest=judged["manifest"],
        actor=actor,
        reason=reason,
        gates=judged["gates"],
    )
