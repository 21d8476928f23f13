"""A forecast from its judge rows to a monitor's verdict, by the functions that every task goes through."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest

from data.packing import pack_all
from data.schema import Rows, Schema, Series, length, take
from models.encoding import Encoder
from models.importance import importance
from models.predictor import Predictor, read_version
from models.training import fit
from models.writing import make_version
from monitoring import reference, stored_reference
from monitoring.answers import answers_of
from monitoring.performance import losses_in
from monitoring.realised import measure
from monitoring.records import Prediction, WindowKey
from monitoring.verdicts import judge_data
from projects.declaration import Batch, Evaluation, Model, Project, Training
from tasks.checking import tiny_version
from tasks.evaluation import evaluate
from tasks.role_files import write_role
from tasks.snapshot_rows import BATCH

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def nothing() -> Iterator[Batch]:
    yield from ()


PROJECT = Project(
    name="tides",
    task="forecast",
    schema=Schema(
        columns={"past": Series(length=24, channels=("height",)), "coming": Series(length=6, channels=("height",))},
        target="coming",
        key="id",
    ),
    source=nothing,
    model=Model(network="linear"),
    training=Training(epochs=1, learning_rate=0.01),
    evaluation=Evaluation(metric="mae", season=12, baselines=("linear",), exchangeable=True),
)


def tides(count: int, seed: int, level: float = 0.0) -> Rows:
    generator = np.random.default_rng(seed)
    steps = np.arange(30) + generator.integers(0, 12, (count, 1))
    heights = level + np.sin(2 * np.pi * steps / 12) + generator.normal(0, 0.1, steps.shape)
    ids = np.array([f"{seed}-{at}" for at in range(count)], dtype=object)
    return {"id": ids, "past": heights[:, :24, None], "coming": heights[:, 24:, None]}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return tiny_version(PROJECT, tides(400, 0), tmp_path_factory.mktemp("tides"))[0]


def predictions(predictor: Predictor, rows: Rows) -> list[Prediction]:
    """Rows as the log holds them once their truth was told."""
    packed, outputs = pack_all(PROJECT.schema, rows), predictor.predict(rows).answers()
    return [
        Prediction(key, "tides", 1, NOW, NOW, features, orjson.loads(orjson.dumps(output)), label=truth)
        for key, features, output, truth in zip(rows["id"], packed, outputs, rows["coming"].tolist(), strict=True)
    ]


def test_an_evaluation_of_forecasts_stands_beside_the_season_and_a_line(tmp_path: Path) -> None:
    trained = dataclasses.replace(PROJECT.training, epochs=10, patience=10)
    rows = tides(400, 0)
    encoder = Encoder.fit(PROJECT.schema, None, rows)
    network = fit(PROJECT.model, trained, encoder, rows, workdir=tmp_path / "work", progress=lambda _: None).network
    (tmp_path / "model").mkdir()
    (tmp_path / "prepared").mkdir()
    make_version(tmp_path / "model", model=PROJECT.model, network=network, encoder=encoder, rows=rows, project=None)
    for role, some in (("train", rows), ("judge", tides(80, 1)), ("anchor", tides(60, 2))):
        dealt = {**some, BATCH: np.array(["one"] * length(some), dtype=object)}
        write_role(tmp_path, PROJECT.schema, role, [dealt], length(some))
    found = evaluate(PROJECT, tmp_path)
    assert found["judge"]["mae"]["low"] < found["judge"]["mae"]["value"] < found["judge"]["mae"]["high"]
    assert list(found["baselines"]) == ["trivial", "linear"]
    assert 0.08 < found["baselines"]["linear"] < found["baselines"]["trivial"] < 0.2  # the season, with its noise twice
    assert len(found["residuals"]) > 10
    assert found["detectable"]["rows"] == 80


def test_what_was_answered_is_watched_measured_and_held_against_what_came(predictor: Predictor) -> None:
    fresh = tides(200, 3)
    logged = answers_of(predictions(predictor, fresh))
    outputs = predictor.predict(fresh)
    losses = reference.losses_of(fresh["coming"], outputs.predictions, "forecast")
    assert losses_in(logged, "forecast") == pytest.approx(losses)
    found = measure("mae", logged, exchangeable=True)
    assert found is not None
    assert found.value == pytest.approx(losses.mean())
    seen = predictor.observe(fresh, outputs)
    assert all(np.allclose(values, seen[name]) for name, values in logged.watched.items())
    built = reference.build(
        predictor.monitored,
        seen,
        held_out=np.arange(200) < 120,
        losses=losses[:120],
        task="forecast",
        exchangeable=True,
        importance=importance(predictor, fresh, "mae", seed=0),
    )
    again = stored_reference.from_bytes(stored_reference.to_bytes(built))
    assert set(again.outputs) >= {"prediction.height.mean", "prediction.height.last"}
    assert again.importance["past.height.mean"] > 0
    for level, outcome in ((0.0, "ok"), (1.0, "drift")):
        window = tides(200, 4, level)
        said = judge_data(
            again,
            predictor.observe(window, predictor.predict(window)),
            PROJECT.monitors,
            WindowKey("tides", 1, 0, NOW, NOW),
        )
        assert said.outcome == outcome, said.reason


def test_a_version_that_forecasts_reads_back_equal(tmp_path: Path) -> None:
    rows = tides(50, 5)
    made, _ = tiny_version(PROJECT, rows, tmp_path)
    again = read_version(tmp_path / "model")
    one = take(rows, np.arange(3))
    assert (again.predict(one).values == made.predict(one).values).all()
    assert again.predict(one).predictions.shape == (3, 6, 1)
