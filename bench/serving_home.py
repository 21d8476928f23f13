"""A tiny real home for the bench: one table and one 28x28 picture project, made on the spot, and an API key."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import nn

from data.schema import Category, Image, Number, Rows, Schema
from models.encoding import EncodedSpec, Encoder
from models.exporting import export
from models.networks import mlp
from models.writing import write_version

LEVELS = ("red", "green", "blue")
TABLE = Schema(
    columns={
        **{f"n{i}": Number(low=-100.0, high=100.0) for i in range(6)},
        "colour": Category(levels=LEVELS),
        "shop": Category(levels=("a", "b", "c", "d"), open=True, nullable=True),
        "bought": Category(levels=("yes", "no")),
    },
    target="bought",
    key="order",
)
PICTURES = Schema(
    columns={"image": Image(height=28, width=28), "digit": Category(levels=tuple("0123456789"))},
    target="digit",
    key="id",
)
TRAINING = 256


class Small(nn.Module):
    """Two convolutions of 16 and 32 channels, each halved, and one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(7 * 7 * 32, 10)),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10)."""
        made: torch.Tensor = self.layers(image)
        return made


def table_rows(count: int, generator: np.random.Generator) -> Rows:
    rows: Rows = {f"n{i}": generator.normal(size=count).round(3) for i in range(6)}
    rows["colour"] = generator.choice(np.array(LEVELS, object), count)
    rows["shop"] = generator.choice(np.array(["a", "b", "c", "d", None], object), count)
    rows["bought"] = generator.choice(np.array(["yes", "no"], object), count)
    rows["order"] = np.array([f"o{i}" for i in range(count)], object)
    return rows


def picture_rows(count: int, generator: np.random.Generator) -> Rows:
    return {
        "image": generator.integers(0, 256, (count, 28, 28)).astype(np.uint8),
        "digit": generator.choice(np.array(list("0123456789"), object), count),
        "id": np.array([f"i{i}" for i in range(count)], object),
    }


def table_network(spec: EncodedSpec) -> nn.Module:
    return mlp(spec, hidden=(32, 16))


def picture_network(spec: EncodedSpec) -> nn.Module:  # noqa: ARG001
    return Small()


def make(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Write both projects' first generation, and return a few rows of each as a client would send them."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    asked = {}
    for name, schema, rows, network in (
        ("table", TABLE, table_rows(TRAINING, generator), table_network),
        ("pictures", PICTURES, picture_rows(TRAINING, generator), picture_network),
    ):
        folder = home / "generations" / name / "1"
        folder.mkdir(parents=True)
        encoder = Encoder.fit(schema, None, rows)
        net = network(encoder.spec).eval()
        difference = export(net, encoder, folder / "network.onnx")
        golden = {column: values for column, values in rows.items() if column != schema.target}
        manifest = write_version(folder, encoder=encoder, network=net, golden=golden, difference=difference)
        torch.save(net.state_dict(), home / f"{name}.pt")
        pointer = {"generation": 1, "version": "1", "folder": "1", "manifest_sha256": manifest}
        (folder.parent / "current.json").write_text(json.dumps(pointer))
        asked[name] = plain(schema, rows, 64)
    return asked


def plain(schema: Schema, rows: Rows, count: int) -> list[dict[str, Any]]:
    """Return rows without key and target in JSON's values."""
    columns = {name: rows[name][:count].tolist() for name in schema.features}
    return [{name: values[i] for name, values in columns.items()} for i in range(count)]


def body(rows: list[dict[str, Any]]) -> bytes:
    """Return a request of ours."""
    return orjson.dumps({"rows": rows})
