from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from loop_parts import WINDOW, Orchard, plums
from store_parts import race

from data.errors import NoBatch
from data.schema import Rows, length
from monitoring.records import Label
from monitoring.store.predictions import PredictionLog
from tasks.harvesting import harvest, harvestable
from tasks.ingestion import write_snapshot
from tasks.preparation import prepare
from tasks.snapshot_rows import gather
from tasks.watching import watch


def learned(orchard: Orchard, scratch: Path) -> Rows:
    """What the next training would see."""
    return gather(orchard.batches, orchard.batches.snapshot(orchard.name), orchard.declared.schema, scratch).all()


def test_what_was_labelled_is_harvested_once(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    rows = plums(3 * WINDOW)
    ids = orchard.answer(rows)
    orchard.label(ids[: 2 * WINDOW], rows)
    watch(orchard, orchard.name)
    assert f"{2 * WINDOW} rows accepted" in harvest(orchard, orchard.name).sentence
    before = orchard.batches.snapshot(orchard.name)
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence
    assert orchard.batches.snapshot(orchard.name) == before
    found = learned(orchard, tmp_path / "cache")
    assert found["plum"].tolist() == ids[: 2 * WINDOW]
    assert found["size"].tolist() == rows["size"][: 2 * WINDOW].tolist()
    assert (found["ripe"] == np.where(found["size"] + found["sugar"] > 0, "yes", "no")).all()
    orchard.label(ids, rows)
    assert f"{WINDOW} rows accepted" in harvest(orchard, orchard.name).sentence
    assert orchard.store.labels.count_unharvested(orchard.name) == 0


def test_what_a_version_on_trial_answered_is_judged_by_no_window_and_harvested_with_those_around_it(
    orchard: Orchard, tmp_path: Path
) -> None:
    orchard.serve()
    rows = plums(2 * WINDOW)
    ids = orchard.answer(rows)
    tried = [
        replace(one, id=f"t-{one.id}", trial=1) for one in orchard.store.predictions.find(orchard.name, ids).values()
    ]
    orchard.store.predictions.append([replace(one, row_time=one.row_time + timedelta(seconds=0.5)) for one in tried])
    orchard.label([*ids, *(one.id for one in tried)], {name: np.tile(values, 2) for name, values in rows.items()})
    watch(orchard, orchard.name)
    assert [one.rows for one in orchard.verdicts()] == [WINDOW, WINDOW]
    last = max(tried, key=lambda one: one.row_time)  # after the end of the last window
    assert f"{4 * WINDOW - 1} rows accepted" in harvest(orchard, orchard.name).sentence
    assert set(learned(orchard, tmp_path / "cache")["plum"]) == {*ids, *(one.id for one in tried)} - {last.id}


def test_a_harvest_killed_before_it_was_noted_doubles_no_row(
    orchard: Orchard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    orchard.serve()
    rows = plums(4 * WINDOW)
    ids = orchard.answer(rows)
    watch(orchard, orchard.name)
    orchard.label(ids[: 2 * WINDOW], rows)
    with monkeypatch.context() as crash:
        crash.setattr(PredictionLog, "mark_harvested", interrupted)
        with pytest.raises(KeyboardInterrupt):
            harvest(orchard, orchard.name)
    orchard.label(ids, rows)  # more came before it was run again, so it is another batch
    harvest(orchard, orchard.name)
    assert len(orchard.batches.snapshot(orchard.name).files) == 2
    assert sorted(learned(orchard, tmp_path / "cache")["plum"]) == ids
    folder = tmp_path / "run"
    write_snapshot(folder / "snapshot.json", orchard.batches.snapshot(orchard.name))
    assert sum(prepare(orchard.declared, orchard.batches, folder).values()) == len(ids)


def test_harvests_at_once_land_one_batch(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    orchard.label(orchard.answer(rows), rows)
    watch(orchard, orchard.name)
    said = race(3, lambda _: harvest(orchard.another(), orchard.name).sentence)
    assert all(isinstance(one, str) for one in said), said
    [file] = orchard.batches.snapshot(orchard.name).files
    assert file.rows == WINDOW


def test_rows_of_a_window_in_fault_never_land(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    good, dead, again = plums(WINDOW), plums(WINDOW, constant=True), plums(WINDOW, seed=2)
    ids = [orchard.answer(rows, prefix=name) for name, rows in (("a", good), ("b", dead), ("c", again))]
    for some, rows in zip(ids, (good, dead, again), strict=True):
        orchard.label(some, rows)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["ok", "fault", "ok"]
    harvest(orchard, orchard.name)
    found = learned(orchard, tmp_path / "cache")
    assert sorted(found["plum"]) == ids[0] + ids[2]
    assert length(found) == 2 * WINDOW


def test_rows_are_not_harvested_before_their_labels_are_mature_nor_before_their_window_is_judged(
    orchard: Orchard,
) -> None:
    orchard.serve()
    rows = plums(WINDOW)
    orchard.label(orchard.answer(rows, ago=timedelta(minutes=50)), rows)
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence
    watch(orchard, orchard.name)
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence
    with pytest.raises(NoBatch):
        orchard.batches.snapshot(orchard.name)
    orchard.ahead = timedelta(minutes=15)
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence
    watch(orchard, orchard.name)
    assert f"{WINDOW} rows accepted" in harvest(orchard, orchard.name).sentence


def straddling(orchard: Orchard) -> None:
    """A window the labels of whose older half are mature, all of them the same."""
    ids = orchard.answer(plums(WINDOW, seed=99), ago=timedelta(hours=1, seconds=WINDOW // 2))
    orchard.store.labels.record(orchard.name, [Label(one, "yes", orchard.now()) for one in ids], orchard.now())
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["ok"]
    assert orchard.verdicts("performance") == []


def test_rows_wait_until_it_is_known_whether_the_labels_of_their_window_can_be_believed(orchard: Orchard) -> None:
    orchard.serve()
    straddling(orchard)
    delay = orchard.declared.labels.delay
    assert orchard.store.labels.count_unharvested(orchard.name, until=orchard.now() - delay) == 0
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence
    orchard.ahead = timedelta(minutes=5)
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence  # due by now, and not given yet
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts("performance")] == ["fault"]
    assert "no labelled traffic" in harvest(orchard, orchard.name).sentence


def test_a_window_with_few_labels_and_one_of_a_replaced_generation_are_waited_for_no_longer_than_their_verdict(
    orchard: Orchard,
) -> None:
    orchard.serve()
    rows = plums(WINDOW + 5)
    orchard.label(orchard.answer(rows)[-10:], {name: values[-10:] for name, values in rows.items()})
    orchard.serve("2")
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts("performance")] == ["insufficient"] * 2
    assert "10 rows accepted" in harvest(orchard, orchard.name).sentence


def test_a_window_that_no_check_will_look_at_again_is_not_waited_for(orchard: Orchard) -> None:
    orchard.serve()
    rows = plums(2 * WINDOW)
    orchard.label(orchard.answer(rows, ago=timedelta(minutes=50)), rows)
    watch(orchard, orchard.name)
    orchard.declare(("Window(rows=40)", "Window(rows=100)"))
    orchard.serve("2")
    orchard.ahead = timedelta(minutes=15)
    watch(orchard, orchard.name)
    assert [one.window.index for one in orchard.verdicts("performance")] == [0]  # the only one of 100 rows
    assert f"{2 * WINDOW} rows accepted" in harvest(orchard, orchard.name).sentence


def test_a_row_is_harvested_once_where_windows_are_declared_anew(orchard: Orchard) -> None:
    by_time = ("window=Window(rows=40)", "window=Window(span=timedelta(hours=2))")
    orchard.declare(("delay=timedelta(hours=1)", "delay=timedelta(0)"), by_time)
    orchard.serve()
    rows = plums(4 * WINDOW)
    orchard.label(orchard.answer(rows), rows)
    orchard.ahead += timedelta(hours=3)
    watch(orchard, orchard.name)
    orchard.declare(by_time[::-1])
    watch(orchard, orchard.name)
    found = [one.id for one in harvestable(orchard, orchard.declared)]
    assert len(found) == len(set(found)) == 4 * WINDOW
