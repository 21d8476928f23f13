from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.schema import Category, Image, Number, Rows, Schema
from models.declarations import Model
from models.encoding import Encoder
from models.exporting import ANSWER, export, random_inputs, write
from models.networks import build
from models.predictor import EMBEDDING, Predictor, open_session
from monitoring import projections
from tasks.referencing import projection_of

PICTURES = Schema(
    columns={"picture": Image(height=8, width=8, high=16), "size": Number(), "kind": Category(levels=("a", "b", "c"))},
    target="kind",
    key="id",
)
TABLE = Schema(columns={"size": Number(), "kind": Category(levels=("a", "b", "c"))}, target="kind", key="id")


def rows(count: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    return {
        "id": np.array([f"row-{at}" for at in range(count)], dtype=object),
        "picture": rng.integers(0, 17, (count, 8, 8)).astype(np.uint8),
        "size": rng.normal(size=count),
        "kind": np.array(["a", "b", "c"], dtype=object)[rng.integers(0, 3, count)],
    }


class Squeezed(nn.Module):
    """Its answer is not the last linear layer's own output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, picture: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(picture.flatten(1)) / (1 + numbers.abs())
        return found


class Twice(nn.Module):
    """One layer is asked twice, so nobody can say which was the last."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer = nn.Linear(64, 3), nn.Linear(3, 3)

    def forward(self, picture: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(self.layer(self.first(picture.flatten(1))))
        return found


def exported(tmp_path: Path, network: nn.Module, schema: Schema = PICTURES) -> Predictor:
    encoder = Encoder.fit(schema, None, rows(40))
    export(network, encoder, tmp_path / "network.onnx")
    return Predictor(encoder, open_session((tmp_path / "network.onnx").read_bytes(), threads=1))


def built_in(name: str, schema: Schema = PICTURES) -> Any:
    torch.manual_seed(0)
    return build(Model(network=name), Encoder.fit(schema, None, rows(40)).spec).eval()


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_an_export_tells_its_embedding_and_answers_bit_for_bit_as_without(tmp_path: Path, name: str) -> None:
    network = built_in(name)
    predictor = exported(tmp_path, network)
    assert predictor.embeds
    assert predictor.names[1] == [ANSWER]  # the service asks for nothing else
    encoder = predictor.encoder
    write(network, encoder.spec, random_inputs(encoder.spec, 2, np.random.default_rng(0)), tmp_path / "bare", [ANSWER])
    bare = Predictor(encoder, open_session((tmp_path / "bare").read_bytes(), threads=1))
    assert not bare.embeds
    for count in (1, 7, 1500):
        assert (predictor.predict(rows(count)).values == bare.predict(rows(count)).values).all()
    embedded = predictor.embed(rows(1500))
    layer = next(one for one in reversed(list(network.modules())) if isinstance(one, nn.Linear))
    assert embedded.shape == (1500, layer.in_features)
    logits = embedded @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    assert np.abs(logits - predictor.run(encoder.derive(rows(1500)))).max() < 1e-4


@pytest.mark.parametrize("network", [Squeezed(), Twice()])
def test_a_network_without_a_last_layer_that_answers_is_exported_without(tmp_path: Path, network: nn.Module) -> None:
    predictor = exported(tmp_path, network.eval())
    assert not predictor.embeds
    assert [node.name for node in predictor.session.get_outputs()] == [ANSWER]
    assert projection_of(predictor, rows(200), np.zeros(200, bool)) is None


def test_the_embedding_of_a_plain_table_is_told_but_not_watched(tmp_path: Path) -> None:
    table = {name: values for name, values in rows(200).items() if name != "picture"}
    predictor = exported(tmp_path, built_in("mlp", TABLE), TABLE)
    assert [node.name for node in predictor.session.get_outputs()] == [ANSWER, EMBEDDING]
    assert projection_of(predictor, table, np.zeros(200, bool)) is None
    wide = {f"n{at}": Number() for at in range(projections.WIDE + 1)}
    assert projections.wanted(wide)
    assert not projections.wanted({**wide, "embedding 1": Number()})  # a project's own column has the name


def test_directions_are_found_on_what_the_network_learned_from_and_rows_of_a_new_kind_lie_beside_them() -> None:
    rng = np.random.default_rng(0)
    known = np.concatenate([rng.normal(size=(600, 2)), 1e-3 * rng.normal(size=(600, 6))], axis=1)
    held_out = np.arange(600) >= 300
    found = projections.fit(known, held_out)
    assert found is not None
    again = projections.fit(np.concatenate([known[:300], 100 * known[300:]]), held_out)
    assert again is not None
    assert (again.axes == found.axes).all()  # what is held out has no say
    odd = known.copy()
    odd[:, 7] += 1.0
    assert found.apply(odd)["embedding rest"].min() > 10 * found.apply(known)["embedding rest"].max()
    assert np.allclose(found.axes @ found.axes.T, np.eye(projections.DIRECTIONS), atol=1e-9)
