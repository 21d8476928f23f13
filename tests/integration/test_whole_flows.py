"""Flows from their first step to their last: a real Prefect, a real MLflow, and a project that trains in seconds."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_parts import PLUMS, plums

from data.environment import child_environment
from data.packing import pack_all
from flows.api import Api
from monitoring.records import Label, Prediction
from tasks.observing import predictor_of
from tasks.placing import place
from tasks.resources import Resources
from tasks.settings import Settings

NAME = "contested"
CHANGES = (
    ("Training(", 'Training(tournament=({"start": "champion"}, {"rows": "sliding", "newest": 100}), '),
    ("delay=timedelta(hours=1)", "delay=timedelta(0)"),
    ("minimum_labels=30", "minimum_labels=30, receipt_after=timedelta(seconds=1)"),
)


@pytest.fixture
def settings(tmp_path: Path, prefect_settings: Settings, mlflow_url: str) -> Settings:
    text = PLUMS.format(name=NAME)
    for old, new in CHANGES:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / f"{NAME}.py").write_text(text)
    return Settings(
        home=tmp_path / "home",
        projects=str(tmp_path / "projects"),
        prefect_port=prefect_settings.prefect_port,
        mlflow_tracking_uri=mlflow_url,
    )


def run(settings: Settings, *flows: str) -> None:
    """Run flows one after the other as the runner's children do."""
    calls = "".join(f"from flows.{flow} import {flow}; asyncio.run({flow}({NAME!r}))\n" for flow in flows)
    told = {
        "HOLDFAST_PREFECT_PORT": str(settings.prefect_port),
        "PREFECT_API_URL": settings.prefect_url,
        "HOLDFAST_PROJECTS": settings.projects,
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
    }
    environment = child_environment(settings.home, told)
    done = subprocess.run(
        [sys.executable, "-c", f"import asyncio\n{calls}"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def ended(api: Api, flow: str) -> list[tuple[str, str, list[str]]]:
    """The runs of a flow, oldest first: the state, what it says, and the steps that were taken."""
    mine = {"flow_runs": {"name": {"any_": [f"{flow}-{NAME}"]}}, "sort": "START_TIME_ASC"}
    found: list[dict[str, Any]] = api.call("POST", "/flow_runs/filter", mine)
    told = []
    for one in found:
        asked = {"flow_runs": {"id": {"any_": [one["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
        steps = api.call("POST", "/task_runs/filter", asked)
        told.append((one["state"]["name"], one["state"]["message"], [step["name"].rsplit("-", 1)[0] for step in steps]))
    return told


def answer(resources: Resources, count: int) -> None:
    """Answer and label rows as the serving generation."""
    serving = resources.store.ledger.generation(NAME)
    assert serving is not None
    place(resources, serving, resources.settings.home / "generations" / NAME)
    predictor, rows, at = predictor_of(resources, serving), plums(count), resources.now()
    ids = [f"r{n:03d}" for n in range(count)]
    keyed = {**rows, "plum": np.array(ids, dtype=object)}
    packed, answers = pack_all(predictor.schema, keyed), predictor.predict(keyed).answers()
    logged = [Prediction(ids[n], NAME, serving.number, at, at, packed[n], answers[n]) for n in range(count)]
    resources.store.predictions.append(logged)
    resources.store.labels.record(NAME, [Label(one, "yes", at) for one in ids], at)


def test_a_training_holds_its_tournament_and_the_monitor_settles_what_is_due(settings: Settings) -> None:
    api, resources = Api(settings.prefect_url), Resources(settings)
    run(settings, "ingest", "train")
    [(state, said, steps)] = ended(api, "train")
    assert (state, said.split(":")[0]) == ("Completed", "version 1 serves as generation 1")
    assert steps == ["collect", "tournament", "prepare", "fit", "evaluate", "register", "judge", "settle"]
    shown = api.call("POST", "/artifacts/filter", {"artifacts": {"type": {"any_": ["image"]}}})
    plots = {one["description"]: one["data"] for one in shown if one["key"].startswith("train-")}
    assert set(plots) == {"confusion", "curves", "learning"}
    assert all(data.startswith("data:image/png;base64,iVBOR") for data in plots.values())
    resources.store.ledger.decide(
        NAME, kind="refuse", subject="version 9", reason="refused", inputs={}, now=resources.now()
    )
    answer(resources, 60)
    run(settings, "monitor", "monitor")
    for state, said, steps in ended(api, "monitor"):
        assert (state, steps) == ("Completed", ["watch", "receipts"]), said
    [receipt] = resources.store.receipts.of(NAME)
    assert receipt.detail["sentence"].startswith("v9 can't be settled: ")
    api.close()
    resources.store.close()
