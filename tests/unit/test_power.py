import numpy as np
import pytest

from models.comparison import sample
from models.declarations import Gates
from models.judging import Comparison, judge
from models.metrics import per_row
from models.power import Detectable, detectable


def right(rows: int, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    return np.eye(2)[(rng.random(rows) < accuracy).astype(int)]


def parts(rows: int, wrong: int, start: int = 0) -> np.ndarray:
    """A model that is wrong in so many rows, from one on."""
    at = np.arange(rows)
    values = np.eye(2)[((at < start) | (at >= start + wrong)).astype(int)]
    return per_row("accuracy", np.full(rows, "1", dtype=object), values, ("0", "1"))


def found(rows: int, wrong: int, other: int) -> Detectable:
    """What is said where a model is wrong in so many rows and the pilot in so many others."""
    return detectable("accuracy", parts(rows, wrong), parts(rows, other, wrong), np.arange(rows))


@pytest.mark.parametrize(("rows", "accuracy"), [(600, 0.8), (300, 0.95)])
def test_the_gain_that_labels_are_said_to_show_is_shown_about_four_times_in_five(rows: int, accuracy: float) -> None:
    rng, truth, levels = np.random.default_rng(1), np.full(rows, "1", dtype=object), ("0", "1")
    wrong = round(rows * (1 - accuracy))
    apart = parts(rows, wrong, round(wrong * accuracy))  # as unrelated errors overlap
    change = detectable("accuracy", parts(rows, wrong), apart, np.arange(rows)).change
    assert change is not None
    shown = {0.5: 0, 1.0: 0}
    for factor in shown:
        for _ in range(60):
            compared = sample(
                "accuracy",
                truth,
                np.arange(rows),
                candidate=right(rows, accuracy + factor * change, rng),
                champion=right(rows, accuracy, rng),
                levels=levels,
            )
            gates = Gates(anchor_rows=0, baseline=False)
            shown[factor] += judge(gates, Comparison(metric="accuracy", fresh=compared)).verdict == "passed"
    assert 39 <= shown[1.0] <= 57  # 48, give or take 3 sigma
    assert shown[0.5] < 36  # half of it is seldom seen


def test_more_labels_show_less_and_the_sentence_says_so() -> None:
    one = found(1204, 84, 40)
    assert one.change is not None
    assert one.sentence == f"1,204 labels can show a gain of {one.change * 100:.1f} points or more"
    assert one.to_json() == {"rows": 1204, "change": one.change, "sentence": one.sentence}
    assert one.change == pytest.approx(2.4865 * (124 / 1204) ** 0.5 / 1204**0.5, rel=0.1)
    more, fewer = found(5000, 350, 170).change, found(300, 21, 10).change
    assert more is not None
    assert fewer is not None
    assert more < one.change < fewer


def test_a_model_that_is_seldom_wrong_leaves_less_to_gain_and_that_shows_sooner() -> None:
    near = found(323, 10, 40)
    assert near.change is not None
    assert near.change < 10 / 323  # ten wins without a loss would show


def test_labels_that_can_show_nothing_say_so() -> None:
    days = detectable("accuracy", parts(400, 40), parts(400, 40, 40), np.arange(400) % 19, unit="days")
    assert (days.change, days.sentence) == (None, "400 labels in 19 days can show no gain: 20 days are needed")
    for wrong in (0, 2):  # two rows decide, and chance does as well
        assert found(300, wrong, 40).change is None
    assert "perfect model" in found(300, 0, 40).sentence
    assert found(300, 40, 0).change is not None
    broken = np.column_stack([np.full(300, np.nan), np.ones(300)])
    assert detectable("mae", broken, broken, np.arange(300)).change is None


def test_numbers_are_spoken_of_in_their_own_unit() -> None:
    errors = np.abs(np.random.default_rng(0).normal(0, 2, (900, 2)))
    known, pilot = (np.column_stack([one, np.ones(900)]) for one in errors.T)
    said = detectable("mae", known, pilot, np.arange(900))
    assert said.change == pytest.approx(2.4865 * (errors[:, 0] - errors[:, 1]).std() / 30, rel=0.1)
    assert said.sentence.startswith("900 labels can show a gain of 0.1")
    assert said.sentence.endswith("of mae or more")


def test_a_pilot_that_answers_as_the_known_model_leaves_the_bound_of_the_base_error() -> None:
    rows, wrong = 1200, 120
    alike = found(rows, wrong, wrong)  # in other rows
    same = detectable("accuracy", parts(rows, wrong), parts(rows, wrong), np.arange(rows))
    assert same.change is not None
    assert alike.change is not None
    # a candidate that differs in 2 e - g of the rows: g = 2.49 sqrt((2 e - g) / n)
    assert same.change == pytest.approx(2.4865 * ((0.2 - same.change) / rows) ** 0.5, rel=0.1)
    assert same.change == pytest.approx(alike.change, rel=0.15)  # as far from it as it can be
    said = f"1,200 labels can show a gain of {same.change * 100:.1f} points or more, however far"
    assert same.sentence.startswith(said)
    assert "perfect" in detectable("accuracy", parts(300, 2), parts(300, 2), np.arange(300)).sentence


def test_what_no_pilot_can_foretell_is_not_called_hopeless() -> None:
    errors = np.column_stack([np.abs(np.random.default_rng(0).normal(0, 2, 900)), np.ones(900)])
    same = detectable("mae", errors, errors, np.arange(900))
    assert same.change is None
    assert "answers as the known model does" in same.sentence
    broken = detectable("mae", errors * np.nan, errors, np.arange(900))
    assert broken.change is None
    assert "not every answer is a number" in broken.sentence
