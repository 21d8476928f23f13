"""The failure of a real machine, by a version that learned from seven weeks of which nobody said anything."""

from pathlib import Path

import numpy as np
import pytest

from data.schema import Rows, take
from models.encoding import Encoder
from models.metrics import labelled
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import fit, split
from projects.machine import PAST, project
from tasks.changes import good_rows, later
from tasks.fitting import cutoff_of
from tasks.preparation import roles
from tasks.snapshot_rows import BATCH

FAILED = np.datetime64("2014-02-08T00:00"), np.datetime64("2014-02-09T12:00")


def learned_rows() -> Rows:
    rows = good_rows(project, project.source)
    return take({name: rows[name] for name in rows if name != BATCH}, roles(project, rows).astype(str) == "train")


@pytest.mark.usefixtures("datasets")
def test_the_threshold_is_chosen_on_days_whose_readings_were_hardly_learned() -> None:
    train = learned_rows()
    learning, judging = split(Encoder.fit(project.schema, None, train), train, project.training)
    window = (PAST - 1) * np.timedelta64(5, "m")
    shared = [bool((np.abs(learning["at"] - at) <= window).any()) for at in judging["at"]]
    assert len(shared) > 200
    assert np.mean(shared) < 0.25  # those around midnight


@pytest.mark.usefixtures("datasets")
def test_the_failure_is_found_without_a_label_and_with_few_false_alarms(tmp_path: Path) -> None:
    assert not labelled(good_rows(project, project.source)["failing"]).any()
    train = learned_rows()
    encoder = Encoder.fit(project.schema, None, train)
    made = fit(project.model, project.training, encoder, train, workdir=tmp_path, progress=lambda _: None, threads=1)
    cutoff = cutoff_of(project, project.training, encoder, made.network, train)
    weeks = later(project, "failure")
    assert labelled(weeks["failing"]).all()
    alarms = Predictor(encoder, Inside(made.network, encoder.spec), 0.0, cutoff).predict(weeks).codes == 1
    failing = (weeks["at"] >= FAILED[0]) & (weeks["at"] < FAILED[1])
    assert alarms[failing].mean() > 0.5
    assert alarms[weeks["failing"] == "false"].mean() < 0.03  # 0.02 are asked for, on weeks like those that it learned
