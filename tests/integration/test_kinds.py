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
from models.declarations import Model, Training
from models.encoding import Encoder
from models.exporting import export
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
