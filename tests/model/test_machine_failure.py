"""The failure of a real machine, by a version that learned from seven weeks of which nobody said anything."""

from pathlib import Path

import numpy as np
import pytest

from data.schema import take
from models.encoding import Encoder
from models.metrics import labelled
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import fit
from projects.machine import project
from tasks.changes import good_rows, later
from tasks.fitting import cutoff_of
from tasks.preparation import BATCH, roles

FAILED = np.datetime64("2014-02-08T00:00"), np.datetime64("2014-02-09T12:00")


@pytest.mark.usefixtures("datasets")
def test_the_failure_is_found_without_a_label_and_with_few_false_alarms(tmp_path: Path) -> None:
    rows = good_rows(project, project.source)
    assert not labelled(rows["failing"]).any()
    train = take({name: rows[name] for name in rows if name != BATCH}, roles(project, rows).astype(str) == "train")
    encoder = Encoder.fit(project.schema, None, train)
    made = fit(project.model, project.training, encoder, train, workdir=tmp_path, progress=lambda _: None, threads=1)
    cutoff = cutoff_of(project, project.training, encoder, made.network, train)
    weeks = later(project, "failure")
    assert labelled(weeks["failing"]).all()
    alarms = Predictor(encoder, Inside(made.network, encoder.spec), 0.0, cutoff).predict(weeks).codes == 1
    failing = (weeks["at"] >= FAILED[0]) & (weeks["at"] < FAILED[1])
    assert alarms[failing].mean() > 0.5
    assert alarms[weeks["failing"] == "false"].mean() < 0.03  # 0.02 are asked for, on weeks like those that it learned
