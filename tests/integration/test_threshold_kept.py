import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from loop_parts import PLUMS

from data.errors import Corrupt
from data.schema import Rows
from models import cards
from models.folder import MANIFEST, PREDICTOR, json_bytes, seal
from models.predictor import Predictor, read_version
from models.pyfunc import _load_pyfunc
from models.training import split
from projects.declaration import Project
from serving.answering import written
from tasks import evaluation, fitting, preparation
from tasks.champions import Champions
from tasks.comparison import compare, held_rows
from tasks.ingestion import ingest, write_snapshot
from tasks.resources import Resources
from tasks.role_files import read_role
from tasks.settings import Settings
from tasks.snapshot_rows import BATCH


@dataclass
class Ripe:
    """A version whose threshold finds nine in ten of the ripe plums."""

    resources: Resources
    project: Project
    folder: Path
    predictor: Predictor
    rows: Rows


@pytest.fixture(scope="module")
def ripe(tmp_path_factory: pytest.TempPathFactory) -> Ripe:
    home = tmp_path_factory.mktemp("ripe")
    text = PLUMS.format(name="plums").replace("Training, Window", "Threshold, Training, Window")
    text = text.replace("Evaluation(", "Evaluation(threshold=Threshold(level='yes', recall=0.9), ")
    (home / "projects").mkdir()
    (home / "projects" / "plums.py").write_text(text)
    resources = Resources(Settings(home=home, projects=str(home / "projects")))
    ingest(resources, "plums")
    folder, project = home / "run", resources.project("plums")
    write_snapshot(folder / "snapshot.json", resources.batches.snapshot("plums"))
    preparation.prepare(project, resources.batches, folder)
    fitting.fit(project, folder, device="cpu", progress=lambda _share, _what: None)
    evaluation.evaluate(project, folder)
    return Ripe(resources, project, folder, read_version(folder / "model"), read_role(folder, project.schema, "judge"))


def test_a_version_answers_by_the_cutoff_that_its_validation_rows_chose(ripe: Ripe) -> None:
    cutoff = ripe.predictor.cutoff
    assert cutoff is not None
    assert cutoff.at < 0.5
    train = {
        name: values for name, values in read_role(ripe.folder, ripe.project.schema, "train").items() if name != BATCH
    }
    _, held = split(ripe.predictor.encoder, train, ripe.project.training)
    scores = ripe.predictor.predict(held).values[held["ripe"] == "yes", 1]  # noqa: PD011
    assert np.isclose(scores, cutoff.at, atol=1e-5).any()  # a row that was held back, not one that judges
    outputs = ripe.predictor.predict(ripe.rows)
    sure = outputs.values[:, 1]  # noqa: PD011
    assert outputs.predictions.tolist() == np.where(sure >= cutoff.at, "yes", "no").tolist()
    assert (outputs.predictions != np.where(sure >= 0.5, "yes", "no")).any()  # it does decide


def test_service_pyfunc_and_log_say_what_the_cutoff_decides(ripe: Ripe) -> None:
    said = ripe.predictor.predict(ripe.rows).predictions.tolist()
    lists = np.column_stack([ripe.rows["size"], ripe.rows["sugar"]]).tolist()
    assert [orjson.loads(one)["class"] for one in written(ripe.predictor.predict_lists(lists))] == said
    frame = pd.DataFrame({"size": ripe.rows["size"], "sugar": ripe.rows["sugar"]})
    assert _load_pyfunc(str(ripe.folder / "model")).predict(frame)["class"].tolist() == said
    observed = ripe.predictor.observe(ripe.rows, ripe.predictor.predict(ripe.rows))
    assert observed["prediction"].tolist() == said
    assert observed["confidence"].min() < 0.5


def test_judge_and_card_are_of_the_answers_that_are_given(ripe: Ripe) -> None:
    truth, said = ripe.rows["ripe"], ripe.predictor.predict(ripe.rows).predictions
    found = json.loads((ripe.folder / "evaluation" / "metrics.json").read_text())
    right = float((truth == said).mean())
    assert found["judge"]["accuracy"]["value"] == pytest.approx(right)
    assert found["judge"]["recall"]["value"] == pytest.approx((said[truth == "yes"] == "yes").mean())
    assert found["confusion"][1][0] == int(((truth == "yes") & (said == "no")).sum())
    held = held_rows(ripe.resources, ripe.project, ripe.folder, None)
    nobody = Champions()
    compared = compare(ripe.project, ripe.predictor, nobody, held)
    assert compared.fresh.candidate[:, 0].mean() == pytest.approx(right)
    history = json.loads((ripe.folder / "history.json").read_text())
    assert history["cutoff"]["why"] == "Threshold(level='yes', recall=0.9)"
    card = {"training": {"cutoff": history["cutoff"]}, "quality": found}
    assert "It answers yes from a probability of" in cards.body(card)


@pytest.mark.parametrize("bent", [{"level": "maybe", "at": 0.5}, {"level": "yes", "at": 2.0}, {"level": "yes"}, [1]])
def test_a_cutoff_that_decides_nothing_is_refused_though_every_hash_fits(
    ripe: Ripe, tmp_path: Path, bent: object
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(ripe.folder / "model", folder)
    stored = json.loads((folder / PREDICTOR).read_text())
    (folder / PREDICTOR).write_bytes(json_bytes({**stored, "cutoff": bent}))
    (folder / MANIFEST).unlink()
    seal(folder)
    with pytest.raises(Corrupt):
        read_version(folder)
