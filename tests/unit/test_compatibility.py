import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BadRow
from data.schema import Category, Column, Image, Number, Schema
from models.compatibility import incompatibilities, unaskable
from serving.validation import RowReader

WORDS = ("a", "b", "c")
NAMES = ("size", "colour", "picture", "id", "time")
ends = st.one_of(st.none(), st.sampled_from([-2.0, -1.5, 0.0, 1.0, 2.0]))
numbers = st.builds(
    lambda low, high, integer, nullable: Number(
        low=low,
        high=high if low is None or high is None else max(low, high),
        integer=integer and (low is None or low.is_integer()),
        nullable=nullable,
    ),
    ends,
    ends,
    st.booleans(),
    st.booleans(),
)
categories = st.builds(
    lambda levels, open_, nullable: Category(levels=tuple(levels), open=open_, nullable=nullable),
    st.lists(st.sampled_from([*WORDS, "x" * 1001]), min_size=1, unique=True),
    st.booleans(),
    st.booleans(),
)
images = st.builds(lambda side, high: Image(height=side, width=2, high=high), st.integers(1, 2), st.integers(1, 3))
columns = st.one_of(numbers, categories, images)


@st.composite
def schemas(draw: st.DrawFn, usual: Schema | None = None) -> Schema:
    """Any schema; or, of a usual one, a near relation: most pairs of quite different ones are incompatible."""
    if usual is None:
        features = draw(st.dictionaries(st.sampled_from(NAMES), columns, min_size=1, max_size=3))
    else:
        features = {name: draw(st.one_of(st.just(column), columns)) for name, column in usual.features.items()}
        for name in draw(st.sets(st.sampled_from(NAMES), max_size=1)):
            features.pop(name, None)
        features |= draw(st.one_of(st.just({}), st.dictionaries(st.sampled_from(NAMES), columns, max_size=1)))
    time, entity = draw(st.sampled_from([None, "at"])), draw(st.sampled_from([None, "key", "owner"]))
    return Schema(
        columns={**features, "label": Category(levels=WORDS)}, target="label", key="key", time=time, entity=entity
    )


def values(column: Column) -> st.SearchStrategy[Any]:
    match column:
        case Number():
            low = -5.0 if column.low is None else column.low
            high = max(low, 5.0 if column.high is None else column.high)
            fit: st.SearchStrategy[Any] = st.one_of(st.just(low), st.just(high), st.floats(low, high))
            if column.integer:
                fit = fit.map(round).filter(lambda value: low <= value <= high)
        case Category():
            fit = st.sampled_from(column.levels)
            if column.open:
                fit = st.one_of(fit, st.just("never declared"))
        case Image():
            pixel = st.integers(0, column.high)
            line = st.lists(pixel, min_size=column.width, max_size=column.width)
            return st.lists(line, min_size=column.height, max_size=column.height)
    return st.one_of(st.none(), fit) if column.nullable else fit


def requests(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    keys = ("id", "key", "entity", "owner", "time", "at")
    given_keys = st.fixed_dictionaries({}, optional={key: st.just("2026-01-05T00:00:00Z") for key in keys})
    row = st.fixed_dictionaries({name: values(column) for name, column in schema.features.items()})
    return st.builds(lambda known, fit: {**known, **fit}, given_keys, row)


def accepts(schema: Schema, row: dict[str, Any]) -> bool:
    try:
        RowReader(schema).read([row], limit=1)
    except BadRow:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_the_champion_accepts_a_compatible_candidate_accepts(data: st.DataObject) -> None:
    champion = data.draw(schemas())
    candidate = data.draw(st.one_of(schemas(champion), schemas()))
    row = data.draw(requests(champion))
    if accepts(champion, row) and not accepts(candidate, row):
        assert incompatibilities(champion, candidate), json.dumps(row)


PLUM = Schema(
    columns={
        "size": Number(low=0.0, high=9.0, nullable=True),
        "colour": Category(levels=("red", "blue")),
        "note": Category(levels=("plain",), open=True),
        "picture": Image(height=2, width=2, high=16),
        "ripe": Category(levels=("no", "yes")),
    },
    target="ripe",
    key="plum",
    time="picked",
    entity="tree",
)
ROW = {"size": 9.0, "colour": "red", "note": "plain", "picture": [[0, 16], [3, 4]]}


def with_column(name: str, column: Column) -> Schema:
    return replace(PLUM, columns={**PLUM.columns, name: column})


@pytest.mark.parametrize(
    ("after", "row", "said"),
    [
        (with_column("weight", Number(nullable=True)), {}, "'weight' is asked for and was not"),
        (
            replace(PLUM, columns={name: column for name, column in PLUM.columns.items() if name != "note"}),
            {},
            "'note' is no longer known",
        ),
        (
            with_column("size", Number(low=1.0, high=9.0, nullable=True)),
            {"size": 0.0},
            "is at least 1 and was at least 0",
        ),
        (with_column("size", Number(low=0.0, high=8.5, nullable=True)), {}, "is at most 8.5 and was at most 9"),
        (with_column("size", Number(low=0.0, high=9.0)), {"size": None}, "'size' may no longer be null"),
        (
            with_column("size", Number(low=0.0, high=9.0, nullable=True, integer=True)),
            {"size": 0.5},
            "'size' must be a whole number",
        ),
        (with_column("size", Category(levels=("9",))), {}, "'size' is a Category and was a Number"),
        (with_column("colour", Category(levels=("blue",))), {}, "'colour' no longer has 'red'"),
        (with_column("note", Category(levels=("plain",))), {"note": "new"}, "no longer takes levels"),
        (with_column("picture", Image(height=2, width=3, high=16)), {}, "has the shape (2, 3) and had (2, 2)"),
        (with_column("picture", Image(height=2, width=2, high=15)), {}, "pixels up to 15"),
        (replace(PLUM, key="fruit"), {"plum": "p1"}, "'plum' no longer names the key"),
        (replace(PLUM, time=None), {"time": "2026-01-05T00:00:00Z"}, "'time' no longer names the time"),
    ],
)
def test_each_change_for_the_worse_is_named_and_refuses_a_request(
    after: Schema, row: dict[str, Any], said: str
) -> None:
    assert accepts(PLUM, {**ROW, **row})
    assert not accepts(after, {**ROW, **row})
    assert said in "; ".join(incompatibilities(PLUM, after))


@pytest.mark.parametrize(
    "after",
    [
        PLUM,
        with_column("size", Number(nullable=True)),
        with_column("colour", Category(levels=("blue", "green", "red"), open=True, nullable=True)),
        with_column("picture", Image(height=2, width=2, high=255)),
        replace(PLUM, columns=dict(reversed(PLUM.columns.items()))),
        with_column("ripe", Category(levels=("no", "yes", "rotten"))),
    ],
)
def test_a_schema_that_takes_more_is_compatible(after: Schema) -> None:
    assert incompatibilities(PLUM, after) == ()
    assert accepts(after, ROW)


def test_labels_must_go_on_being_accepted() -> None:
    fewer = with_column("ripe", Category(levels=("yes",)))
    assert incompatibilities(PLUM, fewer) == ("the label 'ripe' no longer has 'no'",)
    other = replace(PLUM, target="colour")
    assert "the label is 'colour' and was 'ripe'" in incompatibilities(PLUM, other)


def test_a_version_can_be_asked_about_rows_that_have_its_columns() -> None:
    fewer = replace(PLUM, columns={name: column for name, column in PLUM.columns.items() if name != "note"})
    assert unaskable(fewer, PLUM) == ""
    assert unaskable(PLUM, fewer) == "they have no 'note'"
    assert "another kind" in unaskable(PLUM, with_column("size", Category(levels=("s",))))
    assert "another kind" in unaskable(PLUM, with_column("picture", Image(height=4, width=4, high=16)))
    assert "another kind than" in unaskable(PLUM, with_column("ripe", Number()))
    assert unaskable(replace(PLUM, target="colour"), PLUM) == "they have no 'ripe'"
