import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from data.batches import coerce
from data.catalogue import load
from data.schema import Rows, take
from data.versions import Snapshot
from models.predictor import read_version
from monitoring.records import Verdict, WindowKey
from monitoring.stored_reference import from_bytes
from monitoring.verdicts import judge_data
from monitoring.wording import of_absence
from tasks import evaluation, fitting, preparation
from tasks.ingestion import ingest, write_snapshot
from tasks.referencing import build_reference
from tasks.resources import Resources
from tasks.settings import Settings

WINDOW = 60
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_a_move_to_another_hospital_is_flagged_and_more_patients_of_the_known_ones_are_not(
    datasets: Path, tmp_path: Path
) -> None:
    resources = Resources(Settings(home=tmp_path))
    project, folder = resources.project("heart"), tmp_path / "run"
    ingest(resources, "heart")
    write_snapshot(folder / "snapshot.json", resources.batches.snapshot("heart"))
    preparation.prepare(project, resources.batches, folder)
    fitting.fit(project, folder, device="cpu", progress=lambda _share, _what: None)
    found = evaluation.evaluate(project, folder)
    assert found["judge"]["recall"]["high"] >= 0.9  # the floor that the threshold holds
    assert json.loads((folder / "history.json").read_text())["cutoff"]["at"] < 0.5

    predictor = read_version(folder / "model")
    snapshot = Snapshot.from_json((folder / "snapshot.json").read_text())
    reference = from_bytes(build_reference(resources, project, predictor, snapshot, tmp_path / "scratch")[0])
    patients = load("heart_disease", datasets)
    rows, _ = coerce(patients, project.schema)
    hospital = patients["hospital"].to_numpy()

    def verdict(which: np.ndarray) -> Verdict:
        some: Rows = take(rows, which)
        seen = predictor.observe(some, predictor.predict(some))
        return judge_data(reference, seen, project.monitors, WindowKey("heart", 1, 0, NOW, NOW))

    rng = np.random.default_rng(0)
    known = np.flatnonzero(np.isin(hospital, ("cleveland", "hungarian")))
    assert [verdict(rng.choice(known, WINDOW, replace=False)).outcome for _ in range(3)] == ["ok"] * 3
    for name in ("switzerland", "va"):
        # what was always measured is not measured there: a fault of the data, until a person says that so it is now
        found = verdict(np.flatnonzero(hospital == name)[:WINDOW])
        assert found.outcome == "fault"
        assert of_absence(found.detail["faults"])
