import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BadRow, Corrupt
from data.packing import pack_all, pack_row, row_hash, unpack_rows
from data.schema import Category, Image, Number, Rows, Schema, concatenate

SCHEMA = Schema(
    columns={
        "size": Number(nullable=True),
        "colour": Category(levels=("red", "blue"), open=True, nullable=True),
        "front": Image(height=2, width=3),
        "back": Image(height=1, width=2, channels=3),
        "good": Category(levels=("y", "n")),
    },
    target="good",
    key="id",
    time="at",
    entity="box",
)


@st.composite
def one_row(draw: st.DrawFn) -> Rows:
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    pixels = draw(st.binary(min_size=12, max_size=12))
    moment = draw(st.none() | st.integers(-(10**15), 10**16))
    return {
        "id": np.array([draw(text)], dtype=object),
        "box": np.array([draw(st.none() | text)], dtype=object),
        "at": np.array(["NaT" if moment is None else moment], dtype="datetime64[us]"),
        "size": np.array([draw(st.floats(allow_infinity=False))]),
        "colour": np.array([draw(st.none() | text)], dtype=object),
        "front": np.frombuffer(pixels[:6], np.uint8).reshape(1, 2, 3),
        "back": np.frombuffer(pixels[6:], np.uint8).reshape(1, 1, 2, 3),
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(one_row(), min_size=1, max_size=4))
def test_packed_rows_come_back_exactly(parts: list[Rows]) -> None:
    rows = concatenate(parts)
    packed = pack_all(SCHEMA, rows)
    again = unpack_rows(SCHEMA, packed)
    assert set(again) == set(rows)
    for name, values in rows.items():
        assert again[name].dtype == values.dtype
        assert again[name].shape == values.shape
        np.testing.assert_array_equal(again[name], values)
    assert pack_all(SCHEMA, again) == packed == [pack_row(SCHEMA, rows, i) for i in range(len(parts))]


def test_a_log_without_rows_unpacks_to_columns_without_rows() -> None:
    empty = unpack_rows(SCHEMA, [])
    assert empty["front"].shape == (0, 2, 3)
    assert empty["at"].dtype == "datetime64[us]"


def some_row() -> Rows:
    return one_row_with(size=1.5, key="a")


def one_row_with(size: float, key: str) -> Rows:
    return {
        "id": np.array([key], dtype=object),
        "box": np.array([None], dtype=object),
        "at": np.array(["2026-01-01T00:00:00.000001"], dtype="datetime64[us]"),
        "size": np.array([size]),
        "colour": np.array(["red"], dtype=object),
        "front": np.zeros((1, 2, 3), np.uint8),
        "back": np.zeros((1, 1, 2, 3), np.uint8),
    }


@pytest.mark.parametrize("row", [one_row_with(float("inf"), "a"), one_row_with(1.0, "\ud800")])
def test_what_json_cannot_hold_is_refused_rather_than_turned_into_null(row: Rows) -> None:
    with pytest.raises(BadRow):
        pack_row(SCHEMA, row, 0)


@pytest.mark.parametrize("broken", [b"", b"{}", b"[1]", pack_row(SCHEMA, some_row(), 0)[:-1], b"\0"])
def test_bytes_of_another_schema_are_corrupt(broken: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack_rows(SCHEMA, [broken])


def test_rows_that_differ_in_one_value_have_different_hashes() -> None:
    rows = [one_row_with(1.0, "a"), one_row_with(float("nan"), "a"), one_row_with(1.0, "b")]
    assert len({row_hash(pack_row(SCHEMA, row, 0)) for row in rows}) == 3
