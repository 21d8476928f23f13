import pytest
import torch
from torch import nn

from data.errors import BadDeclaration
from models.declarations import Model
from models.encoding import EncodedSpec
from models.networks import build


def pictures(size: int, channels: int = 1) -> EncodedSpec:
    shape = (channels, size, size)
    return EncodedSpec({"image": (shape, "float32")}, (), 0, shape, 10, "classification")


EVERYTHING = EncodedSpec(
    {"image": ((3, 9, 9), "float32"), "numbers": ((4,), "float32"), "codes": ((2,), "int64")},
    (5, 300),
    4,
    (3, 9, 9),
    1,
    "regression",
)


def inputs(spec: EncodedSpec, rows: int = 3) -> list[torch.Tensor]:
    return [torch.zeros(rows, *shape, dtype=getattr(torch, kind)) for shape, kind in spec.inputs.values()]


@pytest.mark.parametrize("name", ["cnn", "mlp"])
@pytest.mark.parametrize("spec", [pictures(1), pictures(5), pictures(8), pictures(32, 3), pictures(65), EVERYTHING])
def test_built_in_networks_answer_pictures_of_every_size(name: str, spec: EncodedSpec) -> None:
    network = build(Model(network=name), spec)
    assert network(*inputs(spec)).shape == (3, spec.outputs)
    assert sum(tensor.numel() for tensor in network.parameters()) < 3_000_000


def test_a_network_may_be_any_factory_of_the_project() -> None:
    made = build(Model(network=lambda spec: nn.Sequential(nn.Flatten(), nn.Linear(64, spec.outputs))), pictures(8))
    assert made(*inputs(pictures(8))).shape == (3, 10)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        (Model(network="cnm"), "cnn"),
        (Model(network="cnn", options={"hiden": (3,)}), "hiden"),
        (Model(network="cnn", options={"activation": "rellu"}), "relu"),
        (Model(network=lambda spec: "a net"), "str"),
    ],
)
def test_a_network_that_can_not_be_built_says_why(model: Model, hint: str) -> None:
    with pytest.raises(BadDeclaration, match=hint):
        build(model, pictures(8))


def test_a_table_is_no_picture() -> None:
    table = EncodedSpec({"numbers": ((2,), "float32")}, (), 2, None, 2, "classification")
    with pytest.raises(BadDeclaration, match="mlp"):
        build(Model(network="cnn"), table)


def test_an_unseen_level_moves_an_untrained_answer_little() -> None:
    torch.manual_seed(0)
    spec = EncodedSpec({"numbers": ((2,), "float32"), "codes": ((1,), "int64")}, (6,), 2, None, 2, "classification")
    network = build(Model(network="mlp"), spec).eval()
    codes = torch.arange(6)[:, None]
    answers = network(torch.ones(6, 2), codes)
    assert (answers - answers[0]).abs().max() < 0.1
