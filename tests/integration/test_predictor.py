import os
import random
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from torch import nn

from data.errors import BadDeclaration, Corrupt
from data.schema import Category, Image, Number, Rows, Schema, take
from models.declarations import Features, Model
from models.encoding import Encoder
from models.exporting import export
from models.folder import LARGEST, MANIFEST, seal
from models.networks import build
from models.predictor import GOLDEN_ROWS, Predictor, manifest_sha256, read_version
from models.writing import write_version

SCHEMA = Schema(
    columns={
        "picture": Image(height=8, width=8, high=16),
        "age": Number(nullable=True),
        "camera": Category(levels=("left", "right"), open=True),
        "digit": Category(levels=("0", "1", "2")),
    },
    target="digit",
    key="id",
    time="at",
)
FLIPS = 60  # per file


def older(rows: Rows) -> Rows:
    return {"older": rows["age"] + 1}


FEATURES = Features(columns={"older": Number(nullable=True)}, compute=older)


def pictures(count: int) -> Rows:
    generator = np.random.default_rng(0)
    return {
        "id": np.array([f"row-{i}" for i in range(count)], dtype=object),
        "at": np.datetime64("2026-01-01", "us") + np.arange(count),
        "picture": generator.integers(0, 17, (count, 8, 8)).astype(np.uint8),
        "age": np.where(np.arange(count) % 5 == 0, np.nan, generator.normal(40, 10, count)),
        "camera": np.array(["left", "right", "up"] * count, dtype=object)[:count],
        "digit": np.array(["0", "1", "2"] * count, dtype=object)[:count],
    }


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build(Model(network="cnn"), Encoder.fit(SCHEMA, FEATURES, pictures(40)).spec).eval()


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, network: nn.Module) -> Path:
    folder = tmp_path_factory.mktemp("version")
    encoder = Encoder.fit(SCHEMA, FEATURES, pictures(40))
    difference = export(network, encoder, folder / "network.onnx")
    write_version(folder, encoder=encoder, network=network, golden=pictures(40), difference=difference)
    return folder


@pytest.fixture
def copy(version: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(version, tmp_path / "copy"))


def opened(folder: Path, manifest: str | None = None) -> Predictor:
    return read_version(folder, features=FEATURES, manifest=manifest)


def test_a_version_answers_as_the_network_it_was_made_from(version: Path, network: nn.Module) -> None:
    predictor = opened(version)
    rows = pictures(3000)  # more than the network is given at once
    encoded = predictor.encoder.encode(rows)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(values) for values in encoded.values())).softmax(dim=1).numpy()
    found = predictor.predict(rows)
    assert np.abs(found.values - expected).max() < 1e-5
    assert predictor.difference < 1e-5
    one = predictor.predict(take(rows, np.array([2500])))
    assert one.values[0] == pytest.approx(found.values[2500], abs=1e-6)
    assert len(predictor.predict(take(rows, np.array([], dtype=int)))) == 0


def test_what_is_watched_is_features_and_answers(version: Path) -> None:
    predictor = opened(version)
    observed = predictor.observe(pictures(20), predictor.predict(pictures(20)))
    assert list(observed) == list(predictor.monitored)
    assert {"picture.brightness", "age", "older", "camera", "prediction", "confidence"} <= observed.keys()
    assert all(len(values) == 20 for values in observed.values())


def test_golden_rows_stand_as_the_log_would_keep_them(version: Path) -> None:
    golden = orjson.loads((version / "golden.json").read_bytes())
    assert len(golden["rows"]) == len(golden["outputs"]) == GOLDEN_ROWS


@pytest.mark.parametrize("name", [*LARGEST, MANIFEST])
def test_no_flipped_bit_is_ever_accepted(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    dice = random.Random(name)
    for _ in range(FLIPS):
        bit = dice.randrange(len(content) * 8)
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (copy / name).write_bytes(flipped)
        with pytest.raises(Corrupt):
            opened(copy)
    (copy / name).write_bytes(content)
    opened(copy)


@pytest.mark.parametrize("name", [*LARGEST, MANIFEST])
def test_a_truncated_missing_or_linked_file_is_refused(copy: Path, name: str, tmp_path: Path) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(Corrupt):
        opened(copy)
    (copy / name).unlink()
    with pytest.raises(Corrupt):
        opened(copy)
    (tmp_path / name).write_bytes(content)
    (copy / name).symlink_to(tmp_path / name)
    with pytest.raises(Corrupt):
        opened(copy)


def test_an_unknown_file_is_refused(copy: Path) -> None:
    (copy / "hook.py").write_text("raise SystemExit")
    with pytest.raises(Corrupt, match=r"hook\.py"):
        opened(copy)


def test_an_oversized_file_is_refused_before_it_is_read(copy: Path) -> None:
    os.truncate(copy / "golden.json", LARGEST["golden.json"] + 1)  # sparse: reading it would take seconds
    manifest = orjson.loads((copy / MANIFEST).read_bytes())
    manifest["files"]["golden.json"]["bytes"] = LARGEST["golden.json"] + 1
    (copy / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
    with pytest.raises(Corrupt, match="bytes"):
        opened(copy)


def test_another_whole_version_is_not_the_one_on_record(copy: Path) -> None:
    recorded = manifest_sha256(copy)
    opened(copy, recorded)
    stored = orjson.loads((copy / "predictor.json").read_bytes())
    (copy / "predictor.json").write_bytes(
        orjson.dumps({**stored, "difference": 0.5}, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
    )
    assert seal(copy) != recorded
    opened(copy)
    with pytest.raises(Corrupt, match="manifest"):
        opened(copy, recorded)


def test_a_network_that_answers_otherwise_or_not_at_all_is_refused_though_its_hashes_fit(copy: Path) -> None:
    encoder = opened(copy).encoder
    torch.manual_seed(1)
    other = build(Model(network="cnn"), encoder.spec)
    export(other, encoder, copy / "network.onnx")
    seal(copy)
    with pytest.raises(Corrupt, match="golden"):
        opened(copy)
    with torch.no_grad():
        next(other.parameters()).fill_(float("nan"))
    with pytest.raises(Corrupt, match="weight"):
        write_version(copy, encoder=encoder, network=other, golden=pictures(4), difference=0.0)
    (copy / "network.onnx").write_bytes(b"no network")
    seal(copy)
    with pytest.raises(Corrupt):
        opened(copy)


def test_other_feature_code_is_refused(version: Path) -> None:
    changed = Features(columns=FEATURES.columns, compute=lambda rows: {"older": rows["age"] + 2})
    for features in (None, changed):
        with pytest.raises(Corrupt, match="feature code"):
            read_version(version, features=features)


class Fixed(nn.Module):
    """Knows only batches of two."""

    def forward(self, image: torch.Tensor, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return numbers[:, :3].reshape(2, -1)


class Relative(nn.Module):
    """Judges each row against the others."""

    def forward(self, image: torch.Tensor, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return numbers[:, :3] - numbers[:, :3].mean(dim=0)


@pytest.mark.parametrize(("unfit", "why"), [(Fixed(), "numbers of rows"), (Relative(), "other rows")])
def test_a_network_that_does_not_answer_row_by_row_is_not_exported(
    unfit: nn.Module, why: str, tmp_path: Path, version: Path
) -> None:
    with pytest.raises(BadDeclaration, match=why):
        export(unfit, opened(version).encoder, tmp_path / "network.onnx")


def test_mlflow_reads_the_signature(version: Path) -> None:
    from mlflow.models import Model as Described

    signature = Described.load(str(version)).signature
    assert [column.name for column in signature.inputs] == ["picture", "age", "camera"]
    assert "array" in str(signature.inputs.to_json()).lower()
