from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

from data.schema import Category, Column, Number, Rows
from monitoring import projections
from monitoring.answers import answers_of
from monitoring.declarations import Monitors
from monitoring.estimates import estimate
from monitoring.frames import frames, showable, titles
from monitoring.held_out import keep
from monitoring.projections import Projection
from monitoring.records import Prediction, WindowKey
from monitoring.reference import Reference, build
from monitoring.stored_reference import from_bytes, to_bytes
from monitoring.verdicts import judge_data

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WINDOW = WindowKey("plums", 1, 0, NOW, NOW, 0, 200)
LEVELS = ("a", "b", "c")
COLUMNS: dict[str, Column] = {
    "number": Number(nullable=True),
    "level": Category(levels=LEVELS, nullable=True),
    "open": Category(levels=LEVELS, open=True),
    "sound": Number(),
    "prediction": Category(levels=LEVELS),
    "confidence": Number(low=0.0, high=1.0),
}
TYPED = ("number", "level", "open", "prediction", "confidence")
MONITORS = Monitors()


def world(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    levels = np.array(LEVELS, dtype=object)
    made: Rows = {name: levels[rng.integers(0, 3, rows)] for name in ("level", "open", "prediction")}
    made |= {name: rng.normal(size=rows) for name in ("number", "sound")}
    return {**made, "confidence": rng.beta(9, 1, rows)}


def objects(value: object, rows: int) -> np.ndarray:
    made = np.empty(rows, dtype=object)
    made[:] = [value] * rows
    return made


def mixed(rows: int) -> np.ndarray:
    made = np.empty(rows, dtype=object)
    values = (1, "x", None, 2.5, b"y", float("nan"), True, ["l"], {})
    made[:] = [values[at % len(values)] for at in range(rows)]
    return made


BROKEN: dict[str, Callable[[int], Any] | None] = {
    "missing": None,
    "all null": lambda rows: np.full(rows, np.nan),
    "all None": lambda rows: objects(None, rows),
    "constant": lambda rows: np.full(rows, 3.25),
    "one infinite": lambda rows: np.where(np.arange(rows) == 0, np.inf, 0.5),
    "all infinite": lambda rows: np.full(rows, -np.inf),
    "both infinities": lambda rows: np.where(np.arange(rows) % 2, np.inf, -np.inf),
    "1e308": lambda rows: np.full(rows, 1e308),
    "1e308 and -1e308": lambda rows: np.where(np.arange(rows) % 2, 1e308, -1e308),
    "some 1e308": lambda rows: np.where(np.arange(rows) % 7, np.arange(rows), 1.7e308),
    "beyond float64": lambda rows: np.arange(rows).astype(np.longdouble) * np.longdouble("1e4000"),
    "empty": lambda _: np.zeros(0),
    "too short": lambda rows: np.zeros(rows - 1),
    "too long": lambda rows: np.zeros(rows + 5),
    "numbers as text": lambda rows: np.arange(rows).astype(float).astype(str).astype(object),
    "fixed text": lambda rows: np.arange(rows).astype(str),
    "mixed": mixed,
    "lists": lambda rows: objects(["a"], rows),
    "bytes": lambda rows: objects(b"a", rows),
    "half a character": lambda rows: objects("\ud800", rows),
    "a new level a row": lambda rows: np.array([f"new {at}" for at in range(rows)], dtype=object),
    "too large an integer": lambda rows: objects(10**400, rows),
    "complex": lambda rows: np.zeros(rows, complex),
    "dates": lambda rows: np.full(rows, "2026-01-01", "datetime64[us]"),
    "masked": lambda rows: np.ma.masked_array(np.zeros(rows), mask=np.arange(rows) % 2),
    "two dimensions": lambda rows: np.zeros((rows, 2)),
    "no dimension": lambda _: np.array(3.0),
    "a list": lambda rows: [1.0] * rows,
    "nothing": lambda _: None,
}


def reference_of(rows: Rows) -> Reference:
    """A reference as the store keeps it."""
    held_out = np.ones(600, bool)
    built = build(COLUMNS, rows, held_out=held_out, losses=np.zeros(600), task="classification", exchangeable=True)
    return from_bytes(to_bytes(built))


REFERENCE = reference_of(world(600, 1))


def break_(rows: Rows, name: str, kind: str) -> Rows:
    how = BROKEN[kind]
    sound = {one: values for one, values in rows.items() if one != name}
    return sound if how is None else {name: how(len(rows["sound"])), **sound}


def shifted() -> Rows:
    window = world(200, 2)
    window["sound"] += 2.0
    return window


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", TYPED)
def test_a_column_broken_in_a_window_is_reported_and_hides_no_other(name: str, kind: str) -> None:
    window = break_(shifted(), name, kind)
    verdict = judge_data(REFERENCE, window, MONITORS, WINDOW)
    assert verdict.rows == 200
    assert verdict.detail["columns"]["sound"]["drifted"]
    assert name in verdict.detail["faults"] or verdict.detail["columns"][name]["drifted"]
    assert name in verdict.reason
    assert orjson.loads(orjson.dumps(verdict.detail)) == verdict.detail
    shown, out = showable(REFERENCE, window)
    assert set(shown) | set(out) == set(COLUMNS)
    assert "sound" in shown
    assert "sound" in frames(REFERENCE, shown, titles(list(shown)))[1]


@pytest.mark.parametrize("kind", BROKEN)
def test_columns_broken_in_the_reference_are_named_and_hide_no_other(kind: str) -> None:
    rows, window = world(600, 1), shifted()
    for name in ("number", "level", "confidence"):
        rows, window = break_(rows, name, kind), break_(window, name, kind)
    known = reference_of(rows)
    for seen in (shifted(), window):
        verdict = judge_data(known, seen, MONITORS, WINDOW)
        assert verdict.detail["columns"]["sound"]["drifted"]
        assert orjson.loads(orjson.dumps(verdict.detail)) == verdict.detail
        assert "sound" in showable(known, seen)[0]
    said = judge_data(known, shifted(), MONITORS, WINDOW).detail
    for name in ("number", "level", "confidence"):
        assert name in said["unreferenced"] or name in said["faults"] or said["columns"][name]["drifted"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_column_does_not_stop_an_estimate(kind: str) -> None:
    rng = np.random.default_rng(3)
    held_rows, values = world(300, 4), rng.normal(size=(300, 1))
    held = keep(
        held_rows,
        values,
        values[:, 0] + 0.1 * rng.normal(size=300),
        np.abs(rng.normal(size=300)),
        levels=(),
        binnings=REFERENCE.binnings,
        exchangeable=True,
        seed=0,
    )
    answered = [Prediction(str(at), "plums", 1, NOW, NOW, b"", {"value": 1.0}, at) for at in range(200)]
    found = estimate(held, "mae", break_(break_(shifted(), "level", kind), "number", kind), answers_of(answered))
    assert found.value is not None
    assert np.isfinite(found.value)


@pytest.mark.parametrize("kind", ["all null", "one infinite", "all infinite", "1e308", "1e308 and -1e308", "constant"])
def test_an_embedding_that_is_broken_is_not_watched_or_is_reported(kind: str) -> None:
    how = BROKEN[kind]
    assert how is not None
    broken, sound = np.stack([how(100)] * 4, axis=1), np.random.default_rng(0).normal(size=(100, 4))
    assert projections.fit(broken, np.zeros(100, bool)) is None
    fitted = projections.fit(sound, np.zeros(100, bool))
    assert isinstance(fitted, Projection)
    found = fitted.apply(broken)
    assert list(found) == list(fitted.columns)
    assert all(len(values) == 100 for values in found.values())
