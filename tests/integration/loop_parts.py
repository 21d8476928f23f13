"""A tiny project with a real registry of batches, a real MLflow and a home of its own: the loop without Prefect."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from store_parts import asked_for

from data.errors import HoldfastError
from data.packing import pack_all
from data.schema import Rows, length
from data.versions import DataRegistry, Snapshot
from models.gates import GateResult
from models.judging import Judgement, Outcome
from models.predictor import Predictor, manifest_sha256, read_version
from monitoring.records import Generation, Label, Prediction, Verdict
from projects.declaration import Project
from tasks import evaluation, fitting, preparation, promoting, promotion, provenance, registration
from tasks.ingestion import ingest, write_snapshot
from tasks.keeping import Keeper
from tasks.referencing import build_reference
from tasks.resources import Resources
from tasks.settings import Settings

WINDOW = 40  # rows
PLUMS = """
from datetime import timedelta

import numpy as np
import pandas as pd

from projects.declaration import (
    Category, Evaluation, Gates, Governor, Labels, Model, Monitors, Number, Project, Schema, Training, Window,
)


def rows():
    noise = np.random.default_rng(7)
    size, sugar = noise.normal(size=320), noise.normal(size=320)
    ripe = np.where(size + sugar + 0.3 * noise.normal(size=320) > 0, "yes", "no")
    return pd.DataFrame({{"plum": [f"p{{n:03d}}" for n in range(320)], "size": size, "sugar": sugar, "ripe": ripe}})


project = Project(
    name="{name}",
    task="classification",
    schema=Schema(
        columns={{
            "size": Number(low=-9.0, high=9.0),
            "sugar": Number(low=-9.0, high=9.0),
            "ripe": Category(levels=("no", "yes")),
        }},
        target="ripe",
        key="plum",
    ),
    source=rows,
    labels=Labels(delay=timedelta(hours=1)),
    model=Model(network="mlp", options={{"hidden": (8,)}}),
    training=Training(epochs=2, batch_size=32, learning_rate=0.05, device="cpu"),
    evaluation=Evaluation(exchangeable=True, judge=0.25, anchor=0.15),
    gates=Gates(floors={{"accuracy": 0.5}}, baseline=False, margin=0.5, anchor_rows=20),
    monitors=Monitors(window=Window(rows=40), minimum_rows=20, false_incidents=0.05),
    governor=Governor(promote="auto", minimum_labels=30),
)
"""


@dataclass
class Orchard(Resources):
    """The resources of one test: a home of its own, the session's batches, and a clock that it can move."""

    name: str = ""
    trained: Path = Path()
    shared: DataRegistry | None = None
    ahead: timedelta = timedelta(0)
    tokens: int = 100
    others: list["Orchard"] = field(default_factory=list)

    @cached_property
    def batches(self) -> DataRegistry:
        assert self.shared is not None
        return self.shared

    def now(self) -> datetime:
        return super().now() + self.ahead

    def another(self) -> "Orchard":
        """What another process would have: the same home, connections of its own."""
        self.others.append(replace(self))
        return self.others[-1]

    def close(self) -> None:
        """Close every connection."""
        for one in (self, *self.others):
            one.store.close()

    @property
    def declared(self) -> Project:
        return self.project(self.name)

    def declare(self, *changes: tuple[str, str]) -> None:
        """Change the words of the project file."""
        path = self.project_file(self.name)
        text = path.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    def register(self, verdict: Outcome | None = "passed", *, ours: bool = True) -> str:
        """Register the session's training once more, and judge it unless `verdict` is None.

        One that is not `ours` stands in MLflow alone.
        """
        self.tokens += 1
        with self.models.start_run(self.name, name=f"train-{self.tokens}", tags={"token": str(self.tokens)}) as run:
            run.text("snapshot.json", (self.trained / "snapshot.json").read_text())
            version = self.models.register(self.name, run.id, self.trained / "model", card="# plums")
        if ours:
            snapshot = Snapshot.from_json((self.trained / "snapshot.json").read_text())
            facts = {
                "manifest": manifest_sha256(self.trained / "model"),
                "snapshot": snapshot.hash,
                "snapshot_rows": str(snapshot.rows),
                "snapshot_sha256": provenance.snapshot_sha256(snapshot),
                provenance.DEALT: provenance.dealt_by(self.declared),
            }
            registration.tell_origin(self, self.name, version, facts, {}, card="", token=None)
        if verdict is not None:
            serving = self.store.ledger.generation(self.name)
            registration.tell_verdict(
                self,
                self.declared,
                version,
                judgement(verdict),
                manifest=manifest_sha256(self.trained / "model"),
                champion=serving.version if serving else None,
            )
        return version

    def promote(self, verdict: Outcome = "passed") -> str:
        """Register a version and make it serve."""
        version = self.register(verdict)
        promotion.promote(self, self.name, version, actor="test", reason="it is a test")
        return version

    def serve(self, version: str = "1") -> Generation:
        """Make the session's training serve without a registry: its folder, its reference and its generation."""
        past = self.store.ledger.generation(self.name)
        number = past.number + 1 if past else 1
        folder = self.settings.home / "generations" / self.name / str(number)
        shutil.copytree(self.trained / "model", folder)
        snapshot = Snapshot.from_json((self.trained / "snapshot.json").read_text())
        scratch = self.settings.home / "scratch"
        reference, cut = build_reference(self, self.declared, read_version(folder), snapshot, scratch)
        new = Generation(
            self.name, number, version, "a run", manifest_sha256(folder), self.now(), "test", "a test", [], (), cut
        )
        return self.store.ledger.append_generation(number - 1, new, reference=reference)

    @property
    def serving(self) -> Generation:
        found = self.store.ledger.generation(self.name)
        assert found is not None
        return found

    @property
    def generations(self) -> list[str]:
        """The versions that have served, oldest first."""
        return [one.version for one in self.store.ledger.generations(self.name)]

    @property
    def pointed(self) -> dict[str, Any] | None:
        """What the service is told to serve."""
        path = self.settings.home / "generations" / self.name / "current.json"
        return json.loads(path.read_text()) if path.exists() else None

    def kept(self, generation: int) -> Predictor:
        """What the service would load."""
        return read_version(self.settings.home / "generations" / self.name / str(generation))

    def answer(self, rows: Rows, *, prefix: str = "r", ago: timedelta = timedelta(hours=2)) -> list[str]:
        """Log answers of the serving generation, as the service does; return their ids."""
        predictor, serving = read_version(self.trained / "model"), self.serving
        count, at = length(rows), self.now() - ago
        ids = [f"{prefix}{n:05d}" for n in range(count)]
        keyed = {**rows, predictor.schema.key: np.array(ids, dtype=object)}
        packed, answers = pack_all(predictor.schema, keyed), predictor.predict(keyed).answers()
        logged = [
            Prediction(ids[n], self.name, serving.number, at, at + timedelta(seconds=n), packed[n], answers[n])
            for n in range(count)
        ]
        self.store.predictions.append(logged)
        return ids

    def label(self, ids: Sequence[str], rows: Rows) -> None:
        """Say of each answered row what was true."""
        truth = np.where(rows["size"] + rows["sugar"] > 0, "yes", "no").tolist()
        said = [Label(id_, value, self.now()) for id_, value in zip(ids, truth, strict=False)]
        self.store.labels.record(self.name, said, self.now())

    def verdicts(self, check: str = "data") -> list[Verdict]:
        return [one for one in self.store.verdicts.all(self.name) if one.check == check]

    def outbox(self) -> list[str]:
        """The channels of what waits to be sent, oldest first; of events only what asks for a retraining."""
        return [one.channel for one in asked_for(self.store.outbox.due(self.now() + timedelta(days=1), 1000))]


@dataclass
class Orchestra:
    """Writes down what the keeper asks of the orchestrator."""

    emitted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    ended: list[tuple[str, str, str]] = field(default_factory=list)

    def keeper(self, resources: Resources) -> Keeper:
        return Keeper(resources, self.emit, self.start_run, self.state, self.end)

    def emit(self, event: str, payload: dict[str, Any]) -> None:
        self.emitted.append((event, payload))

    def start_run(self, deployment: str, parameters: dict[str, Any], key: str) -> str:
        self.asked.append((deployment, parameters, key))
        return f"run-{key}"

    def state(self, run: str) -> str:
        return self.states.get(run, "Running")

    def end(self, run: str, name: str, why: str) -> bool:
        self.ended.append((run, name, why))
        return True

    def judge(self, orchard: Orchard) -> None:
        """Do what the runs do that were asked to judge a version anew, and end them."""
        for deployment, said, key in self.asked:
            if deployment.startswith("promote/") and self.state(f"run-{key}") == "Running":
                with suppress(HoldfastError):
                    promoting.judge_request(orchard, said["request"])
                self.states[f"run-{key}"] = "Completed"

    @property
    def runs(self) -> list[str]:
        """The runs there would be: one for each key."""
        return list(dict.fromkeys(key for _, _, key in self.asked))


def judgement(verdict: Outcome) -> Judgement:
    passed = verdict == "passed"
    gates = (
        GateResult("floor:accuracy", verdict != "refused", "accuracy 0.9, at least 0.5 asked", 0.9, 0.5, rows=80),
        GateResult("better", passed, "better: as a test says", 0.1 if passed else -0.1, 0.0, (-0.2, 0.2), 80),
    )
    return Judgement(gates, verdict, f"{verdict.upper()}: as a test says")


def plums(rows: int, *, shift: float = 0.0, seed: int = 1, constant: bool = False) -> Rows:
    """Rows of the world that the project was trained on; shifted, of another; constant, of a dead sensor."""
    noise = np.random.default_rng(seed)
    size, sugar = noise.normal(size=rows) + shift, noise.normal(size=rows)
    return {"size": np.zeros(rows) if constant else size, "sugar": sugar}


def artifacts(mlflow_folder: Path, orchard: Orchard, version: str) -> Path:
    """Where the registry keeps what a version's run has left."""
    [folder] = mlflow_folder.glob(f"artifacts/*/{orchard.models.run_of(orchard.name, version)}/artifacts")
    return folder


def damage(mlflow_folder: Path, orchard: Orchard, version: str) -> None:
    """Turn some bytes of a version's network round where the registry keeps it."""
    network = artifacts(mlflow_folder, orchard, version) / "model" / "network.onnx"
    content = bytearray(network.read_bytes())
    for position in range(100, 140):
        content[position] ^= 0xFF
    network.write_bytes(bytes(content))


def train_once(home: Path, text: str = PLUMS) -> Path:
    """Ingest and train the project's rows, and return the folder of the run; its batches are in `home`."""
    (home / "projects").mkdir()
    (home / "projects" / "plums.py").write_text(text.format(name="plums"))
    resources = Resources(Settings(home=home, projects=str(home / "projects")))
    ingest(resources, "plums")
    folder, project = home / "run", resources.project("plums")
    write_snapshot(folder / "snapshot.json", resources.batches.snapshot("plums"))
    preparation.prepare(project, resources.batches, folder)
    fitting.fit(project, folder, device="cpu", progress=lambda _share, _what: None)
    evaluation.evaluate(project, folder)
    resources.store.close()
    return folder


def plant(trained: Path, mlflow_url: str, home: Path, test: str, text: str = PLUMS, store: str = "") -> Orchard:
    """A home with a project named for the test; its store is a file of the home, if no other is named."""
    words = re.sub(r"\W+", "_", test.removeprefix("test_").lower())[:28]
    name = f"{words}_{hashlib.sha256(test.encode()).hexdigest()[:8]}"
    (home / "projects").mkdir(parents=True)
    (home / "projects" / f"{name}.py").write_text(text.format(name=name))
    projects = str(home / "projects")
    settings = Settings(home=home, projects=projects, mlflow_tracking_uri=mlflow_url, database_url=store)
    remote = str(trained.parent / "remote")
    shared = DataRegistry(trained.parent / "registry", remote)
    return Orchard(settings, name=name, trained=trained, shared=shared)
