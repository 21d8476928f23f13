from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from data.schema import Category, Column, Number, Rows
from monitoring import past, unchanged
from monitoring.binning import count, encode
from monitoring.budget import Rule, incidents, performance_rate, rate_for
from monitoring.calibration import bucket, calibration_for
from monitoring.declarations import Governor, Monitors
from monitoring.episodes import Episodes
from monitoring.evidence import Setting
from monitoring.governor import Circumstances
from monitoring.incidents import effects
from monitoring.records import Incident, Verdict, WindowKey
from monitoring.reference import Reference, build
from monitoring.statistics import SMALL, components, effect, score, tally
from monitoring.stored_reference import from_bytes, to_bytes

PLAIN = Monitors(k=1, n=1)  # a window a day: one in 91 alarms, and is an incident
NOW = datetime(2026, 11, 21, tzinfo=UTC)
COLUMNS: dict[str, Column] = {**{f"n{i}": Number() for i in range(4)}, "kind": Category(levels=tuple("abcde"))}


def world(rng: np.random.Generator, rows: int, common: float = 0.0) -> Rows:
    noise = np.sqrt(1 - common) * rng.normal(size=(rows, 5)) + np.sqrt(common) * rng.normal(size=(rows, 1))
    kinds = np.array(list("abcde"), dtype=object)[np.clip(np.floor(noise[:, 4] + 2.5), 0, 4).astype(int)]
    return {**{f"n{i}": noise[:, i] for i in range(4)}, "kind": kinds}


def reference_of(rows: Rows, *, exchangeable: bool = True, seed: int = 0, times: np.ndarray | None = None) -> Reference:
    size = len(rows["n0"])
    columns = {name: COLUMNS[name] for name in rows}
    return build(
        columns,
        rows,
        held_out=np.ones(size, bool),
        losses=np.zeros(20),
        task="classification",
        exchangeable=exchangeable,
        seed=seed,
        times=times,
    )


def alarms(reference: Reference, window: Rows, monitors: Monitors = PLAIN) -> list[str]:
    calibration = calibration_for(reference, len(window["n0"]), monitors)
    found = []
    for name in reference.watched:
        ordered, before = reference.binnings[name].ordered, calibration.known[name]
        now = count(reference.binnings[name], window[name])
        seen = float(score(components(before, now, ordered), calibration.nulls[name]))
        if calibration.drifted(name, seen, float(effect(before, now, ordered))):
            found.append(name)
    return found


@dataclass(frozen=True)
class Quarter:
    incidents: int
    alarms: float


def quarter(
    reference: Reference, stream: Rows, rows: int, monitors: Monitors, begin: datetime | None = None
) -> Quarter:
    assert monitors.window.span is not None
    starts = [None if begin is None else begin + i * monitors.window.span for i in range(len(stream["n0"]) // rows)]
    found = [calibration_for(reference, rows, monitors, start) for start in starts]
    highest = np.full(len(starts), -np.inf)
    for name in set(reference.watched) - set(found[0].blind):
        binning = reference.binnings[name]
        now = tally(encode(binning, stream[name][: len(starts) * rows]).reshape(-1, rows), binning.bins)
        known = np.array([one.known[name] for one in found])
        seen = score(components(known, now, binning.ordered), found[0].nulls[name])
        highest = np.maximum(highest, np.where(effect(known, now, binning.ordered) >= SMALL, seen, -np.inf))
    opened = Episodes(highest, monitors.k, monitors.n).heights(found[0].threshold)
    return Quarter(len(opened), float((highest > found[0].threshold).mean()))


def interval(counts: list[int]) -> tuple[float, float]:
    """Of the mean over references, two sided, 95 %."""
    error = 1.96 * np.std(counts, ddof=1) / np.sqrt(len(counts))
    return float(np.mean(counts) - error), float(np.mean(counts) + error)


def exchangeable_quarters(references: int, size: int = 400, rows: int = 200, common: float = 0.3) -> list[int]:
    found = []
    for number in range(references):
        rng = np.random.default_rng([1, number])
        reference = reference_of(world(rng, size, common), seed=number)
        found.append(quarter(reference, world(rng, 91 * rows, common), rows, Monitors()).incidents)
    return found


def test_false_incidents_keep_to_the_budget_over_many_references_where_rows_are_exchangeable() -> None:
    low, high = interval(exchangeable_quarters(16))
    assert low <= 1.0
    assert high <= 2.0


def test_a_reference_that_is_taken_for_the_world_itself_would_break_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = unchanged.drawn

    def as_if_exact(reference: Reference, *more: Any) -> Iterator[unchanged.Drawn]:
        for one in drawn(reference, *more):
            known = np.broadcast_to(reference.counts[one.name].astype(np.float32), one.references.shape)
            yield replace(one, references=known)

    monkeypatch.setattr(unchanged, "drawn", as_if_exact)
    low, _ = interval(exchangeable_quarters(8))
    assert low > 1.0


def season(rng: np.random.Generator, days: int, a_day: int = 48) -> Rows:
    at = np.arange(days * a_day)[:, None]
    noise = lfilter([np.sqrt(1 - 0.8**2)], [1, -0.8], rng.normal(size=(len(at) + 100, 4)), axis=0)[100:]
    values = np.sin(2 * np.pi * at / a_day) + ((at // a_day) % 7 >= 5) + noise
    return {f"n{i}": values[:, i] for i in range(4)}


def seasonal_quarters(references: int, monitors: Monitors, *, exchangeable: bool) -> list[Quarter]:
    found, days = [], 56
    for number in range(references):
        rows = season(np.random.default_rng([2, number]), days + 91)
        times = np.datetime64("2026-01-05", "us") + np.arange(days * 48) * np.timedelta64(30, "m")
        known = {name: values[: days * 48] for name, values in rows.items()}
        reference = reference_of(known, exchangeable=exchangeable, seed=number, times=times)
        begin = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=days)
        found.append(quarter(reference, {n: v[days * 48 :] for n, v in rows.items()}, 48, monitors, begin))
    return found


@pytest.mark.parametrize(("k", "n", "exchangeable"), [(2, 3, False), (1, 1, True)])
def test_false_incidents_keep_to_the_budget_on_a_seasonal_stream_whatever_is_declared(
    k: int, n: int, exchangeable: bool
) -> None:
    found = seasonal_quarters(12, Monitors(k=k, n=n), exchangeable=exchangeable)
    low, high = interval([one.incidents for one in found])
    assert low <= 1.0
    assert high <= 2.5
    assert np.mean([one.alarms for one in found]) <= 0.15


def test_a_seasonal_stream_whose_rows_were_resampled_would_alarm_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "contradicts", lambda *of: False)
    found = seasonal_quarters(2, Monitors(), exchangeable=True)
    assert np.mean([one.alarms for one in found]) > 0.5


def test_windows_of_a_seasonal_stream_are_compared_with_the_same_days_of_the_week() -> None:
    rows = season(np.random.default_rng(3), 56)
    times = np.datetime64("2026-01-05", "us") + np.arange(56 * 48) * np.timedelta64(30, "m")
    reference = reference_of(rows, exchangeable=False, times=times)
    monday, saturday = (
        calibration_for(reference, 48, Monitors(), datetime(2026, 3, day, tzinfo=UTC)) for day in (9, 14)
    )
    assert monday.period == "hour of the week"
    assert monday.known["n0"].sum() == 8 * 48
    assert monday.threshold == saturday.threshold
    assert (monday.known["n0"] != saturday.known["n0"]).any()
    again = from_bytes(to_bytes(reference))
    assert calibration_for(again, 48, Monitors(), datetime(2026, 3, 9, tzinfo=UTC)) == monday


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 3), (3, 5)])
def test_incidents_are_counted_as_verdicts_open_them(k: int, n: int) -> None:
    rng = np.random.default_rng(k)
    bad = (rng.random(150) < 0.3) | (lfilter([1], [1, -0.9], rng.normal(size=150)) > 2)
    opened, recent, open_ones = 0, list[Verdict](), list[Incident]()
    for index, one in enumerate(bad):
        window = WindowKey("p", 1, index, NOW, NOW)
        verdict = Verdict(window, "data", "drift" if one else "ok", 100, "")
        met = Setting(Monitors(k=k, n=n), Governor(), Circumstances(NOW, 0), recent[-4 * n :], open_ones, (), NOW)
        found = effects(verdict, met)
        if found.closed:
            open_ones = []
        if found.opened:
            opened += 1
            open_ones = [Incident(opened, "p", "drift", 1, NOW, "", {})]
        recent.append(verdict)
    assert opened == len(Episodes(bad.astype(float), k, n).heights(0.5)) > 1


def test_the_expected_number_of_incidents_is_that_of_the_rule() -> None:
    rng, rule = np.random.default_rng(0), Rule(1.0, 1.0, 2, 3)
    for rate in (0.02, 0.1, 0.3):
        counted = len(Episodes(rng.random(60_000), 2, 3).heights(1 - rate)) / 60_000
        assert counted == pytest.approx(float(incidents(np.array(rate), rule)), rel=0.2)
    assert rate_for(1.0, 91.3, 1, 1) == pytest.approx(1 / 91.3, rel=0.05)


def test_the_performance_check_alarms_the_rarer_the_more_its_windows_share_their_luck() -> None:
    rule = Rule(1.0, 91.3, 2, 3)
    rates = [performance_rate(rule, ratio) for ratio in (0.01, 0.2, 1.0, 5.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(0.1 * rule.rate, rel=0.1)


def test_the_threshold_is_the_same_for_the_same_reference_however_it_was_stored() -> None:
    reference = reference_of(world(np.random.default_rng(0), 400))
    again = from_bytes(to_bytes(reference))
    assert calibration_for(reference, 200, PLAIN) == calibration_for(again, 203, PLAIN)
    assert from_bytes(to_bytes(again)) is again


def test_smaller_windows_and_stricter_budgets_see_less() -> None:
    reference = reference_of(world(np.random.default_rng(0), 400))
    sizes = [calibration_for(reference, rows, PLAIN).detectable["n0"].size for rows in (50, 200, 2000)]
    assert sizes == sorted(sizes, key=lambda size: -(size or 9.0))
    strict = calibration_for(reference, 200, Monitors(k=1, n=1, false_incidents=0.1))
    assert strict.threshold > calibration_for(reference, 200, PLAIN).threshold


def test_what_the_calibration_says_it_can_see_is_seen_in_four_of_five_windows() -> None:
    rng = np.random.default_rng(5)
    reference = reference_of(world(rng, 1000))
    size = calibration_for(reference, 200, PLAIN).detectable["n2"].size
    assert size is not None
    seen = 0
    for _ in range(60):
        window = world(rng, 200)
        window["n2"] += size
        seen += "n2" in alarms(reference, window)
    assert seen / 60 >= 0.7


def walk(rng: np.random.Generator, rows: int, memory: float) -> Rows:
    noise, values = rng.normal(size=(rows, 2)) * np.sqrt(1 - memory**2), np.zeros((rows, 2))
    for row in range(1, rows):
        values[row] = memory * values[row - 1] + noise[row]
    return {"n0": values[:, 0], "n1": values[:, 1]}


def test_rows_that_hang_together_in_time_are_judged_by_blocks_of_the_history() -> None:
    rng = np.random.default_rng(2)
    rate: dict[bool, list[float]] = {True: [], False: []}
    for number in range(4):
        rows = walk(rng, 4000 + 40 * 100, 0.95)
        history = {name: values[:4000] for name, values in rows.items()}
        windows = [{name: v[4000 + i * 100 : 4100 + i * 100] for name, v in rows.items()} for i in range(40)]
        for exchangeable in (True, False):
            reference = reference_of(history, exchangeable=exchangeable, seed=number)
            rate[exchangeable].append(float(np.mean([bool(alarms(reference, window)) for window in windows])))
    assert np.mean(rate[False]) < 0.1
    assert np.mean(rate[True]) < 0.1  # past windows contradict what was declared
    assert "rows are not exchangeable" in calibration_for(reference_of(history), 100, PLAIN).budget.sentence


def test_a_short_history_states_the_smallest_rate_it_supports() -> None:
    history = walk(np.random.default_rng(2), 1000, 0.9)
    calibration = calibration_for(reference_of(history, exchangeable=False), 100, PLAIN)
    assert (calibration.blocks, calibration.supported) == (10, True)
    assert calibration.budget.sentence.startswith("2.3 false incidents a quarter, the least that 10")
    assert not calibration_for(reference_of(history, exchangeable=False), 600, PLAIN).supported


def test_a_column_with_an_upheaval_in_its_history_blinds_no_other() -> None:
    rows = walk(np.random.default_rng(2), 4000, 0.5)
    rows["n2"], rows["n3"] = np.full(4000, 0.5), walk(np.random.default_rng(3), 4000, 0.5)["n0"]
    calm = calibration_for(reference_of(dict(rows), exchangeable=False), 100, PLAIN)
    rows["n2"] = np.where(np.arange(4000) < 3980, 0.5, 0.9)
    upset = calibration_for(reference_of(rows, exchangeable=False), 100, PLAIN)
    assert upset.threshold == pytest.approx(calm.threshold, rel=0.2)
    assert upset.detectable["n0"].size == calm.detectable["n0"].size


def test_columns_that_never_moved_do_not_make_the_others_odd() -> None:
    rng = np.random.default_rng(8)
    rows = world(rng, 2000)
    for name in ("n0", "n1", "n2"):
        rows[name] = np.full(2000, 0.5)
    week = np.repeat([0.0] * 9 + [1.0], 200)  # an upheaval in both of the others
    rows["n3"] = week + rng.normal(size=2000)
    rows["kind"] = np.where(week + rng.normal(size=2000) > 0, "a", "b").astype(object)
    calibration = calibration_for(reference_of(rows, exchangeable=False), 200, PLAIN)
    assert calibration.supported
    assert calibration.threshold > 0
    assert all(np.isfinite([*null.mean, *null.shape]).all() for null in calibration.nulls.values())


@pytest.mark.parametrize(("rows", "expected"), [(1, 1), (57, 57), (204, 200), (1_250_000, 1_200_000)])
def test_sizes_near_each_other_share_a_calibration(rows: int, expected: int) -> None:
    assert bucket(rows) == expected
