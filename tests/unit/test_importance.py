import numpy as np
import pytest
import torch
from torch import nn

from data.schema import Category, Number, Rows, Schema
from models import importance as room
from models.encoding import Encoder
from models.importance import importance
from models.predictor import Predictor
from models.torch_session import Inside

SCHEMA = Schema(
    columns={"much": Number(), "little": Number(), "nothing": Number(), "fruit": Category(levels=("apple", "pear"))},
    target="fruit",
    key="id",
)


def rows(count: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    made: Rows = {name: rng.normal(size=count) for name in ("much", "little", "nothing")}
    truth = np.where(made["much"] * 2 + made["little"] > 0, "pear", "apple").astype(object)
    return {**made, "id": np.array([str(at) for at in range(count)], dtype=object), "fruit": truth}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    encoder = Encoder.fit(SCHEMA, None, rows(500, 0))
    network = nn.Linear(3, 2, bias=False).eval()
    network.weight.data = torch.tensor([[-2.0, -1.0, 0.0], [2.0, 1.0, 0.0]])
    return Predictor(encoder, Inside(_Numbers(network), encoder.spec))


class _Numbers(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(numbers)
        return found


def test_a_column_is_worth_what_the_metric_loses_without_it(predictor: Predictor) -> None:
    worth = importance(predictor, rows(3000, 1), "accuracy", seed=3)
    assert worth["much"] > worth["little"] > 0.05
    assert worth["nothing"] == 0.0
    assert importance(predictor, rows(3000, 1), "accuracy", seed=3) == worth
    assert importance(predictor, rows(3000, 1), "log_loss", seed=3)["much"] > 0.1  # lower is better, and is lost too


def test_columns_that_no_time_is_left_for_have_no_importance(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SECONDS", -1.0)
    assert importance(predictor, rows(100, 1), "accuracy", seed=3) == {}
