from datetime import timedelta

import numpy as np
import pytest

from models.baselines import constant, last_arrived
from models.metrics import score

HOURS = np.datetime64("2026-01-01", "us") + np.arange(10) * np.timedelta64(1, "h")
LABELS = np.array(list("aabbbaabbb"), dtype=object)


def test_constant_answers_with_the_majority_or_the_mean() -> None:
    assert constant(LABELS, 3, ("a", "b")).argmax(axis=1).tolist() == [1, 1, 1]
    assert constant(np.array([1.0, 3.0]), 2).tolist() == [[2.0], [2.0]]
    assert constant(LABELS, 1, ("a", "b", "never"))[0, 2] > 0  # so that its log loss is finite


@pytest.mark.parametrize(
    ("hours", "answered"),
    [
        (0, "?aabbbaabb"),  # the label before; a row never sees its own
        (1, "?aabbbaabb"),
        (3, "???aabbbaa"),
    ],
)
def test_last_arrived_sees_only_labels_that_have_arrived(hours: int, answered: str) -> None:
    values = last_arrived(HOURS, LABELS, HOURS, timedelta(hours=hours), ("a", "b"))
    found = "".join("?" if row[0] == row[1] else "ab"[row.argmax()] for row in values)
    assert found == answered
    assert values.sum(axis=1) == pytest.approx(1.0)
    assert np.isfinite(score("classification", LABELS, values, ("a", "b"))["log_loss"])


def test_later_labels_change_no_earlier_answer() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(10)
    early = last_arrived(HOURS[:6], LABELS[:6], HOURS[:6], timedelta(hours=2), ("a", "b"))
    all_shuffled = last_arrived(HOURS[order], LABELS[order], HOURS[:6], timedelta(hours=2), ("a", "b"))
    assert np.array_equal(early, all_shuffled)


def test_last_arrived_answers_numbers_too() -> None:
    values = last_arrived(HOURS, np.arange(10.0), HOURS, timedelta(hours=2))
    assert values[:, 0].tolist() == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
