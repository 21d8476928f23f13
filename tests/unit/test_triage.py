from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

from data.schema import Category, Number, Rows
from monitoring.declarations import Monitors
from monitoring.records import WindowKey
from monitoring.reference import Reference, build
from monitoring.stored_reference import from_bytes, to_bytes
from monitoring.triage import first, triage, weighed
from monitoring.verdicts import judge_data

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WINDOW = WindowKey("plums", 1, 0, NOW, NOW, 0, 300)
NAMES = ("size", "sugar", "stem")


def world(rows: int, seed: int, **shifts: float) -> Rows:
    rng = np.random.default_rng(seed)
    made: Rows = {name: rng.normal(shifts.get(name, 0.0), 1.0, rows) for name in NAMES}
    made["prediction"] = np.array(["no", "yes"], dtype=object)[(rng.random(rows) < shifts.get("yes", 0.5)).astype(int)]
    return made


def reference(importance: dict[str, float]) -> Reference:
    columns: dict[str, Any] = {**{name: Number() for name in NAMES}, "prediction": Category(levels=("no", "yes"))}
    built = build(
        columns,
        world(1000, 1),
        held_out=np.ones(1000, bool),
        losses=(np.arange(1000) < 100).astype(float),
        task="classification",
        exchangeable=True,
        importance=importance,
    )
    return from_bytes(to_bytes(built))


KNOWN = reference({"size": 0.2, "sugar": 0.01, "stem": 0.0})


def test_a_smaller_shift_of_what_the_metric_hangs_on_comes_before_a_larger_one_of_what_it_does_not() -> None:
    verdict = judge_data(KNOWN, world(300, 2, size=0.6, sugar=1.5, stem=3.0, yes=0.95), Monitors(), WINDOW)
    lines = verdict.detail["triage"]
    assert [line["column"] for line in lines] == ["size", "sugar", "prediction", "stem"]
    assert [line["rank"] for line in lines] == [1, 2, 3, 4]
    assert [line["importance"] for line in lines] == [0.2, 0.01, None, 0.0]
    assert lines[0]["drift"] < lines[1]["drift"] < lines[3]["drift"]
    assert verdict.reason.startswith("drift in 4 of 4 columns: size +0.")
    assert "; matters most: size (without it the metric loses 0.2); at " in verdict.reason
    assert orjson.loads(orjson.dumps(lines)) == lines


def test_what_matters_least_is_still_drift() -> None:
    verdict = judge_data(KNOWN, world(300, 2, stem=3.0), Monitors(), WINDOW)
    assert verdict.outcome == "drift"
    assert [line["column"] for line in verdict.detail["triage"]] == ["stem"]
    assert "matters most" not in verdict.reason


def test_without_any_importance_the_strongest_shift_comes_first() -> None:
    verdict = judge_data(reference({}), world(300, 2, size=0.6, stem=3.0), Monitors(), WINDOW)
    assert [line["column"] for line in verdict.detail["triage"]] == ["stem", "size"]
    assert "matters most" not in verdict.reason


@pytest.mark.parametrize(
    ("estimate", "effect"),
    [
        (None, 1.0),
        ({"metric": "accuracy", "value": 0.7, "past_error": 0.05}, 0.2),  # 0.9 on the held-out rows
        ({"metric": "accuracy", "value": 0.9, "past_error": 0.05}, 0.05),  # never nothing: it may be wrong
        ({"metric": "accuracy", "value": None, "past_error": None}, 1.0),
        ({"metric": "f1", "value": 0.5, "past_error": 0.1}, 1.0),  # losses don't tell it
    ],
)
def test_an_estimate_weighs_the_whole_window_and_leaves_no_column_out(
    estimate: dict[str, Any] | None, effect: float
) -> None:
    drifted = {name: {"score": 9.0, "drifted": name != "sugar"} for name in NAMES}
    lines = triage(KNOWN, drifted, 3.0)
    assert [line["effect"] for line in weighed(KNOWN, lines, estimate)] == pytest.approx([effect, effect])
    assert [line["column"] for line in lines] == ["size", "stem"]
    assert first([]) == ""
