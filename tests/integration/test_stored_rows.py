import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import batches as files
from data.batches import digests, read_batch, write_batch
from data.errors import Corrupt
from data.schema import Category, Image, Number, Rows, Schema, length, take
from data.stored import Proof, Stored, write_pieces
from models import feeding
from models.declarations import Model, Training
from models.encoding import Encoder
from models.feeding import FromDisk, Some
from models.training import Trained, fit, weights_sha256

SCHEMA = Schema(
    columns={
        "width": Number(),
        "height": Number(nullable=True),
        "picture": Image(height=4, width=4),
        "kind": Category(levels=("round", "long")),
    },
    target="kind",
    key="id",
    time="seen",
)
TRAINING = Training(seed=3, epochs=4, batch_size=32, learning_rate=1e-2, patience=4, device="cpu")


def flowers(count: int = 600) -> Rows:
    generator = np.random.default_rng(0)
    width, height = generator.normal(size=(2, count))
    return {
        "id": np.array([f"größe-{at}" for at in range(count)], dtype=object),
        "seen": np.datetime64("2026-01-01", "us") + np.arange(count) * np.timedelta64(1, "s"),
        "width": width,
        "height": np.where(generator.random(count) < 0.1, np.nan, height),
        "picture": generator.integers(0, 256, size=(count, 4, 4), dtype=np.uint8),
        "kind": np.where(width > 0, "round", "long").astype(object),
    }


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "GROUP", 2**12)
    monkeypatch.setattr(feeding, "WINDOW", 2**13)


@pytest.fixture
def stored(small_groups: None, tmp_path: Path) -> Stored:
    write_batch(tmp_path / "rows.parquet", flowers(), SCHEMA)
    return Stored(tmp_path / "rows.parquet", SCHEMA)


def same(one: Rows, other: Rows) -> bool:
    return all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in SCHEMA.names)


def test_row_groups_are_read_as_they_were_written_and_prove_the_whole(stored: Stored) -> None:
    rows = flowers()
    assert stored.rows == 600
    assert stored.groups > 8
    assert same(stored.read([2]), take(rows, np.arange(stored.starts[2], stored.starts[3])))
    assert same(stored.read(range(stored.groups)), rows)
    assert stored.column("kind").tolist() == rows["kind"].tolist()
    stored.check()
    proof = Proof(SCHEMA, 600)
    for piece in stored.pieces():
        proof.add(piece)
    assert proof.digests() == digests(rows, SCHEMA)


def test_rows_that_come_in_pieces_are_written_as_rows_that_come_at_once(small_groups: None, tmp_path: Path) -> None:
    rows, path = flowers(), tmp_path / "pieces.parquet"
    pieces = [take(rows, part) for part in np.array_split(np.arange(600), 7)]
    write_pieces(path, iter(pieces), 600, SCHEMA)
    assert same(read_batch(path, SCHEMA), rows)
    Stored(path, SCHEMA).check()
    with pytest.raises(ValueError, match="599"):
        write_pieces(tmp_path / "more.parquet", iter(pieces), 599, SCHEMA)
    assert not (tmp_path / "more.parquet").exists()


def test_a_file_that_was_changed_is_not_learned_from(stored: Stored) -> None:
    content = bytearray(stored.path.read_bytes())
    content[len(content) // 2] ^= 1
    stored.path.write_bytes(bytes(content))
    with pytest.raises(Corrupt):
        Stored(stored.path, SCHEMA).check()
    stored.path.write_bytes(bytes(content[: len(content) // 2]))
    with pytest.raises(Corrupt):
        Stored(stored.path, SCHEMA)


def test_each_epoch_gives_every_row_once_in_windows_drawn_by_the_seed(stored: Stored) -> None:
    rows = flowers()
    places = np.flatnonzero(np.arange(600) % 5 != 0)
    encoder = Encoder.fit(SCHEMA, None, rows)
    feed = FromDisk(encoder, Some(stored, places), torch.device("cpu"))
    orders = []
    for seed in (1, 1, 2):
        windows = feed.windows(torch.Generator().manual_seed(seed))
        assert len(windows) > 3
        order = torch.cat(windows)
        assert sorted(order.tolist()) == list(range(len(places)))
        orders.append(order.tolist())
        inputs, target = feed.batch(windows[1][:20])
        expected = take(rows, places[windows[1][:20].numpy()])
        assert np.array_equal(inputs["numbers"].numpy(), encoder.encode(expected)["numbers"])
        assert np.array_equal(inputs["image"].numpy(), encoder.encode(expected)["image"])
        assert np.array_equal(target.numpy(), encoder.target(expected))
    assert orders[0] == orders[1] != orders[2]


def learned(workdir: Path, rows: Rows | Stored, **keys: Any) -> Trained:
    encoder = Encoder.fit(SCHEMA, None, flowers())
    keys.setdefault("progress", lambda epoch: None)
    training = dataclasses.replace(TRAINING, **keys.pop("training", {}))  # type: ignore[type-var]
    return fit(Model(network="mlp"), training, encoder, rows, workdir=workdir, threads=1, **keys)


def test_a_network_learns_from_a_file_what_it_learns_from_memory_and_the_same_each_time(
    stored: Stored, tmp_path: Path
) -> None:
    first, again = (learned(tmp_path / name, stored) for name in "ab")
    memory = learned(tmp_path / "memory", flowers())
    assert weights_sha256(first.network) == weights_sha256(again.network)
    assert first.history[-1].metric > 0.9
    assert abs(first.history[-1].validation_loss - memory.history[-1].validation_loss) < 0.1
    balanced = learned(tmp_path / "balanced", stored, training={"balanced": True})
    assert balanced.history[-1].metric > 0.9


class Killed(BaseException):
    """What a kill between two epochs leaves behind is what this leaves."""


def test_learning_from_a_file_goes_on_after_a_kill_to_the_same_weights(stored: Stored, tmp_path: Path) -> None:
    def stop(epoch: Any) -> None:
        if epoch.number == 2:
            raise Killed

    with pytest.raises(Killed):
        learned(tmp_path / "stopped", stored, progress=stop)
    seen: list[int] = []
    resumed = learned(tmp_path / "stopped", stored, progress=lambda epoch: seen.append(epoch.number))
    assert seen == [3, 4]
    assert weights_sha256(resumed.network) == weights_sha256(learned(tmp_path / "whole", stored).network)
    rows = flowers()
    rows["width"][0] += 1
    write_batch(stored.path, rows, SCHEMA)
    learned(tmp_path / "stopped", Stored(stored.path, SCHEMA), progress=lambda epoch: seen.append(epoch.number))
    assert seen == [3, 4, 1, 2, 3, 4]


def test_people_with_several_rows_are_held_back_whole(small_groups: None, tmp_path: Path) -> None:
    from models.training import split

    schema = dataclasses.replace(SCHEMA, entity="who")  # type: ignore[type-var]
    rows = {**flowers(), "who": np.array([f"p{at % 40}" for at in range(600)], dtype=object)}
    write_batch(tmp_path / "rows.parquet", rows, schema)
    stored = Stored(tmp_path / "rows.parquet", schema)
    encoder = Encoder.fit(schema, None, rows)
    kept, held = split(encoder, rows, TRAINING)
    stored_kept, stored_held = split(encoder, stored, TRAINING)
    assert isinstance(stored_held, Some)
    assert isinstance(stored_kept, Some)
    assert rows["id"][stored_held.places].tolist() == held["id"].tolist()  # type: ignore[call-overload]
    assert len(stored_kept.places) == length(kept)  # type: ignore[arg-type]
