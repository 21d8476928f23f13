import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import BadDeclaration
from data.schema import Category, Image, Number, Rows, Schema
from models.declarations import Model, Training
from models.encoding import Encoder
from models.training import Trained, class_weights, fit, weights_sha256

FLOWERS = Schema(
    columns={"width": Number(), "height": Number(), "kind": Category(levels=("round", "long"))},
    target="kind",
    key="id",
)
TRAINING = Training(seed=3, epochs=6, batch_size=16, learning_rate=1e-2, patience=6, device="cpu")
PLAIN = Model(network="mlp", options={"dropout": 0.0})


def flowers(count: int = 200, rare: float = 0.5) -> Rows:
    generator = np.random.default_rng(0)
    width, height = generator.normal(size=(2, count))
    kinds = np.where(width - height > np.quantile(width - height, 1 - rare), "round", "long")
    names = np.arange(count).astype(str).astype(object)
    return {"id": names, "width": width, "height": height, "kind": kinds.astype(object)}


def trained(workdir: Path, rows: Rows | None = None, model: Model = PLAIN, **keys: Any) -> Trained:
    rows = flowers() if rows is None else rows
    encoder = Encoder.fit(FLOWERS, None, rows)
    training = dataclasses.replace(TRAINING, **keys)  # type: ignore[type-var]
    return fit(model, training, encoder, rows, workdir=workdir, progress=lambda epoch: None, threads=1)


def apart(one: Trained, other: Trained) -> float:
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    return max(float((a - b).abs().max().detach()) for a, b in pairs)


EVERYTHING = {"schedule": "cosine", "warmup": 1.5, "clip": 0.5, "accumulate": 2, "balanced": True}


def test_two_small_batches_to_a_step_teach_what_one_of_twice_the_size_does(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", batch_size=32)
    parts = trained(tmp_path / "parts", batch_size=16, accumulate=2)
    alone = trained(tmp_path / "alone", batch_size=16)
    assert apart(whole, parts) < 1e-4
    assert apart(whole, alone) > 1e-2


def test_a_clipped_gradient_moves_plain_descent_by_no_more_than_it_may(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"epochs": 1, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0, "batch_size": 500}
    start = trained(tmp_path / "still", **{**keys, "learning_rate": 1e-30})
    moved = trained(tmp_path / "moved", **keys, clip=0.01)
    pairs = zip(start.network.parameters(), moved.network.parameters(), strict=True)
    length = sum(float(((a - b) ** 2).sum().detach()) for a, b in pairs) ** 0.5
    assert length == pytest.approx(0.01, rel=1e-2)


def test_a_schedule_changes_the_weights_and_the_same_recipe_gives_the_same(tmp_path: Path) -> None:
    found = {
        weights_sha256(trained(tmp_path / name, schedule=name, epochs=4).network)
        for name in ("constant", "cosine", "step")
    }
    assert len(found) == 3
    first, again = (trained(tmp_path / name, **EVERYTHING) for name in "ab")
    assert weights_sha256(first.network) == weights_sha256(again.network)


class Killed(BaseException):
    """What a kill between two epochs leaves behind is what this leaves."""


def test_a_training_with_every_option_goes_on_to_the_weights_of_one_that_was_not_stopped(tmp_path: Path) -> None:
    rows = flowers()
    encoder = Encoder.fit(FLOWERS, None, rows)
    training = dataclasses.replace(TRAINING, **EVERYTHING)  # type: ignore[type-var]

    def stop(epoch: Any) -> None:
        if epoch.number == 3:
            raise Killed

    with pytest.raises(Killed):
        fit(PLAIN, training, encoder, rows, workdir=tmp_path / "stopped", progress=stop, threads=1)
    resumed = trained(tmp_path / "stopped", **EVERYTHING)
    whole = trained(tmp_path / "whole", **EVERYTHING)
    assert len(resumed.history) == 6
    assert weights_sha256(resumed.network) == weights_sha256(whole.network)


def test_balanced_classes_weigh_the_same_and_a_rare_one_is_found(tmp_path: Path) -> None:
    rows = flowers(600, rare=0.05)
    encoder = Encoder.fit(FLOWERS, None, rows)
    weights = class_weights(encoder, rows)
    counts = np.bincount(encoder.target(rows))
    assert np.allclose(weights.numpy() * counts, 300)

    def found(balanced: bool) -> int:
        network = trained(tmp_path / str(balanced), rows, balanced=balanced, epochs=2).network
        with torch.inference_mode():
            outputs = network(torch.from_numpy(encoder.encode(rows)["numbers"])).numpy()
        return int((encoder.decode(outputs).predictions == "round").sum())

    assert found(True) > found(False)


def test_balance_needs_classes(tmp_path: Path) -> None:
    schema = Schema(columns={"width": Number(), "height": Number()}, target="height", key="id")
    rows = {name: values for name, values in flowers().items() if name != "kind"}
    encoder = Encoder.fit(schema, None, rows)
    training = dataclasses.replace(TRAINING, balanced=True)  # type: ignore[type-var]
    with pytest.raises(BadDeclaration, match="Category"):
        fit(PLAIN, training, encoder, rows, workdir=tmp_path, progress=lambda epoch: None)


@pytest.mark.parametrize("network", ["classic_cnn", "resnet"])
def test_half_precision_learns_what_whole_precision_does(tmp_path: Path, network: str) -> None:
    generator = np.random.default_rng(0)
    bright = generator.random(160) < 0.5
    images = generator.integers(0, 120, size=(160, 12, 12)) + 100 * bright[:, None, None]
    schema = Schema(
        columns={"image": Image(height=12, width=12), "kind": Category(levels=("dark", "bright"))},
        target="kind",
        key="id",
    )
    rows = {
        "id": np.arange(160).astype(str).astype(object),
        "image": images.astype(np.uint8),
        "kind": np.where(bright, "bright", "dark").astype(object),
    }
    encoder = Encoder.fit(schema, None, rows)
    model = Model(network=network, options={"channels": (4, 8)})
    weights = set()
    for precision, pixels in (("32-true", 1), ("bf16-mixed", 1), ("bf16-mixed", 2)):  # the last in the folder before
        training = dataclasses.replace(TRAINING, precision=precision, augment={"shift": pixels, "flip": 0.5})  # type: ignore[type-var]
        work = tmp_path / precision
        result = fit(model, training, encoder, rows, workdir=work, progress=lambda epoch: None, threads=1)
        assert result.history[-1].metric > 0.9
        assert {tensor.dtype for tensor in result.network.parameters()} == {torch.float32}
        weights.add(weights_sha256(result.network))
    assert len(weights) == 3


@pytest.mark.soak
def test_a_compiled_training_learns_the_same_each_time(tmp_path: Path) -> None:
    first, again = (trained(tmp_path / name, compile=True) for name in "ab")
    assert first.history[-1].metric > 0.9
    assert weights_sha256(first.network) == weights_sha256(again.network)
