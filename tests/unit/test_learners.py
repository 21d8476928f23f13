import numpy as np
import pytest

from data.schema import Category, Image, Number, Rows, Schema
from models import learners
from models.encoding import Encoder
from models.learners import learned_answers, smaller

BOTH = ("linear", "tree")
CLASSES = Schema(
    columns={
        "size": Number(),
        "colour": Category(levels=("red", "blue"), open=True),
        "picture": Image(height=4, width=4, high=8),
        "kind": Category(levels=("a", "b", "c")),
    },
    target="kind",
    key="id",
)
NUMBERS = Schema(columns={"size": Number(), "price": Number()}, target="price", key="id")


def things(count: int, seed: int = 0, kinds: tuple[str, ...] = ("a", "b")) -> Rows:
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=count), rng.choice(["red", "blue", "green"], count).astype(object)
    pictures = rng.integers(0, 9, (count, 4, 4)).astype(np.uint8)
    kind = np.where((size > 0) ^ (colour == "red"), kinds[0], kinds[-1]).astype(object)
    return {
        "id": np.arange(count).astype(str).astype(object),
        "size": size,
        "colour": colour,
        "picture": pictures,
        "kind": kind,
    }


def shares(rows: Rows, answers: np.ndarray) -> float:
    return float((np.array(["a", "b", "c"])[answers.argmax(axis=1)] == rows["kind"]).mean())


def test_both_learn_from_numbers_codes_and_pictures_and_a_tree_sees_what_a_line_does_not() -> None:
    train, rows = things(600), things(300, seed=1)
    encoder = Encoder.fit(CLASSES, None, train)
    found = learned_answers(BOTH, encoder, train, rows, seed=3)
    for one in found.values():
        values = one.values
        assert one.seconds > 0
        assert one.mb > 0
        assert values.shape == (300, 3)
        assert np.allclose(values.sum(axis=1), 1)
        assert (values[:, 2] == 0).all()  # no row of this class was there to learn from
    assert shares(rows, found["tree"].values) > 0.85
    assert 0.55 < shares(rows, found["linear"].values) < shares(rows, found["tree"].values)  # it is an exclusive or
    again = learned_answers(BOTH, encoder, train, rows, seed=3)
    assert all((found[name].values == again[name].values).all() for name in BOTH)


def test_what_they_are_given_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    train = things(400)
    encoder = Encoder.fit(CLASSES, None, train)
    seen: list[int] = []

    def noted(learner: object, known: np.ndarray, truth: np.ndarray) -> tuple[object, float]:
        seen.append(len(known))
        return learner.fit(known, truth), 0.0  # type: ignore[attr-defined]

    monkeypatch.setattr(learners, "fitted", noted)
    monkeypatch.setattr(learners, "CELLS", 100 * 20)
    learned_answers(("tree",), encoder, train, things(10), seed=0)
    [rows] = seen
    assert 80 <= rows <= 120
    assert smaller(np.ones((2, 3, 65, 40), np.float32)).shape == (2, 3, 21, 20)
    assert smaller(np.arange(16.0).reshape(1, 1, 4, 4)).shape == (1, 1, 4, 4)


def test_numbers_are_answered_in_their_own_unit() -> None:
    rng = np.random.default_rng(0)
    size = rng.normal(size=500)
    rows = {"id": np.arange(500).astype(str).astype(object), "size": size, "price": 1000 + 50 * size}
    encoder = Encoder.fit(NUMBERS, None, rows)
    for one in learned_answers((*BOTH, "boosted"), encoder, rows, rows, seed=0).values():
        assert np.abs(one.values[:, 0] - rows["price"]).mean() < 5


def test_one_class_alone_or_no_rows_break_nothing() -> None:
    train = things(50, kinds=("b", "b"))
    encoder = Encoder.fit(CLASSES, None, train)
    found = learned_answers(BOTH, encoder, train, things(5), seed=0)
    assert all((one.values == [0, 1, 0]).all() for one in found.values())
    none = {name: values[:0] for name, values in train.items()}
    empty = learned_answers(BOTH, encoder, train, none, seed=0)
    assert {name: one.values.shape for name, one in empty.items()} == {"linear": (0, 3), "tree": (0, 3)}
    assert learned_answers((), encoder, train, none, seed=0) == {}
