from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from data.schema import Category, Number
from monitoring.answers import answers_of
from monitoring.concentration import concentrated, told
from monitoring.concept import rise
from monitoring.declarations import Monitors
from monitoring.label_flow import all_alike, rate_jump
from monitoring.records import Prediction, WindowKey
from monitoring.reference import Reference, build
from monitoring.verdicts import Around, judge_performance

DELTA = 0.002
CAMERAS = np.array(["north", "south", "east", "west"], dtype=object)


def reference(losses: np.ndarray, answers: list[str] | None = None) -> Reference:
    rows = len(losses)
    rng = np.random.default_rng(0)
    given = np.array(answers or rng.choice(["ripe", "rotten"], rows, p=[0.7, 0.3]).tolist(), dtype=object)
    columns = {
        "camera": Category(levels=tuple(CAMERAS)),
        "weight": Number(),
        "prediction": Category(levels=("ripe", "rotten")),
    }
    observed = {"camera": rng.choice(CAMERAS, rows), "weight": rng.normal(size=rows), "prediction": given}
    return build(
        columns,
        observed,
        held_out=np.ones(rows, bool),
        losses=losses,
        task="classification",
        exchangeable=True,
    )


def wrong(share: float, rows: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(rows) < share).astype(float)


@pytest.mark.parametrize(("labelled", "fault"), [(0, True), (20, True), (170, False), (200, False)])
def test_labels_that_stop_coming_are_a_fault_and_a_few_missing_ones_are_none(labelled: int, fault: bool) -> None:
    before = [(200, 190), (200, 196), (200, 185), (200, 192)]
    assert (rate_jump(before, 200, labelled) is not None) == fault


def test_labels_that_come_for_every_row_where_few_did_are_a_fault() -> None:
    said = rate_jump([(500, 20), (500, 25), (500, 31)], 500, 490)
    assert said == "came for 98% of 500 rows, for 5% in the 3 windows before"


def test_without_history_or_where_windows_always_differed_no_rate_is_a_jump() -> None:
    assert rate_jump([(200, 200), (200, 190)], 200, 0) is None
    assert rate_jump([(200, 20), (200, 180), (200, 90), (200, 150)], 200, 30) is None
    assert rate_jump([(0, 0), (0, 0), (0, 0)], 200, 0) is None


def test_labels_that_are_all_one_class_are_a_fault_where_the_answers_are_not() -> None:
    known = reference(wrong(0.1, 400, 1))
    answers = ["ripe"] * 60 + ["rotten"] * 40
    said = all_alike(known, answers, ["rotten"] * 100)
    assert said is not None
    assert said.startswith("are all 'rotten' in 100 rows, ")
    assert all_alike(known, answers, ["rotten"] * 99 + ["ripe"]) is None
    assert all_alike(known, ["ripe"] * 100, ["ripe"] * 100) is None
    assert all_alike(known, ["rotten"] * 97 + ["ripe"] * 3, ["rotten"] * 100) is None  # a world that rots
    assert all_alike(known, answers[:10], ["rotten"] * 10) is None


def test_labels_of_one_class_are_no_fault_where_the_champion_errs_as_often_as_it_answers_another() -> None:
    rng = np.random.default_rng(1)
    held_out = rng.choice(["ripe", "rotten"], 2000, p=[0.95, 0.05]).tolist()
    cautious = reference((np.array(held_out) == "rotten").astype(float), held_out)  # hardly one of them is rotten
    answers = rng.choice(["ripe", "rotten"], 1000, p=[0.95, 0.05]).tolist()
    assert all_alike(cautious, answers, ["ripe"] * 1000) is None
    assert all_alike(reference(wrong(0.001, 2000, 1), held_out), answers, ["ripe"] * 1000) is not None


def test_a_window_cut_to_a_few_rows_says_nothing_of_how_many_labels_come() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    rows = [Prediction(str(n), "plums", 1, noon, noon, b"", {"class": "ripe"}) for n in range(3)]
    around = Around([(200, 190), (200, 196), (200, 185)])
    for least, outcome in ((20, "insufficient"), (3, "fault")):
        window = WindowKey("plums", 1, 9, noon, noon, 0, 3)
        said = judge_performance(
            reference(wrong(0.1, 400, 1)), answers_of(rows), Monitors(minimum_rows=least), window, None, around
        )
        assert said.outcome == outcome


def test_errors_of_one_camera_are_found_there_and_a_worse_world_is_found_nowhere() -> None:
    known = reference(wrong(0.05, 2000, 2))
    cameras = np.random.default_rng(3).choice(CAMERAS, 800)
    broken = np.where(cameras == "east", wrong(0.8, 800, 4), wrong(0.05, 800, 5))
    found = concentrated(known, broken, {"camera": cameras})
    assert found is not None
    assert (found.column, found.level) == ("camera", "east")
    assert "goes wrong only where camera is 'east'" in told(found)
    assert concentrated(known, wrong(0.3, 800, 6), {"camera": cameras}) is None
    assert concentrated(known, wrong(0.05, 800, 7), {"camera": cameras}) is None


def test_a_hard_slice_that_grew_is_a_change_of_the_mix_and_no_fault() -> None:
    known = reference(wrong(0.05, 2000, 2))
    cameras = np.array(["east"] * 380 + ["north"] * 420, dtype=object)
    hard = np.where(cameras == "east", wrong(0.5, 800, 8), wrong(0.05, 800, 9))
    assert concentrated(known, hard, {"camera": cameras}) is not None  # a quarter of the rows before, not half
    rare = known.binnings["camera"].levels.index("east")
    counts = {**known.counts, "camera": np.where(np.arange(6) == rare, 100, known.counts["camera"])}
    assert concentrated(replace(known, counts=counts), hard, {"camera": cameras}) is None


def test_a_slow_decline_is_seen_that_no_window_shows_and_a_steady_stream_is_none() -> None:
    held_out = wrong(0.1, 500, 10)
    steady = [rise(held_out, wrong(0.1, 4000, seed), DELTA) for seed in range(20)]
    assert steady == [None] * 20
    found = rise(held_out, np.concatenate([wrong(0.1, 1000, 11), wrong(0.22, 1000, 12)]), DELTA)
    assert found is not None
    assert 800 <= found.since <= 1200
    assert found.after > found.before
    assert rise(held_out, np.concatenate([wrong(0.22, 1000, 13), wrong(0.05, 3000, 14)]), DELTA) is None
    assert rise(held_out, np.zeros(0), DELTA) is None
