"""Anomalies from unlabelled batches to a version, over HTTP, to labels, verdicts and the next version: real parts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from loop_parts import Orchard
from serving_parts import Service, point, serving

from data.schema import length, take
from data.versions import DataRegistry
from models.judging import judge
from models.metrics import ERROR
from models.predictor import manifest_sha256, read_version
from models.training import split
from monitoring.records import Verdict
from monitoring.stored_reference import from_bytes as reference_of
from tasks import evaluation, fitting, preparation, role_files
from tasks.champions import Champions
from tasks.changes import changed
from tasks.client import Service as Client
from tasks.comparison import Held, compare, without_origin
from tasks.harvesting import harvest
from tasks.ingestion import ingest, write_snapshot
from tasks.injecting import inject
from tasks.replaying import Replay, Speed, lined_up
from tasks.settings import Settings
from tasks.watching import watch

NAME = "pumps"
PUMPS = """
from datetime import timedelta

import numpy as np
import pandas as pd

from projects.declaration import (
    Anomaly, Evaluation, Gates, Labels, Model, Monitors, Project, Schema, Series, Threshold, Training, Window,
)


def rows():
    noise = np.random.default_rng(7)
    steps = np.arange(24) + noise.integers(0, 12, (600, 1))
    hum = 50 + 5 * np.sin(2 * np.pi * steps / 12) + noise.normal(0, 0.5, steps.shape)
    ids, past = [f"p{n:03d}" for n in range(600)], list(hum[:, :, None])
    return pd.DataFrame({"id": ids, "past": past, "failing": None})


project = Project(
    name="pumps",
    task="anomaly",
    schema=Schema(columns={"past": Series(length=24, channels=("hum",)), "failing": Anomaly(unit=1.0)},
                  target="failing", key="id"),
    source=rows,
    labels=Labels(delay=timedelta(0)),
    model=Model(network="mlp", options={"hidden": (16, 3, 16), "dropout": 0.0, "activation": "tanh"}),
    training=Training(epochs=40, batch_size=32, learning_rate=0.01, device="cpu", patience=40),
    evaluation=Evaluation(metric="reconstruction", exchangeable=True, judge=0.25, anchor=0.15,
                          threshold=Threshold(level="true", false_alarms=0.05), baselines=("linear",)),
    gates=Gates(margin=0.5, anchor_rows=20),
    monitors=Monitors(window=Window(rows=40), minimum_rows=20),
)
"""


@dataclass(frozen=True)
class Stack:
    orchard: Orchard
    service: Service

    def post(self, what: str, content: object) -> httpx.Response:
        return httpx.post(f"{self.service.url}/v1/{NAME}/{what}", json=content)


def made(orchard: Orchard, folder: Path) -> Path:
    write_snapshot(folder / "snapshot.json", orchard.batches.snapshot(NAME))
    preparation.prepare(orchard.declared, orchard.batches, folder)
    fitting.fit(orchard.declared, folder, device="cpu", progress=lambda _share, _what: None)
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("home")
    (home / "projects").mkdir()
    (home / "projects" / f"{NAME}.py").write_text(PUMPS)
    settings = Settings(home=home, projects=str(home / "projects"))
    shared = DataRegistry(home / "registry", str(home / "remote"))
    orchard = Orchard(settings, name=NAME, trained=home / "run", shared=shared)
    ingest(orchard, NAME)
    made(orchard, home / "run")
    orchard.serve()
    point(home, NAME, 1, manifest_sha256(home / "run" / "model"))
    with serving(home) as running:
        yield Stack(orchard, running)
    orchard.store.close()


def pumps(count: int, seed: int, broken: np.ndarray | None = None) -> list[list[list[float]]]:
    noise = np.random.default_rng(seed)
    steps = np.arange(24) + noise.integers(0, 12, (count, 1))
    hum = 50 + 5 * np.sin(2 * np.pi * steps / 12) + noise.normal(0, 0.5, steps.shape)
    if broken is not None:
        hum[broken, 12:] += noise.normal(0, 6, (int(broken.sum()), 12))
    found: list[list[list[float]]] = hum[:, :, None].tolist()
    return found


def test_an_evaluation_without_a_label_holds_the_error_against_what_knows_nothing(stack: Stack) -> None:
    found = evaluation.evaluate(stack.orchard.declared, stack.orchard.trained)
    error = found["judge"][ERROR]
    assert error["low"] < error["value"] < error["high"]
    assert list(found["baselines"]) == ["trivial", "linear"]
    assert 0.3 < error["value"] < 0.8  # the noise is 0.5 units
    assert found["baselines"]["trivial"] > 3  # a wave of 5 is no flat line
    assert list(found["judge"]) == [ERROR]
    predictor = read_version(stack.orchard.trained / "model")
    assert predictor.cutoff is not None
    assert predictor.cutoff.level == "true"


def test_the_documents_examples_are_answered_as_they_stand(stack: Stack) -> None:
    document = httpx.get(f"{stack.service.url}/openapi.json").json()
    for what in ("predict", "labels"):
        content = document["paths"][f"/v1/{NAME}/{what}"]["post"]["requestBody"]["content"]["application/json"]
        answer = stack.post(what, content["example"])
        assert answer.status_code == 200, answer.text
        if what == "predict":
            assert answer.json()["predictions"][0].keys() == {"id", "score", "anomaly"}


def told(stack: Stack, prefix: str, count: int, seed: int, *, broken: float = 0.2, wrong: bool = False) -> np.ndarray:
    """Ask about pumps some of which fail, and say later which; return whether each was found out."""
    fails = np.random.default_rng(seed).random(count) < broken
    ids = [f"{prefix}-{at}" for at in range(count)]
    asked = [{"id": one, "past": past} for one, past in zip(ids, pumps(count, seed, fails), strict=True)]
    answers = stack.post("predict", {"rows": asked}).json()["predictions"]
    said = [{"id": one, "label": bool(failing) != wrong} for one, failing in zip(ids, fails, strict=True)]
    assert stack.post("labels", {"labels": said}).json()["new"] == count
    scores = {kind: [one["score"] for one in answers if one["anomaly"] is kind] for kind in (True, False)}
    assert min(scores[True]) > max(scores[False])
    return np.array([one["anomaly"] for one in answers]) == fails


def verdicts(stack: Stack, check: str) -> list[Verdict]:
    stack.orchard.ahead += timedelta(minutes=5)
    watch(stack.orchard, NAME)
    return stack.orchard.verdicts(check)


def test_failures_are_found_and_labelled_and_the_window_is_judged(stack: Stack) -> None:
    assert told(stack, "first", 40, 1).mean() > 0.9
    stack.orchard.ahead += timedelta(minutes=5)
    seen = verdicts(stack, "performance")
    assert [one.outcome for one in seen] == ["ok"]
    assert "accuracy" in seen[0].reason
    kept = reference_of(stack.orchard.store.references.get(NAME, 1))
    assert (kept.task, kept.held) == ("classification", None)
    assert kept.losses.mean() < 0.15  # of held-out rows that nobody called a failure


def test_what_was_labelled_judges_the_next_version_and_its_failures_teach_nothing(stack: Stack, tmp_path: Path) -> None:
    told(stack, "more", 200, 3)
    verdicts(stack, "data")
    assert "harvested" in harvest(stack.orchard, NAME).sentence or stack.orchard.batches.snapshot(NAME).rows > 600
    made(stack.orchard, tmp_path)
    project = stack.orchard.declared
    train = without_origin(role_files.read_role(tmp_path, project.schema, "train"))
    assert {*train["failing"]} == {None, "false", "true"}
    encoder = read_version(tmp_path / "model").encoder
    assert "true" not in {*split(encoder, train, project.training)[0]["failing"]}
    found = evaluation.evaluate(project, tmp_path)
    assert {ERROR, "average_precision", "recall", "precision"} <= found["judge"].keys()
    assert found["judge"]["average_precision"]["value"] > 0.9
    by_labels = replace(project, evaluation=replace(project.evaluation, metric="average_precision"))
    told_by = evaluation.evaluate(by_labels, tmp_path)
    assert told_by["rows"]["judge"] < found["rows"]["judge"]  # those of which somebody knows
    champion = read_version(stack.orchard.trained / "model")
    fresh, anchor = (without_origin(role_files.read_role(tmp_path, project.schema, one)) for one in ("judge", "anchor"))
    held = Held(fresh=fresh, anchor=anchor, known=np.ones(length(anchor), dtype=bool), train=train, labels=train)
    for asked in (project, by_labels):
        rows = replace(held, fresh=evaluation.telling(asked, fresh), anchor=evaluation.telling(asked, anchor))
        rows = replace(rows, known=np.ones(length(rows.anchor), dtype=bool))
        compared = compare(asked, read_version(tmp_path / "model"), Champions(stack.orchard.serving, champion), rows)
        judged = {one.name: one for one in judge(asked.gates, compared).results}
        assert judged["baseline"].passed or asked is by_labels, judged["baseline"].sentence
        assert judged["better"].rows == length(rows.fresh)
        assert np.isfinite(judged["better"].value)


def test_labels_that_disagree_with_the_answers_are_a_worse_performance(stack: Stack) -> None:
    before = len(verdicts(stack, "performance"))
    assert told(stack, "lied", 40, 2, wrong=True).mean() > 0.9
    assert [one.outcome for one in verdicts(stack, "performance")][before:] == ["degraded"]


def test_a_label_that_says_nothing_is_refused(stack: Stack) -> None:
    asked = [{"id": "odd", "past": pumps(1, 9)[0]}]
    assert stack.post("predict", {"rows": asked}).status_code == 200
    for label in ("true", 1, None, [True]):
        refused = stack.post("labels", {"labels": [{"id": "odd", "label": label}]})
        assert refused.status_code == 422
        assert refused.json()["where"] == "labels[0].label"
    gap = [{"id": "gap", "past": [[None], *pumps(1, 9)[0][1:]]}]
    assert "gap" in stack.post("predict", {"rows": gap}).json()["error"]


def test_what_nobody_called_anything_is_sent_without_a_label(stack: Stack) -> None:
    orchard, project = stack.orchard, stack.orchard.declared
    rows = take(changed(project, "level", 1.0, (), 0), np.arange(60))
    rows["failing"][:3] = "true"
    with Client(stack.service.url) as service:
        replay = Replay(orchard, service, lined_up(orchard, project, rows))
        replay.play(Speed(span=timedelta(days=10_000)), None, lambda: None, lambda *_: None)
    found = replay.summary()
    assert (found.answers, found.labels, found.waiting) == (60, 3, 0)
    at = orchard.settings.model_copy(update={"service_port": stack.service.port})
    said = inject(replace(orchard, settings=at), project, "level", 1.0, (), 20, labels=True)
    assert said.endswith("; 0 labels are new")
