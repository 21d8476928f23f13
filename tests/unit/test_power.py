import numpy as np
import pytest

from models.comparison import sample
from models.declarations import Gates
from models.judging import Comparison, judge
from models.metrics import bounds, per_row
from models.power import detectable
from models.resampling import Interval


def right(rows: int, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    return np.eye(2)[(rng.random(rows) < accuracy).astype(int)]


def known(rows: int, accuracy: float) -> Interval:
    wrong = round(rows * (1 - accuracy))
    values = np.eye(2)[(np.arange(rows) >= wrong).astype(int)]
    truth = np.full(rows, "1", dtype=object)
    return bounds("accuracy", per_row("accuracy", truth, values, ("0", "1")), np.arange(rows))


@pytest.mark.parametrize(("rows", "accuracy"), [(600, 0.8), (300, 0.95)])
def test_the_gain_that_labels_are_said_to_show_is_shown_about_four_times_in_five(rows: int, accuracy: float) -> None:
    change = detectable("accuracy", known(rows, accuracy)).change
    assert change is not None
    rng, truth = np.random.default_rng(1), np.full(rows, "1", dtype=object)
    shown = dict.fromkeys((0.5, 1.0), 0)
    for factor in shown:
        for _ in range(60):
            compared = sample(
                "accuracy",
                truth,
                np.arange(rows),
                candidate=right(rows, accuracy + factor * change, rng),
                champion=right(rows, accuracy, rng),
                levels=("0", "1"),
            )
            gates = Gates(anchor_rows=0, baseline=False)
            shown[factor] += judge(gates, Comparison(metric="accuracy", fresh=compared)).verdict == "passed"
    assert 40 <= shown[1.0] <= 57  # 48, give or take 3 sigma
    assert shown[0.5] < 36  # half of it is seldom seen


def test_more_labels_show_less_and_the_sentence_says_so() -> None:
    found = detectable("accuracy", known(1204, 0.93))
    assert found.sentence == f"1,204 labels can show a gain of {found.change * 100:.1f} points or more"  # type: ignore[operator]
    assert found.to_json()["rows"] == 1204
    sizes = [detectable("accuracy", known(rows, 0.93)).change for rows in (300, 1204, 5000)]
    assert sizes == sorted(sizes, reverse=True)  # type: ignore[type-var]


def test_labels_that_can_show_nothing_say_so() -> None:
    few = detectable("accuracy", Interval(0.9, 0.8, 0.95, 400, 19), unit="days")
    assert (few.change, few.sentence) == (None, "400 labels in 19 days can show no gain: 20 days are needed")
    assert detectable("accuracy", known(60, 59 / 60)).change is None  # two labels decide, and chance is as good
    assert "perfect model" in detectable("accuracy", known(300, 1.0)).sentence
    assert detectable("mae", Interval(np.nan, np.nan, np.nan, 400, 40)).change is None


def test_numbers_are_spoken_of_in_their_own_unit() -> None:
    errors = np.abs(np.random.default_rng(0).normal(0, 2, 900))
    found = detectable("mae", bounds("mae", np.column_stack([errors, np.ones(900)]), np.arange(900)))
    assert found.change == pytest.approx(2.4865 * 2**0.5 * errors.std() / 30, rel=0.1)
    assert found.sentence.startswith("900 labels can show a gain of 0.1")
    assert found.sentence.endswith("of mae or more")
