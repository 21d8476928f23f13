import numpy as np
import pytest

from data.schema import Category, Column, Number, Rows
from monitoring.binning import count
from monitoring.calibration import bucket, calibration_for
from monitoring.declarations import Monitors
from monitoring.reference import Reference, build, from_bytes, to_bytes
from monitoring.statistics import SMALL, components, effect, score

PLAIN = Monitors(k=1, n=1)  # a window a day: one in 91 alarms, and is an incident
COLUMNS: dict[str, Column] = {**{f"n{i}": Number() for i in range(4)}, "kind": Category(levels=tuple("abcde"))}


def world(rng: np.random.Generator, rows: int, common: float = 0.0) -> Rows:
    noise = np.sqrt(1 - common) * rng.normal(size=(rows, 5)) + np.sqrt(common) * rng.normal(size=(rows, 1))
    kinds = np.array(list("abcde"), dtype=object)[np.clip(np.floor(noise[:, 4] + 2.5), 0, 4).astype(int)]
    return {**{f"n{i}": noise[:, i] for i in range(4)}, "kind": kinds}


def reference_of(rows: Rows, *, exchangeable: bool = True, seed: int = 0) -> Reference:
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
    )


def alarms(reference: Reference, window: Rows, monitors: Monitors = PLAIN) -> list[str]:
    calibration = calibration_for(reference, len(window["n0"]), monitors)
    found = []
    for name in reference.watched:
        ordered, before = reference.binnings[name].ordered, reference.counts[name]
        now = count(reference.binnings[name], window[name])
        seen = score(components(before, now, ordered), calibration.nulls[name])
        if seen > calibration.threshold and effect(before, now, ordered) >= SMALL:
            found.append(name)
    return found


@pytest.mark.parametrize("common", [0.0, 0.8])
def test_false_alarms_stay_near_one_in_a_hundred_over_many_references_and_half_a_sigma_is_seen(common: float) -> None:
    wrong, seen, windows = 0, 0, 25
    for number in range(16):
        rng = np.random.default_rng([1, number])
        reference = reference_of(world(rng, 400, common), seed=number)
        wrong += sum(bool(alarms(reference, world(rng, 200, common))) for _ in range(windows))
        for _ in range(3):
            window = world(rng, 200, common)
            window["n1"] += 0.5
            seen += "n1" in alarms(reference, window)
    assert wrong / (16 * windows) <= 0.03
    assert seen / 48 >= 0.9


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
