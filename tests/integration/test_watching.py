from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from loop_parts import WINDOW, Orchard, Orchestra, plums
from store_parts import generation, race

from data.errors import HoldfastError
from monitoring.effects import Effects, NewIncident
from monitoring.incidents import effects
from monitoring.records import Verdict, WindowKey
from monitoring.verdicts import failed
from tasks import watching
from tasks.acting import acknowledge
from tasks.person_runs import retrain
from tasks.watching import reconsider, watch


def send(orchard: Orchard, windows: int, *, shift: float = 0.0, labelled: bool = True, constant: bool = False) -> None:
    """Let the service answer whole windows, and people label them."""
    known = orchard.store.predictions.count(orchard.name)
    rows = plums(windows * WINDOW, shift=shift, seed=known, constant=constant)
    ids = orchard.answer(rows, prefix=f"r{known:06d}-")
    if labelled:
        orchard.label(ids, rows)


def rulings(orchard: Orchard) -> list[str]:
    """What the governor said of incidents, oldest first."""
    found = orchard.store.ledger.decisions(orchard.name, kinds=watching.RULINGS)
    return [line.kind for line in reversed(found)]


def test_each_window_gets_one_verdict_a_check_however_many_watch_at_once(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 3)
    send(orchard, 4, shift=3.0)
    race(4, lambda _: watch(orchard.another(), orchard.name))
    given = Counter((one.window.index, one.check) for one in orchard.store.verdicts.all(orchard.name))
    assert given == {(index, check): 1 for index in range(7) for check in ("data", "performance")}
    assert [one.outcome for one in orchard.verdicts()] == ["ok"] * 3 + ["drift"] * 4
    assert len(orchard.store.incidents.recent(orchard.name, 10)) == 1
    assert orchard.outbox() == ["log", "prefect"]
    assert len(orchard.store.intents.all(orchard.name)) == 1
    assert watch(orchard, orchard.name).sentence.startswith("no window is due")


def test_one_verdict_is_not_several(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 1)
    window = WindowKey(orchard.name, 1, 0, orchard.now(), orchard.now(), 0, WINDOW)
    before = failed(window, "data", WINDOW, "a test")  # as a watch that is killed then leaves it
    assert orchard.store.record_verdict(before, Effects(), orchard.now())
    assert watch(orchard, orchard.name).sentence.startswith("1 verdict; window 0 of generation 1: ")


def test_a_storm_of_drift_is_one_incident_one_alert_and_one_retraining(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 50, shift=3.0)
    orchestra = Orchestra()
    keeper = orchestra.keeper(orchard)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["drift"] * 50
    assert len(orchard.store.incidents.recent(orchard.name, 10)) == 1
    assert orchard.outbox() == ["log", "prefect"]
    [intent] = orchard.store.intents.all(orchard.name)
    keeper.deliver()
    asked = [said["intent"] for event, said in orchestra.emitted if event == "holdfast.retrain.requested"]
    assert asked == [intent.id]
    learn(orchard)
    orchard.store.intents.end(intent.id, "refused", orchard.now())
    orchard.ahead = timedelta(days=2)
    send(orchard, 1, shift=3.0)  # one incident, one retraining, until there are twice as many labels
    watch(orchard, orchard.name)
    keeper.decide_again()
    assert orchard.store.intents.all(orchard.name)[1:] == []
    assert orchard.outbox() == ["log"]  # what came of the retraining


def test_a_retraining_that_came_to_nothing_is_tried_again_each_time_with_twice_the_labels(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 3, shift=3.0)
    watch(orchard, orchard.name)
    for tried in (1, 1, 2, 2, 2, 3):  # a window has 40 labels; 60 are needed after the first, then 120
        watch(orchard, orchard.name)
        reconsider(orchard)
        intents = orchard.store.intents.all(orchard.name)
        if [one.outcome for one in intents if one.ended_at is None]:
            learn(orchard)
            orchard.store.intents.end(intents[-1].id, "kept", orchard.now())
        assert len(intents) == tried
        orchard.ahead += timedelta(days=2)
        send(orchard, 1, shift=3.0)
    assert len(orchard.store.incidents.recent(orchard.name, 10)) == 1


def test_after_three_refusals_people_are_told_and_one_more_is_tried_on_twice_as_much_that_is_new(
    orchard: Orchard,
) -> None:
    orchard.serve()
    send(orchard, 3, shift=3.0)
    ended: list[int] = []
    for _ in range(14):  # a window has 40 labels; 30 are needed, then 60, 120 and 240
        watch(orchard, orchard.name)
        reconsider(orchard)
        for intent in orchard.store.intents.open_ones(orchard.name):
            learn(orchard)
            orchard.store.intents.end(intent.id, "refused", orchard.now())
            ended.append(orchard.store.predictions.count(orchard.name) // WINDOW)
            reconsider(orchard)
        orchard.ahead += timedelta(days=2)
        send(orchard, 1, shift=3.0)
    assert ended == [3, 5, 8, 14]
    lines = orchard.store.ledger.decisions(orchard.name, kinds=("block",))
    assert [line.inputs["failures"] for line in reversed(lines)] == [3, 4]
    due = orchard.store.outbox.due(orchard.now() + timedelta(days=1), 1000)
    said = [one.payload["text"] for one in due if "retraining is blocked" in one.payload.get("text", "")]
    assert len(said) == 2
    assert "a person must look (breaker 3), or 240 new labelled rows must come" in said[0]


def learn(orchard: Orchard) -> None:
    """Let what is labelled be in a snapshot, as a retraining would."""
    known = orchard.store.predictions.since(orchard.name, datetime(2000, 1, 1, tzinfo=UTC))
    orchard.store.predictions.mark_harvested(orchard.name, [one.id for one in known if one.label is not None], "all")


def test_storms_that_come_and_go_start_no_more_retrainings_a_day_than_are_allowed(orchard: Orchard) -> None:
    orchard.serve()
    for _ in range(7):
        orchard.ahead += timedelta(hours=2)
        send(orchard, 3)
        send(orchard, 2, shift=3.0)
        watch(orchard, orchard.name)
        reconsider(orchard)
        for intent in orchard.store.intents.open_ones(orchard.name):
            orchard.store.intents.end(intent.id, "kept", orchard.now())
    assert len(orchard.store.incidents.recent(orchard.name, 20)) == 7
    assert len(orchard.store.intents.all(orchard.name)) == 3
    assert rulings(orchard) == ["retrain"] * 3 + ["wait"] * 4


def test_drift_and_degradation_seen_at_once_are_one_incident_and_one_retraining(orchard: Orchard) -> None:
    orchard.declare(("minimum_rows=20", "minimum_rows=20, k=1, n=1"))
    serving = orchard.serve()
    orchard.label(orchard.answer(plums(WINDOW)), plums(WINDOW))
    met = watching.setting(orchard, orchard.declared, serving)  # by each of two who watch, before the other writes
    window = WindowKey(orchard.name, 1, 0, orchard.now(), orchard.now(), 0, WINDOW)
    for said in (
        Verdict(window, "data", "drift", WINDOW, "drift: as a test says"),
        Verdict(window, "performance", "degraded", WINDOW, "degraded: as a test says"),
    ):
        assert orchard.store.record_verdict(said, effects(said, met), orchard.now())
    assert [one.kind for one in orchard.store.incidents.open_ones(orchard.name)] == ["drift"]
    assert len(orchard.store.intents.all(orchard.name)) == 1
    assert orchard.outbox() == ["log", "prefect"]


def test_a_retraining_that_waits_for_labels_starts_once_when_they_come(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 2, shift=3.0, labelled=False)
    watch(orchard, orchard.name)
    for _ in range(3):
        reconsider(orchard)
    assert rulings(orchard) == ["wait"]
    assert orchard.store.intents.all(orchard.name) == []
    rows = plums(2 * WINDOW, shift=3.0, seed=0)
    orchard.label(
        [one.id for one in orchard.store.predictions.since(orchard.name, orchard.serving.at - timedelta(1))], rows
    )
    race(4, lambda _: reconsider(orchard.another()))
    reconsider(orchard)
    assert rulings(orchard) == ["wait", "retrain"]
    [intent] = orchard.store.intents.all(orchard.name)
    assert intent.incident_id == orchard.store.incidents.open_ones(orchard.name)[0].id
    assert orchard.outbox() == ["log", "log", "prefect"]  # drift, and then that its labels are overdue


def test_labels_of_rows_that_can_never_be_harvested_start_no_retraining(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 2, constant=True)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["fault"] * 2
    send(orchard, 2, shift=3.0, labelled=False)
    watch(orchard, orchard.name)
    assert rulings(orchard) == ["wait"]
    assert "nothing new to learn" in orchard.store.ledger.decisions(orchard.name, kinds=("wait",))[0].reason


def test_an_incident_of_a_project_that_is_gone_keeps_no_other_waiting(orchard: Orchard) -> None:
    orchard.store.ledger.append_generation(0, generation("gone"))
    orchard.store.incidents.open(NewIncident("gone", "drift", 1, "drift"), orchard.now())
    orchard.serve()
    send(orchard, 2, shift=3.0, labelled=False)
    watch(orchard, orchard.name)
    send(orchard, 1)
    with pytest.raises(HoldfastError, match="no project named 'gone'"):
        reconsider(orchard)
    assert len(orchard.store.intents.all(orchard.name)) == 1


def test_a_window_cut_by_a_swap_is_judged_and_a_replaced_generation_opens_nothing(orchard: Orchard) -> None:
    orchard.serve()
    orchard.answer(plums(WINDOW + 25, shift=3.0))
    orchard.serve("2")
    watch(orchard, orchard.name)
    assert [(one.window.index, one.rows, one.outcome) for one in orchard.verdicts()] == [
        (0, WINDOW, "drift"),
        (1, 25, "drift"),
    ]
    assert orchard.store.incidents.recent(orchard.name, 5) == []
    assert orchard.outbox() == []


def test_a_retraining_that_waits_for_a_person_starts_when_one_says_yes(orchard: Orchard) -> None:
    orchard.declare(("minimum_labels=30", 'minimum_labels=30, retrain="approve"'))
    orchard.serve()
    send(orchard, 2, shift=3.0)
    watch(orchard, orchard.name)
    reconsider(orchard)
    assert rulings(orchard) == ["approve"]
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    retrain(orchard, orchard.name, incident.id, "the world did change", "somebody")
    for _ in range(2):
        reconsider(orchard)
    assert rulings(orchard) == ["approve", "retrain"]
    assert len(orchard.store.intents.all(orchard.name)) == 1


def test_a_fault_that_a_person_knows_of_blocks_nothing_more(orchard: Orchard) -> None:
    orchard.serve()
    send(orchard, 1, constant=True)
    watch(orchard, orchard.name)
    [fault] = orchard.store.incidents.open_ones(orchard.name, "fault")
    before = watching.setting(orchard, orchard.declared, orchard.serving).circumstances
    acknowledge(orchard, fault.id, actor="somebody", reason="being mended")
    after = watching.setting(orchard, orchard.declared, orchard.serving).circumstances
    assert before.open_faults
    assert after.open_faults == ()
    with pytest.raises(HoldfastError, match="open incidents: 1"):
        acknowledge(orchard, 99, actor="somebody", reason="a slip")


def test_a_generation_that_is_replaced_while_it_is_judged_opens_nothing(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.serve()
    send(orchard, 3, shift=3.0)
    given = watching.judge

    def slowly(*arguments: Any) -> Verdict:
        said = given(*arguments)
        if said.window.index == 1 and orchard.serving.number == 1:
            orchard.another().serve("2")
        return said

    monkeypatch.setattr(watching, "judge", slowly)
    watch(orchard, orchard.name)
    assert [one.outcome for one in orchard.verdicts()] == ["drift"] * 3
    assert orchard.store.incidents.recent(orchard.name, 10) == []
    assert orchard.store.intents.all(orchard.name) == []
    assert orchard.outbox() == []
