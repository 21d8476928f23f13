import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BadRow
from data.packing import pack_all, unpack_rows
from data.schema import Category, Image, Number, Schema
from serving.validation import RowReader

SCHEMA = Schema(
    columns={
        "age": Number(low=0, high=120, integer=True),
        "income": Number(nullable=True),
        "colour": Category(levels=("red", "green")),
        "city": Category(levels=("Oslo",), open=True, nullable=True),
        "photo": Image(height=2, width=3, high=16),
        "bought": Category(levels=("yes", "no")),
    },
    target="bought",
    key="order",
    entity="person",
    time="ordered_at",
)
GOOD: dict[str, Any] = {
    "age": 41,
    "income": 3.5,
    "colour": "red",
    "city": "Oslo",
    "photo": [[0, 1, 2], [3, 4, 16]],
}


def read(**changes: Any) -> Any:
    return RowReader(SCHEMA).read([{**GOOD, **changes}], limit=10)[0]


@pytest.mark.parametrize(
    ("changes", "where", "why"),
    [
        ({"age": True}, "rows[0].age", "a number expected, not true or false"),
        ({"age": "41"}, "rows[0].age", "a number expected, not text"),
        ({"age": None}, "rows[0].age", "not null"),
        ({"age": 121}, "rows[0].age", "121 is outside [0, 120]"),
        ({"age": 1.5}, "rows[0].age", "whole number"),
        ({"income": math.nan}, "rows[0].income", "finite"),
        ({"income": -math.inf}, "rows[0].income", "finite"),
        ({"income": [1.0]}, "rows[0].income", "not a list"),
        ({"colour": "gren"}, "rows[0].colour", "did you mean 'green'?"),
        ({"colour": None}, "rows[0].colour", "text expected, not null"),
        ({"colour": 1}, "rows[0].colour", "text expected, not a number"),
        ({"city": "x" * 1001}, "rows[0].city", "at most 1000"),
        ({"city": "a\0"}, "rows[0].city", "without NUL"),
        ({"photo": [[0, 1, 2]]}, "rows[0].photo", "axis 0 has 1 values, not 2"),
        ({"photo": [[0, 1], [2, 3]]}, "rows[0].photo", "axis 1 has 2 values, not 3"),
        ({"photo": [0, 1, 2, 3, 4, 5]}, "rows[0].photo", "axis 0 has 6 values"),
        ({"photo": [[0, 1, 2], [3, 4, 17]]}, "rows[0].photo[1][2]", "0 to 16, not 17"),
        ({"photo": [[0, -1, 2], [3, 4, 1]]}, "rows[0].photo[0][1]", "0 to 16, not -1"),
        ({"photo": [[0, 1, 2], [3, 4, 10**18]]}, "rows[0].photo[1][2]", "not 1000000000000000000"),
        ({"photo": [[0, 1, 2], [3, True, 1]]}, "rows[0].photo[1][1]", "not true or false"),
        ({"photo": [[0, 1, 2], [3, 0.5, 1]]}, "rows[0].photo[1][1]", "not 0.5"),
        ({"photo": [[0, 1, 2], [3, [1], 1]]}, "rows[0].photo[1][1]", "not a list"),
        ({"photo": "aGk="}, "rows[0].photo", "is not a PNG file"),
        ({"agee": 3}, "rows[0].agee", "did you mean 'age'?"),
        ({"bought": "yes"}, "rows[0].bought", "send it later, as a label"),
        ({"id": ""}, "rows[0].id", "1 to 200"),
        ({"id": 7}, "rows[0].id", "text expected"),
        ({"id": "a\nb"}, "rows[0].id", "printable"),
        ({"id": "a", "order": "b"}, "rows[0]", "given twice"),
        ({"time": "2026-01-01T00:00:00"}, "rows[0].time", "names no offset"),
        ({"time": "yesterday"}, "rows[0].time", "no ISO 8601"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "rows[0].time", "no ISO 8601"),
        ({"time": "9999-01-01T00:00:00Z"}, "rows[0].time", "future"),
        ({"time": 1}, "rows[0].time", "not a number"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place_and_the_reason(
    changes: dict[str, Any], where: str, why: str
) -> None:
    with pytest.raises(BadRow) as refused:
        read(**changes)
    assert refused.value.where.startswith(where)
    assert why in refused.value.why


@pytest.mark.parametrize("rows", [None, {}, [], [1], [None], ["x"], [[]], 3])
def test_rows_that_are_no_list_of_objects_are_refused(rows: Any) -> None:
    with pytest.raises(BadRow):
        RowReader(SCHEMA).read(rows, limit=10)


def test_a_missing_column_is_named_and_a_misspelt_one_is_named_with_the_right_one() -> None:
    reader = RowReader(SCHEMA)
    without = {name: value for name, value in GOOD.items() if name != "income"}
    with pytest.raises(BadRow, match=r"rows\[0\]\.income: missing; send null if unknown"):
        reader.read([without], limit=1)
    with pytest.raises(BadRow, match=r"rows\[0\]\.incme: unknown key; did you mean 'income'\?"):
        reader.read([{**without, "incme": 1}], limit=1)


def test_too_many_rows_and_duplicate_ids_are_refused() -> None:
    reader = RowReader(SCHEMA)
    with pytest.raises(BadRow, match="2 rows; at most 1"):
        reader.read([GOOD, GOOD], limit=1)
    with pytest.raises(BadRow, match=r"rows\[1\]\.id: 'a' is the id of rows\[0\] too"):
        reader.read([{**GOOD, "id": "a"}, {**GOOD, "order": "a"}], limit=2)


def test_what_is_read_is_what_the_log_keeps() -> None:
    reader = RowReader(SCHEMA)
    read_rows = reader.read(
        [
            {**GOOD, "id": "a", "person": "p1", "ordered_at": "2026-01-31T12:00:00.5+01:00", "city": "Bergen"},
            {**GOOD, "income": None, "city": None, "age": 3.0, "photo": [[1.0, 2, 3], [4, 5, 6]]},
        ],
        limit=2,
    )
    rows = reader.columns(read_rows)
    back = unpack_rows(SCHEMA, pack_all(SCHEMA, rows))
    assert read_rows[0].time == datetime(2026, 1, 31, 11, 0, 0, 500_000, tzinfo=UTC)
    assert rows["person"].tolist() == ["p1", read_rows[1].id]
    assert rows["city"].tolist() == ["Bergen", None]
    assert rows["photo"].dtype == np.uint8
    for name, values in rows.items():
        np.testing.assert_array_equal(values, back[name])


def test_a_feature_named_id_is_the_feature_and_the_key_keeps_its_own_name() -> None:
    schema = Schema(columns={"id": Number(), "y": Number()}, target="y", key="row")
    row = RowReader(schema).read([{"id": 4, "row": "r1"}], limit=1)[0]
    assert (row.id, row.values) == ("r1", [4.0])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["red", "Oslo"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "id", "time", "x"]), inner),
    max_leaves=12,
)


@given(changes=st.dictionaries(st.sampled_from([*GOOD, "id", "person", "time", "y"]), ANYTHING, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_row_is_either_refused_by_name_or_logged_exactly(changes: dict[str, Any]) -> None:
    reader = RowReader(SCHEMA)
    try:
        rows = reader.columns(reader.read([{**GOOD, **changes}], limit=1))
    except BadRow:
        return
    back = unpack_rows(SCHEMA, pack_all(SCHEMA, rows))
    for name, values in rows.items():
        np.testing.assert_array_equal(values, back[name])
