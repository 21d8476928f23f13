from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import quarantine
from data.batches import read_batch
from data.errors import NoBatch
from data.schema import length
from data.sources import Batch
from projects.electricity import project
from tasks.landing import land, release
from tasks.resources import Resources
from tasks.settings import read_settings

ROWS = 48


def half_hours() -> pd.DataFrame:
    generator = np.random.default_rng(5)
    numbers = ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
    return pd.DataFrame(
        {
            "key": [str(i) for i in range(ROWS)],
            "time": pd.date_range("1996-05-07", periods=ROWS, freq="30min", tz="UTC"),
            "day": "2",
            **{name: generator.uniform(size=ROWS) for name in numbers},
            "class": np.where(generator.uniform(size=ROWS) < 0.5, "UP", "DOWN"),
        }
    )


@pytest.fixture
def resources(tmp_path: Path) -> Resources:
    return Resources(read_settings(home=tmp_path / "home"))


BROKEN: dict[str, Any] = {
    "no rows": lambda raw: raw.iloc[:0],
    "no columns": lambda raw: raw[[]],
    "all null": lambda raw: raw.assign(**dict.fromkeys(raw.columns)),
    "a column gone": lambda raw: raw.drop(columns="nswprice"),
    "a column renamed": lambda raw: raw.rename(columns={"time": "Time"}),
    "another unit": lambda raw: raw.assign(nswprice=raw["nswprice"] * 1000 + 2),
    "shifted columns": lambda raw: raw.assign(period=raw["class"], **{"class": raw["period"]}),
}


def test_no_broken_batch_reaches_training_and_each_says_why(resources: Resources) -> None:
    for name, broken in BROKEN.items():
        batch = Batch(name.replace(" ", "-"), broken(half_hours()))
        landed = land(resources, project, batch)
        assert landed.refused, name
        assert landed.accepted == 0
    with pytest.raises(NoBatch):
        resources.batches.snapshot(project.name)
    kept = {entry.batch: entry for entry in quarantine.ls(resources.batches, project.name)}
    assert set(kept) == {name.replace(" ", "-") for name in BROKEN if name != "no rows"}
    assert any("columns missing: 'nswprice'" in reason for reason in kept["a-column-gone"].reasons)
    assert all(entry.rows == ROWS for entry in kept.values())


def test_bad_rows_wait_in_quarantine_until_they_are_repaired(resources: Resources, tmp_path: Path) -> None:
    raw = half_hours().astype({"nswprice": object})
    raw.loc[3, "nswprice"] = "n/a"
    raw.loc[4, "class"] = "SIDEWAYS"
    landed = land(resources, project, Batch("1996-05-07", raw))
    assert (landed.accepted, landed.quarantined, landed.changed) == (ROWS - 2, 2, True)
    again = land(resources, project, Batch("1996-05-07", raw.iloc[::-1]))
    assert not again.changed
    shown = quarantine.show(resources.batches, project.name, "1996-05-07")
    assert shown["key"].tolist() == ["3", "4"]
    released = release(resources, project, "1996-05-07", shown.assign(nswprice=0.5, **{"class": "UP"}))
    assert (released.accepted, released.refused) == (2, None)
    snapshot = resources.batches.snapshot(project.name)
    paths = resources.batches.restore(snapshot, tmp_path / "restored")
    assert sum(length(read_batch(path, project.schema)) for path in paths) == snapshot.rows == ROWS
    assert quarantine.ls(resources.batches, project.name)[0].released
