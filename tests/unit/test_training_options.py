import numpy as np
import pytest
import torch
from torch import nn

from data.errors import BadDeclaration
from models.augmenting import CHANGES, augmented
from models.declarations import Model, Training
from models.encoding import EncodedSpec
from models.networks import build
from models.rates import rate


def pictures(size: int, channels: int = 1) -> EncodedSpec:
    shape = (channels, size, size)
    return EncodedSpec({"image": (shape, "float32")}, (), 0, shape, 10, "classification")


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rates(training: Training, steps: int = 4) -> list[float]:
    return [rate(training, number, step, steps) for number in range(1, training.epochs + 1) for step in range(steps)]


def test_a_constant_rate_is_reached_by_equal_steps_of_a_warm_up() -> None:
    assert rates(Training(epochs=2, learning_rate=8.0)) == [8.0] * 8
    assert rates(Training(epochs=2, learning_rate=8.0, warmup=1.0)) == [2.0, 4.0, 6.0, 8.0] + [8.0] * 4


def test_a_cosine_falls_from_the_whole_rate_to_almost_nothing() -> None:
    found = rates(Training(epochs=10, learning_rate=1.0, schedule="cosine", warmup=1.0))
    assert found[3] == max(found) == 1.0
    assert found[4:] == sorted(found[4:], reverse=True)
    assert found[22] == pytest.approx(0.5)
    assert 0 < found[-1] < 0.01


def test_a_step_divides_the_rate_by_ten_at_half_and_at_three_quarters() -> None:
    found = rates(Training(epochs=4, learning_rate=1.0, schedule="step"))
    assert np.allclose(found, [1.0] * 8 + [0.1] * 4 + [0.01] * 4)


@pytest.mark.parametrize(
    ("keys", "hint"),
    [
        ({"schedule": "cosin"}, "cosine"),
        ({"warmup": -1.0}, "warmup"),
        ({"clip": 0.0}, "clip"),
        ({"clip": float("nan")}, "clip"),
        ({"accumulate": 0}, "accumulate"),
        ({"augment": {"flp": 0.5}}, "flip"),
        ({"augment": {"flip": 1.5}}, "probability"),
        ({"augment": {"shift": 0.5}}, "whole pixels"),
        ({"augment": {"noise": float("nan")}}, "deviation"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused_where_it_is_declared(keys: dict[str, object], hint: str) -> None:
    with pytest.raises(BadDeclaration, match=hint):
        Training(**keys)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "border"), [("shift", 0.0), ("crop", None)])
def test_each_picture_is_moved_by_itself_and_by_few_pixels(name: str, border: float | None) -> None:
    images = torch.rand(64, 3, 8, 8, generator=drawn()) + 0.5
    moved = augmented(images, {name: 2}, drawn(1))
    assert moved.shape == images.shape
    mode = "reflect" if border is None else "constant"
    wide = nn.functional.pad(images, (2, 2, 2, 2), mode=mode)
    places = set()
    for picture, padded in zip(moved, wide, strict=True):
        found = [
            (down, across)
            for down in range(5)
            for across in range(5)
            if torch.equal(padded[:, down : down + 8, across : across + 8], picture)
        ]
        assert found
        places.add(found[0])
    assert len(places) > 10


def test_a_picture_turned_is_the_picture_or_its_mirror() -> None:
    images = torch.rand(200, 1, 4, 4, generator=drawn())
    turned = augmented(images, {"flip": 0.5}, drawn(1))
    same = [torch.equal(a, b) for a, b in zip(images, turned, strict=True)]
    mirrored = [torch.equal(a.flip(2), b) for a, b in zip(images, turned, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True))
    assert 60 < sum(same) < 140
    assert torch.equal(augmented(images, {"flip": 0.0}, drawn(1)), images)


def test_noise_keeps_pixels_between_black_and_white() -> None:
    noisy = augmented(torch.full((50, 1, 8, 8), 0.5), {"noise": 0.1}, drawn())
    assert float(noisy.std()) == pytest.approx(0.1, abs=0.01)
    assert float(augmented(torch.zeros(50, 1, 8, 8), {"noise": 0.5}, drawn()).min()) == 0


def test_the_same_draws_change_pictures_the_same_way() -> None:
    images = torch.rand(20, 1, 8, 8, generator=drawn())
    everything = {"crop": 2, "shift": 1, "flip": 0.5, "noise": 0.1}
    assert everything.keys() <= CHANGES.keys()
    assert torch.equal(augmented(images, everything, drawn(3)), augmented(images, everything, drawn(3)))
    assert not torch.equal(augmented(images, everything, drawn(3)), augmented(images, everything, drawn(4)))


def test_the_classic_network_has_its_layers_and_answers_as_the_textbook_writes_it() -> None:
    torch.manual_seed(0)
    network = build(Model(network="classic_cnn"), pictures(28)).eval()
    shapes = [tuple(tensor.shape) for name, tensor in network.named_parameters() if name.endswith("weight")]
    assert shapes == [(32, 1, 3, 3), (64, 32, 3, 3), (64, 1600), (10, 64)]
    first, second = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    dense, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    images = torch.randn(5, 1, 28, 28, generator=drawn())
    maps = nn.functional.max_pool2d(first(images).relu(), 2)
    maps = nn.functional.max_pool2d(second(maps).relu(), 2)
    assert torch.allclose(network(images), last(dense(maps.flatten(1)).relu()), atol=1e-6)
    with pytest.raises(BadDeclaration, match="too small"):
        build(Model(network="classic_cnn"), pictures(8))


def test_a_residual_block_begins_as_its_shortcut() -> None:
    network = build(Model(network="resnet", options={"channels": (8, 16), "blocks": 2}), pictures(9, 3))
    assert network(torch.rand(4, 3, 9, 9)).shape == (4, 10)
    blocks = [module for module in network.modules() if type(module).__name__ == "Residual"]
    assert len(blocks) == 4
    maps = torch.rand(2, 8, 9, 9)
    assert torch.equal(blocks[0](maps), maps)
