from datetime import timedelta

import numpy as np
import pytest
from loop_parts import WINDOW, Orchard, plums

from data.errors import NotAcceptable
from monitoring.effects import NewIncident
from monitoring.logged import reference_of
from monitoring.records import Label, WindowKey
from tasks.accepting import accept, ask, carry_out
from tasks.around import around_of
from tasks.harvesting import harvestable
from tasks.watching import watch

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


def some_labelled(orchard: Orchard, windows: int, share: float, seed: int) -> list[str]:
    """Let whole windows be answered, of which people label a share; return what is said of their labels."""
    for n in range(windows):
        rows = plums(WINDOW, seed=seed + n)
        ids = orchard.answer(rows, prefix=f"s{seed + n}-")
        orchard.label(ids[: round(share * WINDOW)], rows)
        watch(orchard, orchard.name)
    return [one.outcome for one in orchard.verdicts("performance")][-windows:]


def test_a_rate_of_labels_that_a_person_accepts_is_the_usual_one_at_once_and_the_next_change_is_seen(
    orchard: Orchard,
) -> None:
    orchard.declare(("minimum_rows=20", "minimum_rows=10"))
    orchard.serve()
    assert some_labelled(orchard, 5, 1.0, 100) == ["ok"] * 5
    assert some_labelled(orchard, 2, 0.3, 200) == ["fault"] * 2
    [incident] = orchard.store.incidents.open_ones(orchard.name, "labels")
    assert "holdfast accept" in incident.detail["so_what"]
    ask(orchard, incident.id, "a third is labelled from now on", "ada")
    [asked] = orchard.store.acceptances.open_ones()
    assert "accepted by ada: a third" in carry_out(orchard, asked.id).sentence
    assert "nothing is changed" in accept(orchard, incident.id, "a third is labelled from now on", "bob").sentence
    assert len(orchard.store.ledger.decisions(orchard.name, kinds=("accept",))) == 1
    assert "fault" not in some_labelled(orchard, 4, 0.3, 300)
    assert orchard.store.incidents.open_ones(orchard.name) == []
    assert some_labelled(orchard, 1, 1.0, 400) == ["fault"]


def test_labels_that_are_all_alike_are_not_to_be_accepted(orchard: Orchard) -> None:
    detail = {"columns": ["labels"], "faults": {"labels": "are all 'yes' in 40 rows"}}
    made, _ = orchard.store.incidents.open(NewIncident(orchard.name, "labels", 1, "fault", detail), orchard.now())
    with pytest.raises(NotAcceptable, match="how many labels come"):
        accept(orchard, made.id, "as it should be", "ada")


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
