from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.signal import lfilter

from data.schema import Category, Column, Number, Rows
from monitoring.answers import Answers
from monitoring.budget import NORMAL, Rule, power_a_window
from monitoring.concept import delta_for
from monitoring.declarations import Monitors
from monitoring.episodes import Episodes
from monitoring.performance import against_past
from monitoring.records import Verdict, WindowKey
from monitoring.reference import Reference, build
from monitoring.verdicts import judge_performance

NOW = datetime(2026, 1, 5, tzinfo=UTC)
HOURLY = Rule(1.0, 24 * 91.3125, 2, 3, 3600.0)
A_DAY = 48


def reference_of(losses: np.ndarray, rows: Rows | None = None, *, exchangeable: bool = False) -> Reference:
    rows = rows or {"n0": np.random.default_rng(0).normal(size=200)}
    size = len(rows["n0"])
    columns: dict[str, Column] = dict.fromkeys(rows, Number())
    return build(
        columns,
        rows,
        held_out=np.ones(size, bool),
        losses=losses,
        task="regression",
        exchangeable=exchangeable,
        times=np.datetime64("2026-01-05", "us") + np.arange(size) * np.timedelta64(30, "m"),
        rows_a_quarter=A_DAY * 91.3,
    )


def judged(reference: Reference, losses: np.ndarray, number: int) -> Verdict:
    answers = Answers(losses, labels=np.zeros(len(losses), dtype=object))
    begin = NOW + timedelta(days=number)
    window = WindowKey("p", 1, number, begin, begin + timedelta(days=1))
    return judge_performance(reference, answers, Monitors(minimum_rows=A_DAY), window)


def by_the_hour(rng: np.random.Generator, hours: int, rows: int) -> np.ndarray:
    """Errors of values that grow in the same hours of each day and hang together for some hours: (hours, rows)."""
    noise = lfilter([np.sqrt(1 - 0.8**2)], [1, -0.8], rng.normal(size=hours + 100))[100:]
    busy = np.sin(2 * np.pi * np.arange(hours) / 24) + noise
    return np.asarray(np.abs(rng.normal(size=(hours, rows))) * np.exp(0.4 * busy)[:, None])


def test_errors_that_grow_in_some_hours_open_no_more_than_the_share_of_the_performance_check() -> None:
    opened, days = [], 14
    for seed in range(8):
        losses = by_the_hour(np.random.default_rng(seed), round(HOURLY.windows) + days * 24, 20)
        found = against_past(reference_of(losses[: days * 24].ravel()), losses[-1], HOURLY)
        assert found is not None
        opened.append(len(Episodes(losses[days * 24 :].mean(1), HOURLY.k, HOURLY.n).heights(found.level)))
    assert sum(opened) <= 4  # 0.19 a quarter are asked; a t-test of single windows opens about twelve


def test_an_error_that_no_hour_of_the_past_had_is_still_seen_by_the_hour() -> None:
    losses = by_the_hour(np.random.default_rng(4), 30 * 24, 20)
    reference = reference_of(losses[: 28 * 24].ravel())
    found = against_past(reference, losses[-1], HOURLY)
    assert found is not None
    assert found.basis.endswith(" of history, 27 days")
    assert not found.degraded
    worse = [against_past(reference, window + found.detectable, HOURLY) for window in losses[28 * 24 :]]
    runs = np.lib.stride_tricks.sliding_window_view([one is not None and one.degraded for one in worse], 3)
    assert (runs.sum(1) >= 2).mean() >= 0.6


@pytest.mark.parametrize("shown_by", ["columns", "losses"])
def test_errors_of_rows_that_are_wrongly_declared_exchangeable_are_judged_in_time(shown_by: str) -> None:
    rng, days = np.random.default_rng(2), 56
    weekend = (np.arange(days * A_DAY) // A_DAY) % 7 >= 5
    drifting = np.repeat(rng.normal(size=days), A_DAY) if shown_by == "columns" else 0.0
    rows: Rows = {"n0": drifting + rng.normal(size=days * A_DAY)}
    losses = np.abs(rng.normal(size=days * A_DAY)) * (1 + weekend * (shown_by == "losses"))
    said = [
        judged(reference_of(losses[-14 * A_DAY :], rows, exchangeable=exchangeable), losses[-A_DAY:], days)
        for exchangeable in (True, False)
    ]
    assert said[0] == said[1]
    assert "of history" in said[0].detail["basis"]


def test_what_is_announced_of_values_that_hang_together_in_time_is_seen_about_four_times_in_five() -> None:
    daily, seen = Rule(1.0, 91.3, 2, 3), []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        losses = np.abs(rng.normal(size=(17, A_DAY))) * np.exp(0.4 * rng.normal(size=(17, 1)))
        known = reference_of(losses[:14].ravel())
        usual = against_past(known, losses[14], daily)
        assert usual is not None
        worse = losses[14:] * (1 + usual.detectable / (np.sqrt(2 / np.pi) * np.exp(0.08)))
        found = [against_past(known, window, daily) for window in worse]
        seen.append(sum(one is not None and one.degraded for one in found) >= 2)
    assert np.mean(seen) >= 0.7


def test_a_history_of_three_days_that_differ_opens_no_more_than_a_long_one() -> None:
    daily, opened = Rule(1.0, 91.3, 2, 3), 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        losses = np.abs(rng.normal(size=(3 + 91, A_DAY))) * np.exp(0.4 * rng.normal(size=(3 + 91, 1)))
        known = reference_of(losses[:3].ravel())
        found = [against_past(known, window, daily) for window in losses[3:]]
        alarms = np.array([float(one is not None and one.degraded) for one in found])
        opened += len(Episodes(alarms, daily.k, daily.n).heights(0.5))
    assert opened <= 5  # 0.19 a quarter are asked; quarters of days, taken as independent, open about sixteen


def test_errors_of_rows_that_are_exchangeable_are_held_against_all_that_were_held_out() -> None:
    rng = np.random.default_rng(2)
    rows, losses = {"n0": rng.normal(size=2000)}, np.abs(rng.standard_t(4, 1000))
    said = judged(reference_of(losses, rows, exchangeable=True), losses[:A_DAY], 0)
    assert said.detail["basis"] == "1000 held-out rows"


@pytest.mark.parametrize("ratio", [0.01, 1.0])
def test_what_is_announced_counts_that_all_windows_share_the_luck_of_the_held_out_rows(ratio: float) -> None:
    rng, rule = np.random.default_rng(0), Rule(1.0, 91.3, 2, 3)
    own, shared = 1 / np.sqrt(1 + ratio), np.sqrt(ratio / (1 + ratio))
    apart = own * rng.normal(size=(20_000, 3)) + shared * rng.normal(size=(20_000, 1))
    seen = ((apart + power_a_window(rule, 0.8, ratio) > 0).sum(1) >= 2).mean()
    assert seen == pytest.approx(0.8, abs=0.02)
    assert power_a_window(rule, 0.8, ratio) > NORMAL.inv_cdf(0.7)


def test_the_confidence_of_the_detector_of_rises_follows_from_the_budget() -> None:
    usual = Rule(1.0, 91.3, 2, 3)
    assert delta_for(usual, 200) == 0.002
    assert delta_for(Rule(0.01, 91.3, 2, 3), 200) == pytest.approx(0.05 * 0.01 / 1.826, rel=1e-3)
    assert delta_for(usual, 500_000) < delta_for(usual, 50_000) < 0.002


def test_answers_that_are_nearly_all_wrong_anyway_have_no_loss_to_be_seen() -> None:
    rows: Rows = {"prediction": np.array(["a", "b"] * 100, dtype=object)}
    wrong = (np.arange(100) < 92).astype(float)
    columns: dict[str, Column] = {"prediction": Category(levels=("a", "b"))}
    held_out = np.ones(200, bool)
    known = build(columns, rows, held_out=held_out, losses=wrong, task="classification", exchangeable=True)
    labels = np.array(["ab"[one % 12 != 0] for one in range(60)], dtype=object)
    answers = Answers(np.full(60, "a", dtype=object), np.ones(60), labels=labels)
    said = judge_performance(known, answers, Monitors(), WindowKey("p", 1, 0, NOW, NOW))
    assert said.outcome == "ok"
    assert "would have seen no loss, at" in said.reason
