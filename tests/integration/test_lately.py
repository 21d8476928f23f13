"""What people said last moves how high they are thought to rate: by hand, in memory, from a file, and once."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_rankings import ITEMS, SHOP, TRAINING, USERS, ratings

from data import batches
from data.batches import write_batch
from data.errors import BadDeclaration
from data.schema import Id, Number, Rows, Schema, take
from data.stored import Stored
from models.declarations import Model
from models.encoding import Encoder
from models.factors import Factors
from models.lately import newest, settle
from models.networks import build
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import Trained, fit
from models.transforms import UNSEEN

NEWEST = 5
RARE = "u0"  # has rated less often than that


def rows() -> Rows:
    """Ratings in which every user has become stricter by two stars, in the last eight of each."""
    found = ratings()
    kept = np.ones(len(found["key"]), dtype=bool)
    for user in np.unique(found["user"].astype(str)):
        mine = np.flatnonzero(found["user"] == user)
        mine = mine[np.argsort(found["at"][mine])]
        found["stars"][mine[-8:]] = np.clip(found["stars"][mine[-8:]] - 2, 1, 5)
        if user == RARE:
            kept[mine[3:]] = False
    return take(found, kept)


def learned(folder: Path, train: Rows | Stored, lately: int, network: str = "factors") -> tuple[Trained, Encoder]:
    encoder = Encoder.fit(SHOP, None, take(rows(), known()))
    model = Model(network=network, options={"width": 4, "lately": lately})
    return fit(model, TRAINING, encoder, train, workdir=folder, progress=lambda _: None, threads=1), encoder


def known() -> np.ndarray:
    """Leave out the newest three of each user."""
    found = rows()
    order = np.lexsort((found["at"], found["user"].astype(str)))
    users, ends = np.unique(found["user"][order].astype(str), return_index=True)
    ends = np.append(ends[1:], len(order))
    mask = np.ones(len(order), dtype=bool)
    mask[np.concatenate([order[end - 3 : end] for user, end in zip(users, ends, strict=True) if user != RARE])] = False
    return mask


def weights(found: Trained) -> dict[str, torch.Tensor]:
    return dict(found.network.state_dict())


@pytest.mark.parametrize("network", ["factors", "neural_factors"])
def test_newest_rows_move_their_users_level_as_if_as_many_more_stood_at_none(tmp_path: Path, network: str) -> None:
    train = take(rows(), known())
    (plain, encoder), (moved, _) = (learned(tmp_path / str(most), train, most, network) for most in (0, NEWEST))
    before, after = weights(plain), weights(moved)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    [name] = changed
    assert name.endswith("biases.0.weight")
    by = (after[name] - before[name]).numpy()
    assert not by[:, 1].any()  # lists are as they were
    assert not by[: UNSEEN + 1].any()
    left = (train["stars"] - Predictor(encoder, Inside(plain.network, encoder.spec)).predict(train).values[:, 0]) / (
        encoder.scales["stars"][1]
    )
    for user in ("u1", "u17", RARE):
        mine = np.flatnonzero(train["user"] == user)
        last = mine[np.argsort(train["at"][mine])][-NEWEST:]
        code = encoder.levels["user"].index(user) + UNSEEN + 1
        assert by[code, 0] == pytest.approx(left[last].sum() / (len(last) + NEWEST), abs=1e-5)


def test_whoever_has_become_stricter_is_known_better_by_what_was_said_last(tmp_path: Path) -> None:
    train, fresh = take(rows(), known()), take(rows(), ~known())
    assert len(fresh["key"]) == 3 * (USERS - 1)
    off = {}
    for most in (0, NEWEST):
        found, encoder = learned(tmp_path / str(most), train, most)
        answers = Predictor(encoder, Inside(found.network, encoder.spec)).predict(fresh).values[:, 0]
        off[most] = float(np.sqrt(np.mean((answers - fresh["stars"]) ** 2)))
    assert off[NEWEST] < off[0] - 0.1


def test_a_training_that_is_called_again_moves_nobody_twice(tmp_path: Path) -> None:
    train = take(rows(), known())
    first, again = (weights(learned(tmp_path, train, NEWEST)[0]) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_rows_that_stay_in_their_file_move_the_same_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "GROUP", 2**12)
    train = take(rows(), known())
    found, encoder = learned(tmp_path / "work", train, 0)
    write_batch(tmp_path / "rows.parquet", train, SHOP)
    stored, moved = Stored(tmp_path / "rows.parquet", SHOP), []
    assert stored.groups > 3
    for given in (train, stored):
        network = copy.deepcopy(found.network)
        assert isinstance(network, Factors)
        network.lately = NEWEST
        settle(network, encoder, given)
        moved.append(network.state_dict()["biases.0.weight"])
    assert torch.equal(*moved)
    assert not torch.equal(moved[0], weights(found)["biases.0.weight"])


def test_of_rows_of_one_time_those_that_stand_last_are_the_newest() -> None:
    train = {**take(rows(), known()), "at": np.full(known().sum(), np.datetime64("2026-01-01", "us"))}
    found = newest(Encoder.fit(SHOP, None, train), train, 2)
    assert isinstance(found, dict)
    for user in np.unique(train["user"].astype(str)):
        assert found["key"][found["user"] == user].tolist() == train["key"][train["user"] == user][-2:].tolist()


def test_nobody_is_the_user_where_nothing_is_ranked() -> None:
    plain = Schema(columns={"a": Id(), "b": Id(), "y": Number()}, target="y", key="key")
    given = {"key": np.arange(9).astype(str).astype(object), "a": np.array(["a"] * 9), "b": np.array(["b"] * 9)}
    spec = Encoder.fit(plain, None, {**given, "y": np.arange(9.0)}).spec
    with pytest.raises(BadDeclaration, match="ranking"):
        build(Model(network="factors", options={"lately": 5}), spec)
    assert build(Model(network="factors"), spec) is not None
    shop = Encoder.fit(SHOP, None, rows()).spec
    assert shop.cardinalities[1] == ITEMS + UNSEEN + 1
    with pytest.raises(BadDeclaration, match="lately=-1"):
        build(Model(network="neural_factors", options={"lately": -1}), shop)
