from datetime import timedelta

import numpy as np
from loop_parts import WINDOW, Orchard, plums

from monitoring.logged import reference_of
from monitoring.records import Label, WindowKey
from tasks.harvesting import harvestable
from tasks.watching import around_of, watch

OLD, NEW = timedelta(minutes=50), timedelta(0)  # labels are mature after an hour


def send(orchard: Orchard, windows: int, ago: timedelta, *, wrong: bool = False) -> None:
    """Let the service answer whole windows; people label them, and say the contrary where the world is another."""
    known = orchard.store.predictions.count(orchard.name)
    rows = plums(windows * WINDOW, seed=known + 1)
    ids = orchard.answer(rows, prefix=f"r{known:06d}-", ago=ago)
    truth = (rows["size"] + rows["sugar"] > 0) != wrong
    said = [Label(id_, "yes" if one else "no", orchard.now()) for id_, one in zip(ids, truth.tolist(), strict=True)]
    orchard.store.labels.record(orchard.name, said, orchard.now())


def test_a_degradation_is_an_incident_however_many_windows_wait_for_their_labels_meanwhile(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 4, OLD, wrong=True)
    send(orchard, 16, NEW)
    watch(orchard, orchard.name)
    assert len(orchard.verdicts()) == 20
    assert orchard.verdicts("performance") == []
    orchard.ahead = timedelta(minutes=15)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts("performance")] == ["degraded"] * 4
    assert [one.kind for one in orchard.store.incidents.open_ones(orchard.name)] == ["degraded"]
    orchard.ahead = timedelta(hours=3)
    watch(orchard, orchard.name)
    assert orchard.store.incidents.open_ones(orchard.name) == []


def test_labels_that_stop_coming_are_seen_however_many_windows_wait_for_theirs(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 4, OLD)
    rows = plums(WINDOW, seed=99)
    orchard.answer(rows, prefix="unlabelled-", ago=OLD)
    send(orchard, 62, NEW)
    watch(orchard, orchard.name)
    orchard.ahead = timedelta(minutes=15)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts("performance")] == ["ok"] * 4 + ["fault"]


def test_a_window_of_labels_that_nobody_can_believe_is_a_fault_of_which_nothing_is_learned(orchard: Orchard) -> None:
    orchard.serve()
    mature = timedelta(hours=2)
    send(orchard, 2, mature)
    rows = plums(WINDOW, seed=99)
    ids = orchard.answer(rows, prefix="z", ago=mature)
    orchard.store.labels.record(orchard.name, [Label(one, "yes", orchard.now()) for one in ids], orchard.now())
    send(orchard, 1, mature)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["ok"] * 4
    assert [one.outcome for one in orchard.verdicts("performance")] == ["ok", "ok", "fault", "ok"]
    [fault] = orchard.store.incidents.recent(orchard.name, 9)
    assert (fault.kind, fault.severity) == ("labels", "critical")
    assert "labels are all 'yes' in 40 rows" in fault.detail["what"]
    assert fault.detail["so_what"].startswith("mend the labels, ")
    assert str(fault.closed_why).startswith("recovered: window 3 ")
    assert {*ids}.isdisjoint(one.id for one in harvestable(orchard, orchard.declared))
    assert orchard.store.labels.count_unharvested(orchard.name) == 3 * WINDOW


def test_errors_under_a_fault_and_answers_themselves_are_not_held_against_later_windows(orchard: Orchard) -> None:
    orchard.serve()
    mature = timedelta(hours=2)
    send(orchard, 1, mature)
    orchard.label(orchard.answer(plums(WINDOW, constant=True), prefix="z", ago=mature), plums(WINDOW))
    send(orchard, 1, mature)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["ok", "fault", "ok"]
    window = WindowKey(orchard.name, 1, 3, orchard.now(), orchard.now(), 3 * WINDOW, 4 * WINDOW)
    known = reference_of(orchard.store, window)
    seen = {"prediction": np.array(["yes"] * WINDOW, dtype=object)}
    around = around_of(orchard, orchard.declared, known, window, seen)
    assert len(around.losses) == 2 * WINDOW
    assert around.slices == {}
