import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.errors import BadDeclaration, OutOfMemory, TooFewRows
from data.schema import Category, Image, Number, Rows, Schema, take
from models.declarations import Model, Training
from models.encoding import EncodedSpec, Encoder
from models.training import Epoch, Trained, fit, weights_sha256

DEVICE = os.environ.get("HOLDFAST_DEVICE", "cpu")
FLOWERS = Schema(
    columns={"width": Number(), "height": Number(), "kind": Category(levels=("round", "long"))},
    target="kind",
    key="id",
)
TRAINING = Training(seed=3, epochs=12, batch_size=32, learning_rate=1e-2, patience=12, device=DEVICE)  # type: ignore[arg-type]


def flowers(count: int = 200) -> Rows:
    generator = np.random.default_rng(0)
    width, height = generator.normal(size=(2, count))
    return {
        "id": np.arange(count).astype(str).astype(object),
        "width": width,
        "height": height,
        "kind": np.where(width > height, "round", "long").astype(object),
    }


def trained(workdir: Path, training: Training = TRAINING, model: Model | None = None, **more: Any) -> Trained:
    rows = flowers()
    encoder = Encoder.fit(FLOWERS, None, rows)
    more.setdefault("progress", lambda epoch: None)
    return fit(model or Model(network="mlp"), training, encoder, rows, workdir=workdir, **more)


def replaced(**keys: Any) -> Training:
    return dataclasses.replace(TRAINING, **keys)  # type: ignore[type-var]


def test_the_same_rows_and_seed_give_the_same_weights(tmp_path: Path) -> None:
    first, again = (trained(tmp_path / name) for name in "ab")
    other = trained(tmp_path / "c", replaced(seed=4))
    assert weights_sha256(first.network) == weights_sha256(again.network)
    assert weights_sha256(first.network) != weights_sha256(other.network)
    assert first.history[-1].metric > 0.9


def test_rows_that_do_not_fit_are_encoded_batch_by_batch_to_the_same_weights(tmp_path: Path) -> None:
    resident, streamed = trained(tmp_path / "a"), trained(tmp_path / "b", memory=0)
    assert weights_sha256(resident.network) == weights_sha256(streamed.network)


KILLED = """
import sys
from pathlib import Path
from tests_training import TRAINING, trained
from models.training import weights_sha256
result = trained(Path(sys.argv[1]), progress=lambda epoch: print(epoch.number, flush=True))
print(weights_sha256(result.network), len(result.history))
"""


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_killed_training_goes_on_to_the_weights_of_one_that_was_not(tmp_path: Path, optimizer: str) -> None:
    training = f"replaced(optimizer={optimizer!r})"
    code = KILLED.replace("tests_training import TRAINING, trained", f"{Path(__file__).stem} import replaced, trained")
    code = code.replace("Path(sys.argv[1]), ", f"Path(sys.argv[1]), {training}, ")
    command = [sys.executable, "-c", code, str(tmp_path / "killed")]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=here) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "4":
                child.send_signal(signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL
    seen: list[int] = []
    resumed = trained(
        tmp_path / "killed", replaced(optimizer=optimizer), progress=lambda epoch: seen.append(epoch.number)
    )
    whole = trained(tmp_path / "whole", replaced(optimizer=optimizer))
    assert 5 <= seen[0] <= 12
    assert len(resumed.history) == 12
    assert weights_sha256(resumed.network) == weights_sha256(whole.network)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_used(tmp_path: Path) -> None:
    trained(tmp_path, replaced(epochs=2))
    seen: list[Epoch] = []
    trained(tmp_path, replaced(epochs=3), progress=seen.append)
    assert len(seen) == 3
    (tensors,) = tmp_path.glob("epoch-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x7f")
    again: list[Epoch] = []
    trained(tmp_path, replaced(epochs=3), progress=again.append)
    assert [epoch.train_loss for epoch in again] == [epoch.train_loss for epoch in seen]
    trained(tmp_path, replaced(epochs=3), progress=lambda epoch: pytest.fail("a finished training ran again"))


def test_training_stops_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    result = trained(tmp_path, replaced(learning_rate=0.3, epochs=60, patience=3))
    losses = [epoch.validation_loss for epoch in result.history]
    assert len(losses) < 60
    assert len(losses) == result.best + 3
    assert min(losses) == losses[result.best - 1]
    shorter = trained(tmp_path / "short", replaced(learning_rate=0.3, epochs=result.best, patience=3))
    assert weights_sha256(shorter.network) == weights_sha256(result.network)


def test_a_loss_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDeclaration, match="learning_rate"):
        trained(tmp_path, replaced(learning_rate=1e30, optimizer="sgd"))


class Hungry(nn.Module):
    """Asks for a petabyte."""

    def __init__(self, spec: EncodedSpec) -> None:
        super().__init__()
        self.layer = nn.Linear(spec.numbers, spec.outputs)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.layer(numbers) + torch.empty(2**48, device=numbers.device).sum()


def test_a_device_without_room_names_the_batch_size_and_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match=r"32 rows: try batch_size=16"):
        trained(tmp_path, model=Model(network=Hungry))


class Unfit(nn.Module):
    """Returns too many outputs."""

    def __init__(self, spec: EncodedSpec) -> None:
        super().__init__()
        self.layer = nn.Linear(spec.numbers, 7)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.layer(numbers)


def test_what_can_not_be_trained_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadDeclaration, match=r"\(32, 7\)"):
        trained(tmp_path, model=Model(network=Unfit))
    with pytest.raises(BadDeclaration, match="augment"):
        trained(tmp_path, replaced(augment=lambda images, generator: images))
    rows = take(flowers(), np.array([0]))
    with pytest.raises(TooFewRows):
        fit(
            Model(network="mlp"),
            TRAINING,
            Encoder.fit(FLOWERS, None, rows),
            rows,
            workdir=tmp_path,
            progress=lambda epoch: None,
        )


def test_two_devices_learn_together_and_the_same_each_time(tmp_path: Path) -> None:
    two = replaced(device="cpu", devices=2, epochs=4)
    seen: list[Epoch] = []
    first, again = (trained(tmp_path / name, two, progress=seen.append) for name in "ab")
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert weights_sha256(first.network) == weights_sha256(again.network)
    alone = trained(tmp_path / "c", replaced(device="cpu", epochs=4))
    assert first.history[-1].train_loss == pytest.approx(alone.history[-1].train_loss, abs=0.1)
    with pytest.raises(OutOfMemory, match="batch_size=16"):
        trained(tmp_path / "d", two, Model(network=Hungry))


def test_training_leaves_torch_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state(), torch.get_num_threads()
    trained(tmp_path, replaced(epochs=1), threads=1)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_value_is_learned_in_its_own_unit(tmp_path: Path) -> None:
    schema = Schema(columns={"x": Number(), "price": Number()}, target="price", key="id")
    x = np.random.default_rng(0).uniform(-1, 1, 300)
    rows = {"x": x, "price": 50_000 + 10_000 * x, "id": np.arange(300).astype(str).astype(object)}
    encoder = Encoder.fit(schema, None, rows)
    training = replaced(epochs=40, patience=40)
    model = Model(network="mlp", options={"dropout": 0.0})
    result = fit(model, training, encoder, rows, workdir=tmp_path, progress=lambda epoch: None)
    assert result.history[result.best - 1].metric < 1_000
    with torch.inference_mode():
        inputs = [torch.from_numpy(values) for values in encoder.encode(rows).values()]
        answers = encoder.decode(result.network(*inputs).numpy()).predictions
    assert np.abs(answers - rows["price"]).mean() < 1_000


def moved(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    across, down = torch.randint(-1, 2, (2,), generator=generator).tolist()
    return images.roll((down, across), dims=(2, 3))


def test_the_cnn_learns_digits_in_seconds_and_the_same_each_time(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    bundled = load_digits()
    schema = Schema(
        columns={"image": Image(height=8, width=8, high=16), "digit": Category(levels=tuple("0123456789"))},
        target="digit",
        key="id",
    )
    rows = {
        "id": np.arange(1797).astype(str).astype(object),
        "image": bundled.images.astype(np.uint8),
        "digit": bundled.target.astype(str).astype(object),
    }
    order = np.random.default_rng(1).permutation(1797)
    train, unseen = take(rows, order[:550]), take(rows, order[1200:])
    encoder = Encoder.fit(schema, None, train)
    training = Training(epochs=15, learning_rate=2e-3, augment=moved, device=DEVICE)  # type: ignore[arg-type]
    result = fit(
        Model(network="cnn"), training, encoder, train, workdir=tmp_path, progress=lambda epoch: None, threads=1
    )
    with torch.inference_mode():
        outputs = result.network(torch.from_numpy(encoder.encode(unseen)["image"])).numpy()
    assert np.mean(encoder.decode(outputs).predictions == unseen["digit"]) >= 0.95
