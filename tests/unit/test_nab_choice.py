import numpy as np
import pytest

from bench.nab_choice import chosen, crossed, halves
from bench.nab_score import Stream

ROWS = 400  # of which 60 are on probation
NAMES = ["b/1", "a/3", "c/2", "a/1", "b/2", "a/2", "c/1", "b/3"]
DEALT = ([0, 1], [2, 3])


def stream(height: float, *, noise: float = 0.0, at: int = 100) -> Stream:
    scores = np.zeros(ROWS)
    scores[300:350], scores[at] = noise, height
    return Stream(scores, np.array([[at, at + 19]]))


def test_each_file_is_in_one_half_and_each_category_in_both_alike() -> None:
    for seed in (None, 0, 1):
        first, second = halves(NAMES, seed)
        assert sorted(first + second) == list(range(8))
        for category in "abc":
            counts = [sum(NAMES[at].startswith(category) for at in half) for half in (first, second)]
            assert abs(counts[0] - counts[1]) <= 1, category
    assert halves(NAMES, 0) == halves(NAMES, 0) != halves(NAMES)


def test_the_deal_hangs_on_the_names_and_not_on_their_order() -> None:
    first, _ = halves(NAMES)
    again, _ = halves(NAMES[::-1])
    assert {NAMES[at] for at in first} == {NAMES[::-1][at] for at in again} == {"a/1", "a/3", "b/2", "c/1"}


def test_no_half_is_scored_by_the_setting_that_it_would_choose_itself() -> None:
    loud, mute = [stream(1.0), stream(1.0)], [stream(0.0), stream(0.0)]
    candidates = {"good on the first": loud + mute, "good on the second": mute + loud}
    assert [chosen(candidates, half).setting for half in DEALT] == list(candidates)
    assert crossed(candidates, DEALT)[0] == 0.0  # 100 if each chose for itself, 50 by any setting for all


def test_no_half_is_scored_by_the_threshold_that_it_would_choose_itself() -> None:
    loud, quiet = [stream(1.0, noise=0.5)] * 2, [stream(0.4)] * 2
    found, choices = crossed({"": loud + quiet}, DEALT)
    assert [one.threshold for one in choices] == [1.0, 0.4]
    assert [one.reached for one in choices] == pytest.approx([100.0, 100.0])
    alarms = 2 * 50 * 0.11  # the noise of the first two, over the second two's threshold; these stay under the first's
    assert found == pytest.approx(100 * (2 * 2 - alarms) / 8)


def test_what_is_true_of_the_scored_half_changes_nothing_of_what_was_chosen_for_it() -> None:
    drawn = np.random.default_rng(0)
    candidates = {name: [Stream(drawn.random(ROWS), np.array([[150, 250]])) for _ in range(4)] for name in "xyz"}
    moved = {
        name: [*streams[:2], *(Stream(one.scores[::-1], np.array([[60, 70]])) for one in streams[2:])]
        for name, streams in candidates.items()
    }
    (found, (before, _)), (other, (after, _)) = crossed(candidates, DEALT), crossed(moved, DEALT)
    assert before == after
    assert found != other


def test_a_setting_and_threshold_that_suit_both_halves_score_as_they_do_on_all_files() -> None:
    candidates = {"good": [stream(1.0) for _ in range(4)], "mute": [stream(0.0) for _ in range(4)]}
    assert crossed(candidates, DEALT)[0] == pytest.approx(100.0)
    assert crossed({"mute": candidates["mute"]}, DEALT)[0] == 0.0
