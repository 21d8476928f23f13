from dataclasses import replace

import numpy as np
import orjson
import pytest

from data.errors import Corrupt
from data.packing import pack_all, unpack_rows
from data.schema import Category, Image, Number, Rows, Schema
from data.unpacking import FEW, unpack_features, unpack_lines
from monitoring.answers import Answers, join, read_lines, read_shortly, read_whole, shortly, whole

MANY = FEW + 500
ODD = ("null", "", "a,b", "]", "[", "a b", "né", "日本", "NaN", "1.5", "true", "'", "|;", "x" * 300)
QUOTED = ("\t", '"', "\\", "\n", "]\n[", "\x00", "\x7f\x1f", '","', "\\u0000")


def schema(*, time: bool = False, entity: bool = False, picture: bool = False) -> Schema:
    pictures: dict[str, Image] = (
        {"small": Image(height=2, width=3), "wide": Image(height=1, width=2, channels=3)} if picture else {}
    )
    return Schema(
        columns={
            "size": Number(nullable=True),
            **pictures,
            "site": Category(levels=ODD, open=True, nullable=True),
            "count": Number(integer=True),
            "kind": Category(levels=("a", "b")),
            "price": Number(),
        },
        target="price",
        key="id",
        time="at" if time else None,
        entity="owner" if entity else None,
    )


def nasty(known: Schema, count: int, texts: tuple[str, ...] = ODD, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    extreme = np.array([0.0, -0.0, 5e-324, 1.7976931348623157e308, -1e-300, 0.1, 1e22, 123456789.123456789])
    size = np.where(rng.random(count) < 0.2, rng.choice(extreme, count), rng.normal(size=count))
    size[rng.random(count) < 0.1] = np.nan
    site = rng.choice(np.array([*texts, None], dtype=object), count)
    rows: Rows = {
        "id": np.array([f"r{n},{n}" for n in range(count)], dtype=object),
        "size": size,
        "site": site,
        "count": rng.integers(-(2**53), 2**53, count).astype(float),
        "kind": rng.choice(np.array(["a", "b", "unseen", "x" * 90], dtype=object), count),
        "at": np.where(rng.random(count) < 0.1, np.datetime64("NaT"), np.datetime64("2026-01-01T00:00:00.000001")),
        "owner": np.array([f"o{n % 7}" for n in range(count)], dtype=object),
        "small": rng.integers(0, 256, (count, 2, 3)).astype(np.uint8),
        "wide": rng.integers(0, 256, (count, 1, 2, 3)).astype(np.uint8),
    }
    rows["small"][::3] = 0  # NUL bytes, as the one before the pixels
    return {name: values for name, values in rows.items() if name in known.names}


def alike(found: Rows, expected: Rows) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        if values.dtype == object:
            assert [(type(one), one) for one in found[name]] == [(type(one), one) for one in values], name
        else:
            assert found[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("roles", [{}, {"time": True}, {"entity": True, "time": True}, {"picture": True, "time": True}])
@pytest.mark.parametrize("count", [1, 17, MANY])
def test_many_rows_are_unpacked_as_one_by_one_bit_for_bit(roles: dict[str, bool], count: int) -> None:
    known = schema(**roles)
    packed = pack_all(known, nasty(known, count))
    expected = {name: unpack_rows(known, packed)[name] for name in known.features}
    alike(unpack_features(known, packed), expected)
    quick = unpack_lines(known, packed)
    assert quick is not None
    alike({name: quick[name] for name in known.features}, expected)


@pytest.mark.parametrize("text", QUOTED)
@pytest.mark.parametrize("picture", [False, True])
def test_texts_that_lines_can_not_hold_are_unpacked_all_the_same(text: str, picture: bool) -> None:
    known = schema(picture=picture)
    packed = pack_all(known, nasty(known, MANY, (text, "plain")))
    alike(unpack_features(known, packed), {name: unpack_rows(known, packed)[name] for name in known.features})


def test_values_of_another_kind_than_the_schema_says_are_read_as_one_by_one() -> None:
    known = schema()
    good = pack_all(known, nasty(known, MANY))
    for odd in ([1.5, 3, 1.0, "a"], [1.5, True, 1.0, "a"], [1.5, "a", 1.0, None], ["2.5", "a", 1.0, "a"]):
        packed = [*good, orjson.dumps(["id", *odd])]
        alike(unpack_features(known, packed), {name: unpack_rows(known, packed)[name] for name in known.features})


@pytest.mark.parametrize(
    "broken",
    [b"", b"[", b'["r",1.0,"a",1.0,"a"', b'["r",1.0,"a",1.0]', b'["r",NaN,"a",1.0,"a"]', b'["r",1.0,"a",1.0,"\xff"]'],
)
def test_a_row_that_was_not_packed_by_this_schema_is_corrupt_among_many(broken: bytes) -> None:
    known = schema()
    good = pack_all(known, nasty(known, MANY))
    for packed in ([broken, *good], [*good, broken], [*good[:5], broken, *good[5:]]):
        with pytest.raises(Corrupt):
            unpack_features(known, packed)


def test_a_picture_cut_short_is_corrupt_among_many() -> None:
    known = schema(picture=True)
    good = pack_all(known, nasty(known, MANY))
    with pytest.raises(Corrupt):
        unpack_features(known, [*good, good[0][:-1]])


def same(found: Answers, expected: Answers) -> None:
    assert found.predicted.tolist() == expected.predicted.tolist() or found.predicted.dtype == float
    for name in ("predicted", "confidence", "probabilities"):
        mine, its = getattr(found, name), getattr(expected, name)
        assert (mine is None) == (its is None)
        if its is not None and its.dtype != object:
            assert mine.tobytes() == its.tobytes(), name
    assert found.levels == expected.levels


def outputs(count: int, *, mute: bool) -> list[dict[str, object]]:
    rng = np.random.default_rng(1)
    found: list[dict[str, object]] = []
    for n, sure in enumerate(rng.random(count).tolist()):
        level = ("no", "yes", 'o"dd\n', "né")[n % 4]
        shares = {"no": 1 - sure, "yes": sure} if n % 3 else {"yes": sure, level: None}
        found.append({"class": level, "confidence": None if n % 7 == 0 else sure, "probabilities": shares})
        if mute and n % 5 == 0:
            found[-1] = {"class": level}
    return found


@pytest.mark.parametrize("mute", [False, True])
@pytest.mark.parametrize("count", [3, MANY])
def test_answers_are_read_as_columns_as_they_are_one_by_one(count: int, mute: bool) -> None:
    said = outputs(count, mute=mute)
    texts = [orjson.dumps(one).decode() for one in said]
    same(read_whole(texts), whole(said))
    same(read_shortly(texts), shortly(said))
    quick = read_lines(texts)
    assert quick is not None
    same(quick, shortly(said))
    assert quick.predicted.tolist() == [one["class"] for one in said]
    stretches = [read_whole(texts[start : start + 400]) for start in range(0, count, 400)]
    same(join(stretches), whole(said))


@pytest.mark.parametrize("count", [3, MANY])
def test_values_are_read_as_columns_as_they_are_one_by_one(count: int) -> None:
    said = [{"value": (None, 1, 2.5, -0.0, 1e-320)[n % 5]} for n in range(count)]
    texts = [orjson.dumps(one).decode() for one in said]
    expected = np.array([np.nan if one["value"] is None else one["value"] for one in said], dtype=float)
    for found in (read_whole(texts), read_shortly(texts), join([read_shortly(texts[:2]), read_shortly(texts[2:])])):
        assert found.predicted.tobytes() == expected.tobytes()
        assert found.confidence is None
        assert found.values[1] == ()


def test_the_labelled_answers_are_those_of_which_somebody_said_something() -> None:
    found = replace(read_whole(['{"value":1.0}'] * 3), labels=np.array([1.0, None, 0.0], dtype=object))
    assert found.known.tolist() == [True, False, True]
    assert found.labelled.labels is not None
    assert found.labelled.labels.tolist() == [1.0, 0.0]
