import numpy as np
import pytest

from bench.anomalies import DEFAULT, GRID, autoencoder, edges, errors, said_once, unusual, windowed_gaussian
from bench.nab_score import Stream, probation, score, sigmoid

ROWS = 400  # of which 60 are on probation
WINDOWS = np.array([[100, 119], [200, 219]])
WORTH = 2 / (1 + np.exp(-5.0)) - 1  # of an alarm at the left end of a window


def stream(*alarms: int, windows: np.ndarray = WINDOWS) -> Stream:
    scores = np.zeros(ROWS)
    scores[list(alarms)] = 1.0
    return Stream(scores, windows)


def test_an_alarm_is_worth_the_papers_sigmoid_of_its_place() -> None:
    assert sigmoid(np.array([-1.0, 0.0, 1.0])) == pytest.approx([WORTH, 0.0, -WORTH])
    assert sigmoid(np.array([3.01, 1e9])).tolist() == [-1.0, -1.0]


def test_nothing_has_0_and_each_window_found_at_its_left_end_has_100() -> None:
    assert score([stream()]) == (0.0, np.inf)
    assert score([stream(100, 200)]) == (pytest.approx(100.0), 1.0)
    assert score([stream(100)])[0] == pytest.approx(50.0)


def test_the_first_alarm_of_a_window_counts_and_the_later_the_less() -> None:
    late = (2 / (1 + np.exp(-5 * 10 / 20)) - 1) / WORTH  # ten of twenty rows are left
    assert score([stream(100, 210)])[0] == pytest.approx(100 * (2 + late + 1) / 4)
    assert score([stream(100, 210, 215, 219)])[0] == pytest.approx(100 * (2 + late + 1) / 4)


def test_a_false_alarm_costs_011_at_most_and_less_just_after_a_window() -> None:
    before = score([stream(100, 200, 99)])[0]
    assert before == pytest.approx(100 * (4 - 0.11) / 4)
    after = 2 / (1 + np.exp(5 * 10 / 19)) - 1  # ten rows past the right end of a window of 19 steps
    assert score([stream(100, 200, 129)])[0] == pytest.approx(100 * (4 + 0.11 * after) / 4)
    assert score([stream(100, 200, 399)])[0] == pytest.approx(before)


def test_the_probation_is_not_scored_and_is_750_rows_at_most() -> None:
    assert (probation(400), probation(5000), probation(22695)) == (60, 750, 750)
    assert score([stream(100, 200, 0, 30, 59)])[0] == pytest.approx(100.0)
    assert score([stream(100, 200, 60)])[0] < 100.0


def test_one_threshold_is_chosen_for_all_files_and_equal_scores_alarm_together() -> None:
    loud, quiet = stream(100, 200), Stream(np.where(np.isin(np.arange(ROWS), [100, 200]), 0.5, 0.0), WINDOWS)
    quiet.scores[[70, 71]] = 0.5
    found, threshold = score([loud, quiet])
    assert (found, threshold) == (pytest.approx(100 * (8 - 2 * 0.11) / 8), 0.5)
    assert score([loud, quiet], threshold=0.6)[0] == pytest.approx(50.0)
    everything = Stream(np.ones(ROWS), WINDOWS)
    assert score([everything], threshold=1.0)[0] < 0  # worse than never to say a word
    assert score([everything])[0] == 0.0


def test_a_file_without_windows_can_only_lose() -> None:
    none = np.zeros((0, 2), dtype=int)
    assert score([stream(100, 200), stream(300, windows=none)])[0] == pytest.approx(100 * (4 - 0.11) / 4)


def test_detectors_look_at_nothing_that_comes_later() -> None:
    values = np.random.default_rng(0).normal(size=500)
    changed = np.r_[values[:400], values[400:] * 50]
    for detector in (unusual, windowed_gaussian, said_once):
        assert (detector(values)[:400] == detector(changed)[:400]).all(), detector.__name__
    assert said_once(np.array([1.0, 1.0, 0.5, 2.0])).tolist() == [1.0, -np.inf, -np.inf, 2.0]
    assert unusual(np.full(50, 0.3)).tolist() == [0.0] * 50


def test_a_network_looks_at_nothing_that_comes_later_and_answers_every_setting_of_its_window() -> None:
    values = np.random.default_rng(0).normal(size=300)
    changed = np.r_[values[:200], values[200:] * 50]
    newest, every = errors(values, DEFAULT.past, [1, None])
    assert newest[:200] == pytest.approx(errors(changed, DEFAULT.past, [1])[0][:200], abs=1e-5)
    assert (every**2 * DEFAULT.past > newest**2).all()  # the newest is one of them
    settings = [one for one in GRID if one.past == DEFAULT.past]
    said = autoencoder(values, settings)
    assert list(said) == [str(one) for one in settings]
    assert said[str(DEFAULT)] == pytest.approx(said_once(unusual(newest), DEFAULT.quiet))


def test_the_windows_of_a_file_are_read_from_its_rows_numbers() -> None:
    assert edges(np.array([0, 1, 1, 2, 2, 2, 0])).tolist() == [[1, 2], [3, 5]]
    assert edges(np.zeros(4, dtype=int)).shape == (0, 2)
