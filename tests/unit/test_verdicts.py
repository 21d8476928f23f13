from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest

from data.schema import Category, Column, Number, Rows
from monitoring.answers import answers_of
from monitoring.declarations import Monitors
from monitoring.records import Prediction, Verdict, WindowKey
from monitoring.reference import Reference, build
from monitoring.verdicts import judge_data, judge_performance, smoke

NOW = datetime(2026, 11, 21, tzinfo=UTC)
WINDOW = WindowKey("digits", 1, 3, NOW, NOW, 600, 800)
DIGITS = tuple("0123456789")
COLUMNS: dict[str, Column] = {
    **{f"image.{part}": Number(low=0.0, high=1.0) for part in ("brightness", "contrast", "sharpness")},
    "site": Category(levels=("north", "south"), nullable=True),
    "amount": Number(nullable=True),
    "prediction": Category(levels=DIGITS),
    "confidence": Number(low=0.0, high=1.0),
}


def world(rows: int, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    made: Rows = {f"image.{part}": rng.beta(4, 4, rows) for part in ("brightness", "contrast", "sharpness")}
    made["site"] = np.array(["north", "south", None], dtype=object)[rng.choice(3, rows, p=[0.6, 0.38, 0.02])]
    made["amount"] = np.where(rng.random(rows) < 0.02, np.nan, rng.lognormal(size=rows))
    made["prediction"] = np.array(DIGITS, dtype=object)[rng.integers(0, 10, rows)]
    made["confidence"] = rng.beta(20, 1, rows)
    return made


def reference_of(rows: Rows, **more: Any) -> Reference:
    size = len(next(iter(rows.values())))
    losses = (np.random.default_rng(9).random(size) < 0.04).astype(float)
    plain = {"held_out": np.ones(size, bool), "losses": losses, "task": "classification", "exchangeable": True}
    return build(COLUMNS, rows, **{**plain, **more})


REFERENCE = reference_of(world(500, 1))


def judged(change: Callable[[Rows], object], rows: int = 200) -> Verdict:
    observed = world(rows, 2)
    change(observed)
    return judge_data(REFERENCE, observed, Monitors(), WINDOW)


def test_an_unchanged_window_is_ok_and_says_what_it_would_have_seen() -> None:
    verdict = judged(lambda rows: None)
    assert verdict.outcome == "ok"
    assert verdict.reason == (
        "ok: would have seen 0.4 sigma in any number and 30% of rows moved in any category "
        "within 3 days, at 1 false incident a quarter; blind: none"
    )
    assert orjson.loads(orjson.dumps(verdict.detail)) == verdict.detail


def test_a_shift_is_drift_and_names_its_columns_strongest_first() -> None:
    def brighter(rows: Rows) -> None:
        rows["image.brightness"] = np.minimum(rows["image.brightness"] + 0.1, 1)
        rows["image.sharpness"] *= 0.5

    verdict = judged(brighter)
    assert verdict.outcome == "drift"
    assert verdict.reason.startswith("drift in 2 of 7 columns: image.sharpness -")
    assert "image.brightness +0.6 sigma" in verdict.reason
    assert {name for name, column in verdict.detail["columns"].items() if column["drifted"]} == {
        "image.brightness",
        "image.sharpness",
    }


def set_to(name: str, value: Any, rows: slice = slice(None)) -> Callable[[Rows], object]:
    return lambda observed: observed[name].__setitem__(rows, value)


FAULTS: dict[str, tuple[Callable[[Rows], object], str, str]] = {
    "constant": (set_to("image.contrast", 0.3), "image.contrast", "is constant (0.3)"),
    "one level": (set_to("site", "south"), "site", "is constant (south)"),
    "all null": (set_to("amount", np.nan), "amount", "is null in every row"),
    "no level": (set_to("site", None), "site", "is null in every row"),
    "many nulls": (set_to("amount", np.nan, slice(60)), "amount", "is null in"),
    "infinite": (set_to("amount", np.inf, slice(1)), "amount", "is infinite in 1 of 200"),
    "too large for its schema": (
        set_to("image.contrast", 1.5, slice(1)),
        "image.contrast",
        "breaks its schema (as 1.5)",
    ),
    "a level out of the schema": (set_to("site", "\ud800<b>", slice(1)), "site", "breaks its schema (as \\ud800<b>)"),
    "missing": (lambda rows: rows.pop("amount"), "amount", "can't be compared: the column is missing"),
    "numbers as text": (
        lambda rows: rows.update(amount=rows["amount"].astype(str).astype(object)),
        "amount",
        "can't be compared: values are no numbers",
    ),
    "lists as levels": (lambda rows: rows["site"].__setitem__(0, ["north"]), "site", "can't be compared"),
    "too short": (lambda rows: rows.update(amount=rows["amount"][:-1]), "amount", "199 values for 200 rows"),
    "two dimensions": (lambda rows: rows.update(amount=np.zeros((200, 2))), "amount", "can't be compared"),
}


@pytest.mark.parametrize(("change", "name", "said"), FAULTS.values(), ids=FAULTS)
def test_a_broken_column_is_reported_and_hides_no_other(change: Callable[[Rows], Any], name: str, said: str) -> None:
    def both(rows: Rows) -> None:
        rows["image.sharpness"] *= 0.5
        change(rows)

    verdict = judged(both)
    assert verdict.outcome == "fault"
    assert set(verdict.detail["faults"]) == {name}
    assert said in verdict.detail["faults"][name]
    assert said in verdict.reason
    assert verdict.detail["columns"]["image.sharpness"]["drifted"]
    orjson.dumps(verdict.detail)
    verdict.reason.encode()


def test_values_near_the_end_of_floats_are_measured_without_a_warning() -> None:
    verdict = judged(set_to("amount", 1e308, slice(100)))
    assert verdict.outcome == "drift"
    assert verdict.detail["columns"]["amount"]["drifted"]


def test_a_window_without_any_comparable_column_has_failed() -> None:
    verdict = judge_data(REFERENCE, {"other": np.zeros(200)}, Monitors(), WINDOW)
    assert verdict.outcome == "failed"


def test_too_few_rows_are_insufficient_unless_something_is_plainly_broken() -> None:
    assert judged(lambda rows: None, rows=49).outcome == "insufficient"
    assert judged(set_to("amount", 1.0), rows=49).outcome == "insufficient"
    assert judged(set_to("amount", np.inf), rows=49).outcome == "fault"
    assert judge_data(REFERENCE, {}, Monitors(), WINDOW).outcome == "insufficient"


def test_one_value_is_a_fault_only_where_windows_of_the_reference_had_several() -> None:
    rows = world(400, 1)
    rows["amount"] = np.repeat(np.arange(8.0), 50)  # a day's constant, as a calendar column has
    reference = reference_of(rows, exchangeable=False)
    window = world(50, 2)
    window["amount"][:] = 3.0
    assert judge_data(reference, window, Monitors(), WINDOW).outcome != "fault"


def test_a_column_that_first_moves_in_a_window_is_drift_and_no_fault() -> None:
    rows = world(500, 1)
    rows["amount"][:] = 0.5
    window = world(200, 2)
    window["amount"][:] = 0.5
    assert judge_data(reference_of(rows), window, Monitors(), WINDOW).outcome == "ok"
    window["amount"][:20] = np.linspace(0.4, 0.6, 20)
    verdict = judge_data(reference_of(rows), window, Monitors(), WINDOW)
    assert verdict.outcome == "drift"
    assert "(unseen) in 0% to 10% of rows" in verdict.reason


def test_columns_that_are_ignored_or_not_in_the_reference_are_said_to_be_unseen() -> None:
    rows = world(500, 1)
    rows["amount"] = rows["amount"].astype(str).astype(object)
    verdict = judge_data(reference_of(rows), world(200, 2), Monitors(ignore=("site",)), WINDOW)
    assert verdict.outcome == "ok"
    assert verdict.reason.endswith("blind: amount")
    assert "site" not in verdict.detail["columns"]


def test_outputs_are_compared_with_held_out_rows_only() -> None:
    rows = world(600, 1)
    held_out = np.arange(600) % 2 == 0
    rows["confidence"][~held_out] = 1.0  # surer of what it has seen
    reference = reference_of(rows, held_out=held_out)
    assert reference.counts["confidence"].sum() == 300
    assert reference.counts["amount"].sum() == 600
    assert judge_data(reference, world(200, 2), Monitors(), WINDOW).outcome == "ok"


def answered(rows: int, right: int, labelled: int | None = None) -> list[Prediction]:
    labels = ["7" if row < right else "8" for row in range(rows)]
    known = rows if labelled is None else labelled
    return [
        Prediction(str(i), "digits", 1, NOW, NOW, b"", {"class": "7"}, i, label if i < known else None)
        for i, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("predictions", "outcome", "said"),
    [
        (answered(200, 192), "ok", "would have seen a loss of"),
        (answered(200, 160), "degraded", "accuracy 80.0% on 200 labelled rows, 97."),
        (answered(200, 100, labelled=49), "insufficient", "49 labelled rows, 50 are needed"),
        (answered(200, 200), "ok", "accuracy 100.0%"),
        ([], "insufficient", "0 labelled rows"),
    ],
)
def test_answers_are_held_against_the_held_out_score(predictions: list[Prediction], outcome: str, said: str) -> None:
    verdict = judge_performance(REFERENCE, answers_of(predictions), Monitors(), WINDOW)
    assert verdict.outcome == outcome
    assert said in verdict.reason
    orjson.dumps(verdict.detail)


def test_a_window_in_fault_is_in_fault_in_both_checks() -> None:
    data = judged(set_to("image.contrast", 0.0))
    assert judge_performance(REFERENCE, answers_of(answered(200, 192)), Monitors(), WINDOW, data).outcome == "fault"


def test_values_are_degraded_by_their_errors_and_rarely_without_cause() -> None:
    rng = np.random.default_rng(0)
    losses = np.abs(rng.standard_t(4, 2000))
    wrong = 0
    for exchangeable in (True, False):
        reference = reference_of(world(500, 1), losses=losses, task="regression", exchangeable=exchangeable)

        def check(scale: float, known: Reference = reference) -> str:
            errors = scale * rng.standard_t(4, 100)
            rows = [
                Prediction(str(i), "p", 1, NOW, NOW, b"", {"value": 1.0}, i, 1.0 + error)
                for i, error in enumerate(errors.tolist())
            ]
            return judge_performance(known, answers_of(rows), Monitors(), WINDOW).outcome

        assert check(2.5) == "degraded"
        wrong += sum(check(1.0) == "degraded" for _ in range(150))
    assert wrong <= 3


def test_a_dry_run_compares_some_rows_with_others() -> None:
    assert smoke(world(100, 1), world(100, 2), COLUMNS, Monitors()).startswith("ok: would have seen")
