import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from prefect_stack import free_port
from serving_parts import fruit_version

from data.errors import NoSuchVersion, ServerUnavailable
from models.predictor import manifest_sha256, read_version
from models.registry import Registry

SNAPSHOT = "0123456789abcdef0123456789abcdef0123456789abcdef.dir"
GATES = [{"gate": "better", "result": "passed", "sentence": "better: +6.1 points [+4.0, +8.3]"}]


@pytest.fixture(scope="module")
def registry(mlflow_url: str) -> Registry:
    return Registry(f"{mlflow_url}/")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("version") / "model"
    fruit_version(folder)
    return folder


def trained(registry: Registry, folder: Path, project: str, name: str, tags: dict[str, str] | None = None) -> str:
    with registry.start_run(project, name=name, tags=tags or {}) as run:
        run.params({"training.epochs": 20})
        run.history([{"number": n, "epochs": 2, "train_loss": 1 / n, "validation_loss": 2 / n} for n in (1, 2)])
        run.metrics({"accuracy": 0.97, "broken": float("nan")})
        run.dataset(SNAPSHOT, 412, source="holdfast://fruit/abc")
        run.json("snapshot.json", {"hash": SNAPSHOT})
        run.json("card.json", {"format": 1, "project": project, "limits": ["A card."]})
        return registry.register(project, run.id, folder, card="## Limits\n\n- A card.")


def test_a_training_is_written_down_and_its_version_comes_back_byte_for_byte(
    registry: Registry, folder: Path, tmp_path: Path
) -> None:
    number = trained(registry, folder, "fruit", "train-1")
    version = registry.version("fruit", number)
    assert version.stage == "candidate"
    assert version.description.startswith("CANDIDATE")
    assert "A card." in version.description
    found = registry.client.get_run(version.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"training.epochs": "20"}
    assert found.data.metrics["accuracy"] == 0.97
    losses = registry.client.get_metric_history(version.run_id, "train_loss")
    assert [(loss.step, loss.value) for loss in losses] == [(1, 1.0), (2, 0.5)]
    lineage = found.inputs.dataset_inputs[0]
    assert lineage.dataset.digest == SNAPSHOT[:36]
    assert {tag.key: tag.value for tag in lineage.tags}["snapshot"] == SNAPSHOT
    assert json.loads(registry.read_artifact(version.run_id, "snapshot.json")) == {"hash": SNAPSHOT}
    fetched = registry.download("fruit", number, tmp_path / "deep" / "7")
    assert manifest_sha256(fetched) == manifest_sha256(folder)
    read_version(fetched)
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["7"]  # nothing half done beside it


def test_the_same_training_registered_again_is_the_same_version(registry: Registry, folder: Path) -> None:
    first = trained(registry, folder, "twice", "train-1", {"token": "1", "manifest": "aa"})
    assert trained(registry, folder, "twice", "train-1", {"token": "1", "manifest": "aa"}) == first
    run_id = registry.run_of("twice", first)
    assert len(registry.client.get_metric_history(run_id, "train_loss")) == 2  # not doubled
    assert len(registry.client.get_run(run_id).inputs.dataset_inputs) == 1
    assert trained(registry, folder, "twice", "train-1", {"token": "1", "manifest": "bb"}) != first
    assert [version.number for version in registry.versions("twice")] == ["2", "1"]


def test_a_training_that_fails_leaves_a_failed_run_and_no_version(registry: Registry) -> None:
    with pytest.raises(ZeroDivisionError), registry.start_run("fails", name="train-1", tags={}) as run:
        raise ZeroDivisionError
    assert registry.client.get_run(run.id).info.status == "FAILED"
    assert registry.versions("fails") == []
    assert registry.aliases("fails") == {}


def test_aliases_and_stages_move_and_are_read_back(registry: Registry, folder: Path) -> None:
    one, two = (trained(registry, folder, "moving", name) for name in ("train-1", "train-2"))
    registry.set_alias("moving", "champion", one)
    registry.set_alias("moving", "champion", two)
    registry.set_alias("moving", "previous", one)
    registry.tag("moving", two, {"stage": "champion", "generation": "2"})
    assert registry.alias("moving", "champion") == two
    newest, older = registry.versions("moving")
    assert (newest.number, newest.stage, newest.aliases) == (two, "champion", ("champion",))
    assert older.aliases == ("previous",)
    registry.drop_alias("moving", "champion", one)  # it has moved on: not ours to drop
    assert registry.alias("moving", "champion") == two
    registry.drop_alias("moving", "champion", two)
    assert registry.aliases("moving") == {"previous": one}


def test_the_verdict_is_the_first_line_and_its_gates_are_kept(registry: Registry, folder: Path) -> None:
    number = trained(registry, folder, "judged", "train-1")
    for _ in range(2):  # once more changes nothing
        registry.describe("judged", number, "PASSED: +6.1 points <script>", gates=GATES)
        text = registry.version("judged", number).description
        assert text.splitlines()[0] == "PASSED: +6.1 points &lt;script&gt;"
        assert text.count("A card.") == text.count("| better &emsp;| passed &emsp;| ") == 1
    assert json.loads(registry.read_artifact(registry.run_of("judged", number), "gates.json")) == GATES


def test_a_version_that_is_not_there_is_named(registry: Registry, folder: Path, tmp_path: Path) -> None:
    trained(registry, folder, "absent", "train-1")
    for number in ("99", "champion"):
        with pytest.raises(NoSuchVersion, match=number):
            registry.run_of("absent", number)
    with pytest.raises(NoSuchVersion, match="nobody has no version 1"):
        registry.download("nobody", "1", tmp_path / "1")
    with pytest.raises(NoSuchVersion):
        registry.set_alias("absent", "champion", "99")
    with pytest.raises(FileNotFoundError):
        registry.read_artifact(registry.run_of("absent", "1"), "no.json")


def test_an_experiment_deleted_by_a_person_comes_back(registry: Registry, folder: Path) -> None:
    trained(registry, folder, "deleted", "train-1")
    client = registry.client
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    assert trained(registry, folder, "deleted", "train-2") == "2"


def test_a_version_is_linked_at_the_address_of_the_server(registry: Registry, folder: Path, mlflow_url: str) -> None:
    number = trained(registry, folder, "linked", "train-1")
    page = f"{mlflow_url}/#/models/linked/versions/{number}?workflowType=machine_learning"
    assert registry.version_url("linked", number) == page


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType")  # MLflow about itself
def test_mlflow_itself_shows_the_signature_and_loads_the_version(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    number = trained(registry, folder, "loaded", "train-1")
    shown = httpx.get(
        f"{registry.tracking_uri}/model-versions/get-artifact",
        params={"name": "loaded", "version": number, "path": "MLmodel"},
    )
    assert "weight" in shown.json()["signature"]["inputs"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    mlflow.set_tracking_uri(registry.tracking_uri)
    mlflow.set_registry_uri(registry.tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/loaded/{number}")
    answers = model.predict(pd.DataFrame({"weight": [2.0, -2.0]}))
    assert answers["class"].tolist() == ["pear", "apple"]
    expected = read_version(folder).predict({"weight": np.array([2.0, -2.0])})
    assert answers["confidence"].tolist() == expected.confidences.tolist()


@pytest.fixture
def broken_server() -> Iterator[str]:
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Broken)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_does_not_answer_is_named_within_seconds(broken_server: str) -> None:
    for url in (broken_server, f"http://127.0.0.1:{free_port()}"):
        started = time.monotonic()
        with pytest.raises(ServerUnavailable, match=url):
            Registry(url).aliases("digits")
        assert time.monotonic() - started < 10
