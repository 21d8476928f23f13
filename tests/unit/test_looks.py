import numpy as np
import pytest

from models.comparison import sample
from models.gates import better
from models.judging import Comparison
from models.looks import KEPT, hashed, looks, shared, sketch, tail
from models.power import detectable

ROWS = 300


def keys(start: int, stop: int) -> np.ndarray:
    return np.array([f"k{n}" for n in range(start, stop)], dtype=object)


@pytest.mark.parametrize("size", [50, 5000])  # within the sketch, and far beyond it
def test_how_many_rows_judged_before_is_told_by_a_few_hashes(size: int) -> None:
    known = sketch(keys(0, size))
    assert len(known["least"]) == min(size, KEPT)
    assert shared(hashed(keys(0, size)), known) == 1.0
    assert shared(hashed(keys(size, 2 * size)), known) == 0.0
    assert shared(hashed(keys(size // 2, size + size // 2)), known) == pytest.approx(0.5, abs=0.1)
    assert shared(hashed(keys(0, 4 * size)), known) == pytest.approx(0.25, abs=0.1)  # of ours, not of theirs
    assert shared(hashed(keys(0, size // 5)), known) == 1.0
    assert shared(hashed(keys(0, 0)), known) == 0.0


def test_a_candidate_counts_once_and_fresh_rows_start_again() -> None:
    old, half, new = sketch(keys(0, 400)), sketch(keys(150, 550)), sketch(keys(400, 800))
    earlier = [("a", old), ("a", old), ("b", half), ("c", new)]
    assert looks(keys(0, 400), earlier) == 2
    assert looks(keys(1000, 1400), earlier) == 0


def test_all_tails_together_come_to_ten_per_cent() -> None:
    assert tail(0) == 0.05
    assert tail(1) == pytest.approx(0.05 / 3)
    assert sum(tail(before) for before in range(19)) <= 0.1 < sum(tail(before) for before in range(20))
    assert tail(1000) == 0.001


def right(rng: np.random.Generator, truth: np.ndarray, accuracy: float) -> np.ndarray:
    wrong = rng.random(len(truth)) >= accuracy
    return np.eye(2)[(truth.astype(int) + wrong) % 2]


def judged(truth: np.ndarray, candidate: np.ndarray, champion: np.ndarray, before: int) -> bool:
    rows = sample("accuracy", truth, np.arange(ROWS), candidate=candidate, champion=champion, levels=("0", "1"))
    return better(Comparison("accuracy", rows, champion="6", judged=before)).passed


def test_trying_again_and_again_on_the_same_rows_seldom_promotes_what_is_no_better() -> None:
    rng = np.random.default_rng(3)
    naive = counted = 0
    for _ in range(100):
        truth = rng.integers(0, 2, ROWS).astype(str).astype(object)
        champion = right(rng, truth, 0.85)
        tries = [right(rng, truth, 0.85) for _ in range(8)]
        hits = [(answers[np.arange(ROWS), truth.astype(int)]).mean() for answers in (*tries, champion)]
        hopeful = [place for place in range(8) if hits[place] > hits[-1] + 0.035]  # the others can't pass
        naive += any(judged(truth, tries[place], champion, 0) for place in hopeful)
        counted += any(judged(truth, tries[place], champion, place) for place in hopeful)
    assert naive >= 14
    assert counted <= 7


def test_the_gate_says_how_often_its_rows_have_judged_and_a_training_what_it_can_still_show() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, ROWS).astype(str).astype(object)
    champion, candidate = right(rng, truth, 0.8), right(rng, truth, 0.9)
    rows = sample("accuracy", truth, np.arange(ROWS), candidate=candidate, champion=champion, levels=("0", "1"))
    fresh, used = (better(Comparison("accuracy", rows, champion="6", judged=before)) for before in (0, 3))
    assert "have judged" not in fresh.sentence
    assert used.sentence.endswith("against v6; these rows have judged 3 candidates before: bounds of 99.5 %")
    assert fresh.interval is not None
    assert used.interval is not None
    assert used.interval[0] < fresh.interval[0]
    assert rows.champion is not None
    known = [detectable("accuracy", rows.champion, rows.candidate, rows.blocks, tail=at).change for at in (0.05, 0.005)]
    assert known[0] is not None
    assert known[1] is not None
    assert known[0] < known[1] < 1.6 * known[0]
