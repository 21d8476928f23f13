"""A project of which more rows train than it lets be in memory goes the same way as any other."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from holdfast.commands import train_once
from tasks.ingestion import ingest
from tasks.resources import Resources, connect
from tasks.role_files import most_held, origins, some_of, stored_role
from tasks.settings import Settings
from tasks.verifying import verify

FILE = """
    import numpy as np
    import pandas as pd
    from projects.declaration import (
        Batch, Category, Evaluation, Gates, Governor, Id, Model, Monitors, Number, Project, Schema, Threshold, Training,
        Window,
    )

    NUMBERS, A_BATCH = 30, 2000
    FILES = {files}


    def sown():
        drawn = np.random.default_rng(0)
        for day in range(FILES):
            values = drawn.normal(size=(NUMBERS, A_BATCH))
            yield Batch(f"2026-03-{{day + 1:02d}}", pd.DataFrame({{
                "id": [f"{{day}}-{{at}}" for at in range(A_BATCH)],
                "at": pd.Timestamp(2026, 3, day + 1, tz="UTC") + pd.to_timedelta(np.arange(A_BATCH), unit="s"),
                **{{f"n{{at}}": values[at] for at in range(NUMBERS)}},
                "plot": [f"plot-{{at}}" for at in drawn.integers(0, 40, A_BATCH)],
                "kind": np.where(values[:3].sum(axis=0) + 0.3 * drawn.normal(size=A_BATCH) > 0, "high", "low"),
            }}))


    project = Project(
        name="meadow",
        task="classification",
        schema=Schema(
            columns={{
                **{{f"n{{at}}": Number() for at in range(NUMBERS)}},
                "plot": Id(),
                "kind": Category(levels=("low", "high")),
            }},
            target="kind", key="id", time="at",
        ),
        source=sown,
        model=Model(network="mlp"),
        training=Training(epochs=6, batch_size=64, learning_rate=3e-3, resident=1, device="cpu"),
        evaluation=Evaluation(exchangeable=True, threshold=Threshold(level="high", recall=0.9)),
        gates=Gates(floors={{"accuracy": 0.85}}, anchor_rows=100),
        governor=Governor(promote="auto"),
        monitors=Monitors(window=Window(rows=100)),
    )
"""


@pytest.fixture
def meadow(tmp_path: Path, mlflow_url: str) -> Resources:
    declare(tmp_path, files=3)
    return connect(Settings(home=tmp_path / "home", projects=str(tmp_path), mlflow_tracking_uri=mlflow_url, threads=1))


def declare(folder: Path, files: int) -> None:
    (folder / "meadow.py").write_text(textwrap.dedent(FILE).format(files=files))


def train(resources: Resources) -> str:
    return train_once(resources, "meadow", "cpu", quiet=True).sentence


def test_more_rows_than_may_be_in_memory_are_learned_judged_served_and_learned_again(
    meadow: Resources, tmp_path: Path
) -> None:
    ingest(meadow, "meadow")
    assert "serves as generation 1" in train(meadow)
    folder, project = meadow.artifacts("meadow"), meadow.project("meadow")
    most = most_held(project)
    learned = stored_role(folder, project.schema, "train")
    assert learned.rows > 1.5 * most
    for role in ("judge", "anchor"):
        assert 0.9 * most / 4 < stored_role(folder, project.schema, role).rows <= most / 4
    some = some_of(project, folder, "train")
    assert len(some["id"]) == most
    assert np.array_equal(np.sort(some["at"]), some["at"])
    found = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert found["rows"]["train"] == learned.rows
    assert found["judge"]["accuracy"]["value"] > 0.85
    assert found["judge"]["recall"]["value"] > 0.85
    assert found["baselines"]["linear"] > 0.85
    assert len(json.loads((folder / "prepared" / "encoder.json").read_text())["levels"]["plot"]) == 40
    first = verify(meadow, "meadow")
    assert first.outcome == "identical", first.sentence

    declare(tmp_path, files=4)
    again = connect(meadow.settings)
    ingest(again, "meadow")
    before = set(stored_role(folder, project.schema, "judge").column("id"))
    said = train(again)
    fresh = int((origins(folder, "judge") == "2026-03-04").sum())
    assert fresh > 350  # all that came: what no champion has learned from judges first
    assert f"on {fresh} fresh rows" in said
    after, learned_now = (stored_role(folder, project.schema, role) for role in ("judge", "train"))
    assert learned_now.rows > learned.rows
    assert not (before | set(after.column("id"))) & set(learned_now.column("id"))
