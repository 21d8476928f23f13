"""Simulated worlds whose truth is known: one too sure of itself, and one whose errors have a cause."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest

from data.schema import Number, Rows
from models.metrics import per_row, value_of
from monitoring.answers import Answers, answers_of
from monitoring.binning import bin_column
from monitoring.estimates import BLIND, Estimate, estimate
from monitoring.held_out import HeldOut, from_arrays, keep
from monitoring.realised import measure
from monitoring.records import Prediction
from monitoring.reference import losses_of

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LEVELS = ("no", "yes")
WORLDS = 25


def logged(outputs: list[dict[str, object]], truth: Sequence[str | float]) -> Answers:
    return answers_of([Prediction(str(n), "p", 1, NOW, NOW, b"", said, n, truth[n]) for n, said in enumerate(outputs)])


def classes(rows: int, seed: int, spread: float = 1.0, turned: float = 1.0) -> tuple[Rows, np.ndarray, np.ndarray]:
    """What is watched, what was answered (twice as sure as it should be), and what is true."""
    noise = np.random.default_rng(seed)
    x = noise.normal(size=rows) * spread
    truth = np.where(noise.random(rows) < 1 / (1 + np.exp(-1.5 * turned * x)), "yes", "no").astype(object)
    sure = 1 / (1 + np.exp(-3.0 * x))
    answers = np.column_stack([1 - sure, sure])
    said = np.array(LEVELS, dtype=object)[answers.argmax(axis=1)]
    return {"x": x, "prediction": said, "confidence": answers.max(axis=1)}, answers, truth


def told(seen: Rows, answers: np.ndarray, truth: np.ndarray, mute: int = 0) -> Answers:
    """Without the confidence of the first `mute` rows."""
    shares = [dict(zip(LEVELS, row, strict=True)) for row in answers.tolist()]
    outputs = [
        {"class": said, "confidence": sure, "probabilities": share}
        for said, sure, share in zip(seen["prediction"], seen["confidence"].tolist(), shares, strict=True)
    ]
    outputs[:mute] = [{"class": one["class"]} for one in outputs[:mute]]
    return logged(outputs, truth.tolist())


def held_classes(rows: int, seed: int) -> HeldOut:
    seen, answers, truth = classes(rows, seed)
    losses = losses_of(truth, seen["prediction"], "classification")
    return keep(seen, answers, truth, losses, levels=LEVELS, binnings={}, exchangeable=True, seed=0)


def values(rows: int, seed: int, shift: float = 0.0, louder: float = 1.0) -> tuple[Rows, np.ndarray]:
    """What is watched and answered, and what is true: further off the larger x is."""
    noise = np.random.default_rng(seed)
    x, z = noise.normal(size=rows) + shift, noise.normal(size=rows)
    truth = np.sin(2 * x) + 0.5 * z + louder * (0.2 + 0.5 * np.maximum(x, 0)) * noise.normal(size=rows)
    return {"x": x, "z": z, "prediction": np.sin(2 * x) + 0.4 * z}, truth


def held_values(rows: int, seed: int) -> HeldOut:
    seen, truth = values(rows, seed)
    binnings = {name: bin_column(Number(), column) for name, column in seen.items()}
    losses = losses_of(truth, seen["prediction"], "regression")
    answers = seen["prediction"][:, None]
    return keep(seen, answers, truth, losses, levels=(), binnings=binnings, exchangeable=True, seed=0)


def numbers(seen: Rows, truth: np.ndarray) -> Answers:
    return logged([{"value": value} for value in seen["prediction"].tolist()], truth.tolist())


def honest(found: Sequence[tuple[Estimate, float]]) -> int:
    """How many estimates were off by no more than they said."""
    return sum(
        one.value is not None and one.past_error is not None and abs(one.value - true) <= one.past_error
        for one, true in found
    )


def realised(metric: str, predictions: Answers) -> float:
    assert predictions.labels is not None
    given, levels = predictions.values
    truth = predictions.labels.astype(object if levels else float)
    return float(value_of(metric, per_row(metric, truth, given, levels).sum(axis=0)))


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
@pytest.mark.parametrize("spread", [1.0, 0.3])
def test_classes_are_estimated_within_the_stated_error_when_rows_become_harder(metric: str, spread: float) -> None:
    found = []
    for seed in range(WORLDS):
        seen, answers, truth = classes(300, 1000 + seed, spread)
        predictions = told(seen, answers, truth)
        found.append((estimate(held_classes(500, seed), metric, seen, predictions), realised(metric, predictions)))
    assert honest(found) >= 0.8 * WORLDS
    off = np.array([one.value - true for one, true in found if one.value is not None])
    assert abs(off.mean()) < 0.03


def test_an_estimate_tells_hard_rows_from_easy_ones_though_the_network_is_too_sure_of_both() -> None:
    held = held_classes(1000, 1)
    easy, hard = classes(1000, 2), classes(1000, 3, spread=0.3)
    before, after = (estimate(held, "accuracy", seen, told(seen, *rest)) for seen, *rest in (easy, hard))
    assert before.low is not None and after.high is not None  # noqa: PT018
    assert after.high < before.low
    assert hard[0]["confidence"].mean() > after.high  # what a network says of itself would have hidden half of it


@pytest.mark.parametrize("metric", ["mae", "rmse"])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_values_are_estimated_within_the_stated_error_when_rows_become_harder(metric: str, shift: float) -> None:
    found = []
    for seed in range(6):
        seen, truth = values(300, 1000 + seed, shift)
        predictions = numbers(seen, truth)
        found.append((estimate(held_values(600, seed), metric, seen, predictions), realised(metric, predictions)))
    assert honest(found) >= 5
    usual = float(np.mean([true for _, true in found]))
    assert np.mean([one.value for one, _ in found if one.value is not None]) == pytest.approx(usual, rel=0.2)


def test_an_estimate_of_values_tells_hard_rows_from_easy_ones() -> None:
    held = held_values(1000, 1)
    before, after = (
        estimate(held, "mae", seen, numbers(seen, truth)) for seen, truth in (values(500, 2), values(500, 3, 1.0))
    )
    assert before.high is not None and after.low is not None  # noqa: PT018
    assert after.low > before.high


def test_concept_drift_is_not_seen_and_that_is_said_until_past_errors_tell() -> None:
    held = held_classes(1000, 1)
    seen, answers, truth = classes(1000, 2, turned=-1.0)
    predictions = told(seen, answers, truth)
    found = estimate(held, "accuracy", seen, predictions)
    true = realised("accuracy", predictions)
    assert found.low is not None
    assert true < 0.4 < 0.6 < found.low
    assert found.sentence.endswith(BLIND)
    assert "concept drift" in found.sentence
    assert found.value is not None
    later = estimate(held, "accuracy", seen, predictions, past=[(found.value, true)] * 8)
    assert later.low is not None
    assert later.low < true
    assert "the error of 8 past estimates" in later.sentence


def test_an_estimate_without_grounds_is_none_and_says_why() -> None:
    seen, answers, truth = classes(40, 1)
    predictions = told(seen, answers, truth)
    few = estimate(held_classes(40, 1), "accuracy", seen, predictions)
    assert (few.value, few.past_error) == (None, None)
    assert "40 held-out rows, 50 are needed" in few.sentence
    assert "0 held-out rows" in estimate(None, "accuracy", seen, predictions).sentence
    assert "no rows" in estimate(held_classes(100, 1), "accuracy", {}, answers_of([])).sentence
    orjson.dumps(few.to_json())


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
def test_rows_without_a_confidence_are_left_out_and_counted(metric: str) -> None:
    held = held_classes(200, 1)
    seen, answers, truth = classes(100, 2)
    seen["confidence"][:30] = np.nan
    found = estimate(held, metric, seen, told(seen, answers, truth, mute=30))
    assert found.rows == 70
    assert "30 rows without a confidence left out" in found.sentence
    assert found.value is not None
    seen["confidence"][:] = np.nan
    nothing = told(seen, answers, truth, mute=100)
    assert "no answer came with a confidence" in estimate(held, metric, seen, nothing).sentence


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
def test_a_champion_that_was_always_right_with_one_class_leaves_finite_estimates(metric: str) -> None:
    seen, answers, _ = classes(80, 1)
    answers[:] = [0.01, 0.99]
    seen = {**seen, "prediction": np.array(["yes"] * 80, dtype=object), "confidence": np.full(80, 0.99)}
    truth = np.array(["yes"] * 80, dtype=object)
    held = keep(seen, answers, truth, np.zeros(80), levels=LEVELS, binnings={}, exchangeable=False, seed=0)
    found = estimate(held, metric, seen, told(seen, answers, truth))
    assert found.value is not None
    assert found.past_error is not None
    assert np.isfinite([found.value, found.past_error]).all()
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high


def test_a_column_that_is_missing_or_broken_spoils_no_estimate_of_values() -> None:
    held = held_values(300, 1)
    seen, truth = values(200, 2)
    predictions = numbers(seen, truth)
    for wrong in (np.full(200, np.nan), np.full(200, np.inf), np.array(["?"] * 200, dtype=object)):
        found = estimate(held, "mae", {**seen, "z": wrong}, predictions)
        assert found.value is not None
        assert np.isfinite(found.value)
    del seen["z"]
    assert estimate(held, "mae", seen, predictions).value is not None


def test_held_out_rows_come_back_as_they_were_kept() -> None:
    for held in (held_classes(60, 1), held_values(60, 1)):
        again = from_arrays(held.to_arrays())
        assert again is not None
        for name in ("answers", "truth", "losses", "codes"):
            np.testing.assert_array_equal(getattr(again, name), getattr(held, name))
        assert (again.levels, dict(again.binnings)) == (held.levels, dict(held.binnings))
    assert from_arrays({}) is None


def test_a_metric_on_labels_has_an_interval_that_is_wider_where_rows_depend_on_each_other() -> None:
    seen, answers, truth = classes(400, 1)
    runs = np.repeat(np.arange(20), 20)
    truth = np.where(np.random.default_rng(5).random(20)[runs] < 0.8, seen["prediction"], "neither").astype(object)
    predictions = told(seen, answers, truth)
    free = measure("accuracy", predictions, exchangeable=True)
    tied = measure("accuracy", predictions, exchangeable=False)
    assert free is not None
    assert tied is not None
    assert free.value == tied.value
    assert tied.high - tied.low > 1.5 * (free.high - free.low)
    assert measure("accuracy", replace(predictions, labels=None), exchangeable=True) is None
