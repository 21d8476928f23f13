import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.errors import BadDeclaration, BadRow, Corrupt
from data.schema import Category, Image, Number, Rows, Schema
from models.declarations import Features
from models.encoding import Encoder
from models.features import code_sha256
from models.transforms import NULL, UNSEEN

SCHEMA = Schema(
    columns={
        "age": Number(nullable=True),
        "weight": Number(),
        "kind": Category(levels=("cat", "dog", "owl"), open=True, nullable=True),
        "photo": Image(height=2, width=3, channels=3, high=200),
        "label": Category(levels=("no", "yes")),
    },
    target="label",
    key="id",
)
DOUBLED = {"double": Number()}


def objects(*values: str | None) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def pets() -> Rows:
    return {
        "id": objects("a", "b", "c", "d"),
        "age": np.array([1.0, np.nan, 3.0, 5.0]),
        "weight": np.array([2.0, 2.0, 2.0, 2.0]),
        "kind": objects("dog", "cat", None, "dog"),
        "photo": np.arange(4 * 18, dtype=np.uint8).reshape(4, 2, 3, 3),
        "label": objects("yes", "no", "no", "yes"),
    }


def twice(rows: Rows) -> Rows:
    return {"double": rows["weight"] * FACTOR}


FACTOR = 2.0


def test_encoder_gives_each_kind_of_column_its_own_input() -> None:
    rows = pets()
    encoder = Encoder.fit(SCHEMA, None, rows)
    inputs = encoder.encode(rows)
    spec = encoder.spec
    assert list(inputs) == list(spec.inputs) == ["image", "numbers", "codes"]
    for name, (shape, kind) in spec.inputs.items():
        assert inputs[name].shape == (4, *shape)
        assert inputs[name].dtype == kind
    assert inputs["image"][1, 2, 0, 1] == np.float32(rows["photo"][1, 0, 1, 2] / 200)
    ages, weights, missing = inputs["numbers"].T
    assert missing.tolist() == [0, 1, 0, 0]
    assert ages[1] == 0
    assert ages.mean() == pytest.approx(0)
    assert not weights.any()  # a constant column says nothing, and divides by nothing
    assert (spec.outputs, spec.numbers, spec.images, spec.cardinalities) == (2, 3, (3, 2, 3), (4,))


def test_first_movement_of_a_constant_column_stays_small() -> None:
    still = {**pets(), "weight": np.full(4, 0.422915)}
    many = {name: np.concatenate([values] * 75) for name, values in still.items()}  # their deviation rounds to 1e-16
    encoder = Encoder.fit(SCHEMA, None, many)
    moved = encoder.encode({**still, "weight": np.array([0.422915, 0.3, 0.5, 1.0])})["numbers"][:, 1]
    assert np.abs(moved).max() < 1


def test_null_unseen_and_known_levels_have_codes_of_their_own() -> None:
    encoder = Encoder.fit(SCHEMA, None, pets())
    rows = {**pets(), "kind": objects("cat", None, "axolotl", "owl")}  # training saw no owl either
    assert encoder.encode(rows)["codes"][:, 0].tolist() == [2, NULL, UNSEEN, UNSEEN]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=2, max_size=20))
@example([1.7e308, 1.7e308])  # their sum is no number
@settings(max_examples=60, deadline=None)
def test_every_number_is_encoded_to_a_finite_one(values: list[float]) -> None:
    schema = Schema(columns={"x": Number(nullable=True), "y": Number()}, target="y", key="id")
    rows = {"x": np.array(values), "y": np.zeros(len(values)), "id": np.arange(len(values)).astype(str).astype(object)}
    assert np.isfinite(Encoder.fit(schema, None, rows).encode(rows)["numbers"]).all()
    assert np.isfinite(Encoder.fit(schema, None, {**rows, "x": rows["y"]}).encode(rows)["numbers"]).all()


def test_answers_are_probabilities_in_the_order_of_the_levels() -> None:
    outputs = Encoder.fit(SCHEMA, None, pets()).decode(np.array([[1000.0, 0.0], [0.0, np.log(3.0)]]))
    assert outputs.answers()[1] == {
        "class": "yes",
        "confidence": pytest.approx(0.75),
        "probabilities": {"no": pytest.approx(0.25), "yes": pytest.approx(0.75)},
    }
    assert outputs.predictions.tolist() == ["no", "yes"]


def test_values_come_back_in_the_unit_of_the_target() -> None:
    schema = Schema(columns={"x": Number(), "price": Number()}, target="price", key="id")
    rows = {"x": np.arange(5.0), "price": np.array([100.0, 200.0, 300.0, 400.0, 1000.0]), "id": objects(*"abcde")}
    encoder = Encoder.fit(schema, None, rows)
    assert encoder.target(rows).dtype == np.float32
    assert encoder.decode(encoder.target(rows)[:, None]).predictions == pytest.approx(rows["price"])
    with pytest.raises(BadRow, match=r"rows\[1\]\.price"):
        encoder.target({**rows, "price": np.array([1.0, np.nan])})


def test_a_label_that_is_no_level_is_named() -> None:
    with pytest.raises(BadRow, match=r"rows\[2\]\.label: 'perhaps'"):
        Encoder.fit(SCHEMA, None, pets()).target({**pets(), "label": objects("no", "yes", "perhaps")})


def test_an_encoder_read_from_json_encodes_the_same() -> None:
    features = Features(columns=DOUBLED, compute=twice)
    encoder = Encoder.fit(SCHEMA, features, pets())
    again = Encoder.from_json(encoder.to_json(), features)
    assert again == encoder
    for name, values in encoder.encode(pets()).items():
        assert np.array_equal(again.encode(pets())[name], values)


def test_feature_code_is_known_by_what_it_does_and_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features(columns=DOUBLED, compute=twice)
    stored = Encoder.fit(SCHEMA, features, pets()).to_json()
    with pytest.raises(Corrupt, match="feature code"):
        Encoder.from_json(stored, None)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    with pytest.raises(Corrupt, match="feature code"):
        Encoder.from_json(stored, features)
    assert code_sha256(twice) != code_sha256(pets)


def test_feature_code_that_loses_rows_or_columns_is_refused() -> None:
    for wrong in (lambda rows: {}, lambda rows: {"double": rows["weight"][:1]}):
        with pytest.raises(BadDeclaration, match="double"):
            Encoder.fit(SCHEMA, Features(columns=DOUBLED, compute=wrong), pets())


def test_what_answers_needs_no_training_or_registry_library() -> None:
    heavy = "('torch', 'mlflow', 'pandas', 'sklearn', 'lightning_fabric', 'safetensors', 'prefect')"
    code = f"import sys, models.predictor; sys.exit(', '.join(m for m in {heavy} if m in sys.modules) or 0)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert found.returncode == 0
