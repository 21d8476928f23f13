"""Texts, clips and series from training to an answer, by each network that reads them."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import BadDeclaration
from data.schema import Audio, Category, Column, Number, Rows, Schema, Series, Text
from data.wav import write_wav
from models.baselines import repeated
from models.declarations import Model, Training
from models.encoding import Encoder
from models.exporting import export
from models.learners import learned_answers
from models.metrics import score
from models.networks import build
from models.predictor import Predictor, open_session
from models.training import fit
from serving.validation import RowReader

RATE = 8000
GOOD, BAD = ("good", "fine", "lovely"), ("bad", "poor", "dreadful")
FILLING = ("the", "film", "was", "really", "a", "play", "and", "so", "long")


def schema(column: Column) -> Schema:
    return Schema(columns={"given": column, "kind": Category(levels=("high", "low"))}, target="kind", key="id")


def texts(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    made = np.empty(len(truth), dtype=object)
    for at, high in enumerate(truth):
        said = [*generator.choice(FILLING, 6), generator.choice(GOOD if high else BAD)]
        made[at] = " ".join(generator.permutation(said))
    return made


def clips(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    moments = np.arange(1600) / RATE
    hertz = np.where(truth, 1500, 500)[:, None] * generator.uniform(0.8, 1.25, (len(truth), 1))
    sound = np.sin(2 * np.pi * hertz * moments) * 8000 + generator.normal(0, 300, (len(truth), 1600))
    return np.pad(sound.astype(np.int16), ((0, 0), (0, 400)))


def series(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    steps = generator.normal(100, 1, (len(truth), 12, 2))
    steps[:, :, 1] += np.where(truth, 1, -1)[:, None] * np.linspace(0, 3, 12)
    steps[generator.random(steps.shape) < 0.05] = np.nan
    return steps


KINDS: dict[str, tuple[Column, Any, Model]] = {
    "text": (Text(), texts, Model(network="transformer", options={"width": 16})),
    "words": (Text(), texts, Model(network="mlp")),
    "audio": (Audio(rate=RATE, seconds=0.25), clips, Model(network="cnn", options={"channels": (4, 8)})),
    "series": (
        Series(length=12, channels=("a", "b"), nullable=True),
        series,
        Model(network="lstm", options={"width": 16}),
    ),
}


def rows_of(kind: str, count: int, seed: int) -> Rows:
    generator = np.random.default_rng(seed)
    truth = generator.random(count) < 0.5
    return {
        "id": np.array([f"{kind}-{at}" for at in range(count)], dtype=object),
        "given": KINDS[kind][1](truth, generator),
        "kind": np.where(truth, "high", "low").astype(object),
    }


def learned(kind: str, folder: Path) -> tuple[Predictor, torch.nn.Module]:
    """Train on easy rows, as a project would, and open what was exported."""
    column, _, model = KINDS[kind]
    rows = rows_of(kind, 400, 0)
    encoder = Encoder.fit(schema(column), None, rows)
    training = Training(epochs=12, learning_rate=0.01, batch_size=32, patience=12)
    trained = fit(model, training, encoder, rows, workdir=folder, progress=lambda _: None, resume=False, threads=1)
    difference = export(trained.network, encoder, folder / "network.onnx")
    return Predictor(encoder, open_session((folder / "network.onnx").read_bytes(), 1), difference), trained.network


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_learned_exported_and_answered_alike_alone_and_in_a_batch(kind: str, tmp_path: Path) -> None:
    predictor, network = learned(kind, tmp_path)
    fresh = rows_of(kind, 200, 1)
    outputs = predictor.predict(fresh)
    assert (outputs.predictions == fresh["kind"]).mean() > 0.95
    assert predictor.embeds
    assert predictor.embed(fresh).shape[0] == 200
    with torch.inference_mode():
        inputs = [torch.from_numpy(values) for values in predictor.encoder.encode(fresh).values()]
        torchs = predictor.encoder.decode(network(*inputs).numpy())
    assert np.abs(outputs.values - torchs.values).max() < 1e-4
    lists = [[value] for value in fresh["given"][:3]]
    assert np.abs(predictor.predict_lists(lists).values - outputs.values[:3]).max() < 1e-6


def test_what_a_request_says_is_answered_as_the_row_that_was_learned_from(tmp_path: Path) -> None:
    predictor, _ = learned("audio", tmp_path)
    rows = rows_of("audio", 5, 2)
    asked = [{"given": base64.b64encode(write_wav(RATE, clip[:1600])).decode()} for clip in rows["given"]]
    reader = RowReader(predictor.schema)
    read = reader.columns(reader.read(asked, 10))
    assert np.abs(predictor.predict(read).values - predictor.predict(rows).values).max() < 1e-6


@pytest.mark.parametrize(("network", "wanted"), [("transformer", "Text"), ("lstm", "Series"), ("cnn", "Audio")])
def test_a_network_that_is_given_nothing_to_read_says_what_it_needs(network: str, wanted: str) -> None:
    table = Schema(columns={"x": Number(), "kind": Category(levels=("a", "b"))}, target="kind", key="id")
    rows = {"id": np.array(["a"], object), "x": np.zeros(1), "kind": np.array(["a"], object)}
    with pytest.raises(BadDeclaration, match=wanted):
        build(Model(network=network), Encoder.fit(table, None, rows).spec)


def test_a_transformers_width_must_be_shared_by_its_heads() -> None:
    rows = rows_of("text", 10, 0)
    spec = Encoder.fit(schema(Text()), None, rows).spec
    with pytest.raises(BadDeclaration, match="multiple"):
        build(Model(network="transformer", options={"width": 10, "heads": 4}), spec)


COMING = Schema(
    columns={
        "past": Series(length=24, channels=("a", "b")),
        "coming": Series(length=6, channels=("b",)),
    },
    target="coming",
    key="id",
)


def waves(count: int, seed: int) -> Rows:
    """Two channels of a wave of twelve steps, each window at a level of its own."""
    generator = np.random.default_rng(seed)
    steps = np.arange(30) + generator.integers(0, 12, (count, 1))
    level = generator.uniform(100, 1000, (count, 1))
    wave = level * (1 + 0.2 * np.sin(2 * np.pi * steps / 12)) + generator.normal(0, 0.5, steps.shape)
    both = np.stack([level + 0 * wave, wave], axis=2)
    ids = np.array([f"window-{seed}-{at}" for at in range(count)], dtype=object)
    return {"id": ids, "past": both[:, :24], "coming": both[:, 24:, 1:]}


@pytest.mark.parametrize(
    "model",
    [
        Model(network="linear"),
        Model(network="lstm", options={"patch": 6, "width": 32, "dropout": 0.0}),
        Model(network="lstm", options={"patch": 5, "width": 8, "season": 12}),
    ],
)
def test_a_forecast_of_one_channel_is_learned_exported_and_better_than_repeating(model: Model, tmp_path: Path) -> None:
    rows, fresh = waves(300, 0), waves(100, 1)
    encoder = Encoder.fit(COMING, None, rows)
    assert (encoder.task, encoder.spec.outputs, encoder.spec.targets) == ("forecast", 6, (1,))
    assert encoder.decode(encoder.target(rows)).predictions == pytest.approx(rows["coming"], rel=1e-4)
    training = Training(epochs=15, learning_rate=0.01, batch_size=16, patience=15)
    trained = fit(model, training, encoder, rows, workdir=tmp_path, progress=lambda _: None, resume=False, threads=1)
    export(trained.network, encoder, tmp_path / "network.onnx")
    predictor = Predictor(encoder, open_session((tmp_path / "network.onnx").read_bytes(), 1))
    outputs = predictor.predict(fresh)
    found = score("forecast", fresh["coming"], outputs.values)
    assert found["mae"] == pytest.approx(np.abs(outputs.predictions - fresh["coming"]).mean())
    repeat = score("forecast", fresh["coming"], repeated(fresh["past"][:, :, 1:], 6))
    assert found["mae"] < repeat["mae"] / 4
    assert set(predictor.observe(fresh, outputs)) == set(predictor.monitored) > {"prediction.b.trend", "past.a.mean"}
    assert outputs.answers()[0]["forecast"].keys() == {"b"}


def test_what_repeats_the_last_season_fills_gaps_by_what_was_known_last() -> None:
    past = np.array([[[1.0], [2.0], [np.nan], [4.0]]])
    assert repeated(past, 3).tolist() == [[4.0, 4.0, 4.0]]
    assert repeated(past, 5, season=2).tolist() == [[2.0, 4.0, 2.0, 4.0, 2.0]]
    assert repeated(np.full((1, 4, 1), np.nan), 2).tolist() == [[0.0, 0.0]]


def test_simple_learners_stand_beside_texts_clips_and_forecasts() -> None:
    for kind in ("text", "audio", "series"):
        rows, fresh = rows_of(kind, 300, 0), rows_of(kind, 100, 1)
        found = learned_answers(
            ("linear", "tree", "boosted"), Encoder.fit(schema(KINDS[kind][0]), None, rows), rows, fresh, seed=0
        )
        for name, one in found.items():
            assert (np.where(one.values[:, 0] > 0.5, "high", "low") == fresh["kind"]).mean() > 0.8, (kind, name)
    rows, fresh = waves(300, 0), waves(50, 1)
    found = learned_answers(("linear", "tree"), Encoder.fit(COMING, None, rows), rows, fresh, seed=0)
    assert list(found) == ["linear"]
    assert np.abs(found["linear"].values.reshape(fresh["coming"].shape) - fresh["coming"]).mean() < 10


def test_a_forecasting_network_without_the_channels_past_says_what_it_needs() -> None:
    other = Schema(columns={**COMING.columns, "coming": Series(length=6, channels=("c",))}, target="coming", key="id")
    spec = Encoder.fit(other, None, waves(20, 0)).spec
    assert spec.targets == ()
    for network in ("linear", "lstm"):
        with pytest.raises(BadDeclaration, match="own past"):
            build(Model(network=network), spec)
    with pytest.raises(BadDeclaration, match="can't have gaps"):
        Schema(columns={"x": Series(length=2, channels=("a",), nullable=True)}, target="x", key="id")
