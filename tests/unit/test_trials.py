from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import BadDeclaration
from models.comparison import sample
from monitoring.declarations import Rollout
from monitoring.tally import FEWEST, Side, Tally, bin_of
from serving.trials import drawn
from tasks.trial_comparison import Realised, apart, errors_behind, latency_behind, metric_behind

KEYS = st.text(min_size=1, max_size=20)


@given(trial=st.integers(1, 10**6), key=KEYS, share=st.floats(0.01, 0.5))
def test_a_key_stays_where_it_was_dealt_and_a_greater_share_only_adds_keys(trial: int, key: str, share: float) -> None:
    assert 0 <= drawn(trial, key) < 1
    assert drawn(trial, key) == drawn(trial, key)
    if drawn(trial, key) < share / 2:
        assert drawn(trial, key) < share


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_share_of_the_keys_is_taken_and_another_trial_takes_others(share: float) -> None:
    first, second = ({n for n in range(20_000) if drawn(trial, f"key {n}") < share} for trial in (1, 2))
    for taken in (first, second):
        assert abs(len(taken) / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5
    assert abs(len(first & second) / 20_000 - share**2) < 0.01


def test_calls_are_compared_with_calls_of_about_as_many_rows() -> None:
    tally = Tally()
    for _ in range(FEWEST):
        tally.champion.answered(1, 0.001)
        tally.champion.answered(64, 0.020)
        tally.challenger.answered(60, 0.040)
    found = tally.latencies()
    assert found is not None
    usual, its, calls = found
    assert calls == FEWEST
    assert 0.019 < usual < 0.027
    assert its / usual == pytest.approx(2.0, rel=0.3)
    assert bin_of(0.0) == 0


def test_counts_go_on_where_another_process_has_left_them() -> None:
    tally = Tally(dropped=3)
    tally.champion.answered(2, 0.01)
    tally.challenger.missed(2)
    again = Tally.from_json(tally.to_json())
    assert again == tally
    again.champion.answered(2, 0.01)
    assert (again.champion.rows, again.champion.calls) == (4, {1: Counter({bin_of(0.01): 2})})
    assert Tally.from_json(None).latencies() is None


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 0.6}, {"minimum_rows": 0}, {"latency_margin": 0.5}])
def test_a_rollout_that_can_not_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadDeclaration):
        Rollout(**wrong)  # type: ignore[arg-type]


MARGINS = {"minimum_rows": 50, "error_margin": 0.01, "latency_margin": 2.0, "metric_margin": 0.02}


def test_failures_count_once_they_show_more_than_the_margin_however_few_rows_there_were() -> None:
    assert errors_behind(Side(1000, 0), Side(3, 2), MARGINS)
    assert errors_behind(Side(1000, 0), Side(6, 6), MARGINS)
    assert not errors_behind(Side(1000, 0), Side(100, 1), MARGINS)
    assert not errors_behind(Side(1000, 0), Side(100, 2), MARGINS)
    assert errors_behind(Side(1000, 0), Side(1000, 30), MARGINS)
    assert not errors_behind(Side(1000, 30), Side(1000, 35), MARGINS)
    assert not errors_behind(Side(0, 0), Side(0, 0), MARGINS)


def test_latency_counts_beyond_the_margin_where_anybody_would_notice() -> None:
    assert latency_behind(0.010, 0.021, MARGINS)
    assert not latency_behind(0.010, 0.019, MARGINS)
    assert not latency_behind(0.0001, 0.0019, MARGINS)


@pytest.mark.parametrize(
    ("high", "rows", "behind"), [(-0.03, 50, True), (-0.03, 49, False), (-0.01, 500, False), (float("nan"), 500, False)]
)
def test_a_metric_counts_once_even_its_better_end_is_below_the_margin(high: float, rows: int, behind: bool) -> None:
    found = Realised("accuracy", 0.9, 0.8, -0.1, -0.2, high, rows)
    assert bool(metric_behind(found, MARGINS)) is behind


@given(good=st.integers(0, 60), of=st.integers(60, 80), seed=st.integers(0, 5))
def test_a_difference_between_two_groups_turns_its_sign_with_them(good: int, of: int, seed: int) -> None:
    noise = np.random.default_rng(seed)
    one, other = (
        sample("accuracy", np.array(["yes"] * of), np.arange(of), candidate=np.eye(2)[right], levels=("no", "yes"))
        for right in ((np.arange(of) < good).astype(int), noise.integers(0, 2, of))
    )
    there, back = apart("accuracy", one, other), apart("accuracy", other, one)
    assert there.low <= there.estimate <= there.high
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
