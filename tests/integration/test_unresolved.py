from datetime import timedelta
from typing import Any

from loop_parts import WINDOW, Orchard, plums
from store_parts import race

from monitoring import events
from tasks import unresolved
from tasks.acting import declare_fault
from tasks.watching import judge_due, watch


def drifting(orchard: Orchard, *, ago: timedelta, labelled: int = 0, windows: int = 2) -> None:
    """Let the service answer windows of another world, of which some rows are labelled."""
    known = orchard.store.predictions.count(orchard.name)
    rows = plums(windows * WINDOW, shift=3.0, seed=known)
    ids = orchard.answer(rows, prefix=f"r{known:06d}-", ago=ago)
    orchard.label(ids[:labelled], rows)


def told(orchard: Orchard) -> list[str]:
    return [line.subject for line in orchard.store.ledger.decisions(orchard.name, kinds=(unresolved.KIND,))]


def severities(orchard: Orchard) -> list[str]:
    return [one.severity for one in orchard.store.incidents.recent(orchard.name, 9)]


def alerts(orchard: Orchard) -> list[str]:
    waiting = orchard.store.outbox.due(orchard.now() + timedelta(days=1), 1000)
    return [str(one.payload["text"]) for one in waiting if "UNRESOLVED" in str(one.payload.get("text"))]


def risen(orchard: Orchard) -> list[dict[str, Any]]:
    waiting = orchard.store.outbox.due(orchard.now() + timedelta(days=1), 1000)
    return [one.payload["payload"] for one in waiting if one.payload.get("event") == events.UPDATED]


def test_drift_whose_labels_do_not_come_is_told_once_more_and_only_once(orchard: Orchard) -> None:
    orchard.serve()
    drifting(orchard, ago=timedelta(minutes=30))  # their labels take an hour
    watch(orchard, orchard.name)
    assert (told(orchard), severities(orchard)) == ([], ["warning"])
    orchard.ahead = timedelta(hours=1)
    race(4, lambda _: watch(orchard.another(), orchard.name))
    watch(orchard, orchard.name)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    assert (told(orchard), incident.severity) == ([f"incident {incident.id}"], "critical")
    [text] = alerts(orchard)
    assert "labels for the drifted windows (0, 1) should be here by now" in text
    assert "nobody can say whether accuracy held" in text
    [event] = risen(orchard)
    assert (event["incident"], event["severity"]) == (incident.id, "critical")
    orchard.store.outbox.delivered(f"{orchard.name}.incident-{incident.id}.unresolved.log", orchard.now())
    orchard.ahead = timedelta(days=3)
    drifting(orchard, ago=timedelta(hours=2))
    watch(orchard, orchard.name)
    assert (len(told(orchard)), alerts(orchard)) == (1, [])


def test_labels_in_time_or_late_settle_what_drift_left_open(orchard: Orchard) -> None:
    orchard.declare(('promote="auto"', 'promote="auto", retrain="off"'))
    orchard.serve()
    drifting(orchard, ago=timedelta(hours=2), labelled=2 * WINDOW)
    watch(orchard, orchard.name)
    assert [one.kind for one in orchard.store.incidents.open_ones(orchard.name)] == ["drift"]
    assert told(orchard) == []


def test_labels_that_came_after_the_verdict_settle_it_too(orchard: Orchard) -> None:
    orchard.declare(('promote="auto"', 'promote="auto", retrain="off"'))
    orchard.serve()
    rows = plums(2 * WINDOW, shift=3.0)
    ids = orchard.answer(rows, ago=timedelta(minutes=90))
    judge_due(orchard, orchard.declared, orchard.serving, replaced=False)
    orchard.label(ids, rows)
    watch(orchard, orchard.name)
    assert {one.outcome for one in orchard.verdicts("performance")} == {"insufficient"}
    assert told(orchard) == []


def test_what_a_person_called_a_fault_or_a_retraining_answers_is_not_told_again(orchard: Orchard) -> None:
    orchard.serve()
    drifting(orchard, ago=timedelta(minutes=30))
    watch(orchard, orchard.name)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    declare_fault(orchard, incident.id, "somebody", "a lens was dirty")
    orchard.ahead = timedelta(hours=1)
    watch(orchard, orchard.name)
    assert told(orchard) == []
