from datetime import timedelta

from loop_parts import WINDOW, Orchard, Orchestra, plums
from store_parts import asked_for

from monitoring.effects import NewIncident
from monitoring.incidents import effects
from monitoring.records import Verdict, WindowKey
from tasks import watching
from tasks.acting import acknowledge, declare_fault, snooze
from tasks.harvesting import harvestable
from tasks.reminding import remind


def judged(orchard: Orchard, outcomes: list[str]) -> None:
    """Let the service answer whole windows, people label them, and each window get the verdict that a test says."""
    for outcome in outcomes:
        first = orchard.store.predictions.count(orchard.name)
        rows = plums(WINDOW, seed=first)
        orchard.label(orchard.answer(rows, prefix=f"r{first:06d}-"), rows)
        index = first // WINDOW
        then = orchard.now() - timedelta(hours=2)
        window = WindowKey(orchard.name, 1, index, then, then + timedelta(seconds=WINDOW), first, first + WINDOW)
        met = watching.setting(orchard, orchard.declared, orchard.serving, window=window)
        said = Verdict(window, "data", outcome, WINDOW, f"{outcome} in window {index}", {})  # type: ignore[arg-type]
        assert orchard.store.record_verdict(said, effects(said, met), orchard.now())
        labels_judged = Verdict(window, "performance", "insufficient", WINDOW, "insufficient: as a test says", {})
        orchard.store.verdicts.record(labels_judged, orchard.now())


def labels(orchard: Orchard) -> tuple[int, int]:
    """How many labels the governor counts, and how many rows a harvest would land."""
    counted = orchard.store.labels.count_unharvested(orchard.name)
    return counted, len(harvestable(orchard, orchard.declared))


def test_no_model_learns_from_the_windows_that_a_person_calls_a_fault(orchard: Orchard) -> None:
    orchard.serve()
    judged(orchard, ["ok", "drift", "drift"])
    assert labels(orchard) == (3 * WINDOW, 3 * WINDOW)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    declare_fault(orchard, incident.id, "ada", "the scale was broken")
    judged(orchard, ["drift"])
    assert labels(orchard) == (WINDOW, WINDOW)
    assert watching.setting(orchard, orchard.declared, orchard.serving).circumstances.open_faults
    assert [one.outcome for one in orchard.store.intents.all(orchard.name)] == ["blocked"]
    judged(orchard, ["ok", "ok", "ok"])
    [over] = orchard.store.incidents.recent(orchard.name, 5)
    assert (over.first_window, over.last_window, over.closed_at is not None) == (1, 3, True)
    assert over.detail["count"] == 3
    assert labels(orchard) == (4 * WINDOW, 4 * WINDOW)


def test_the_keeper_reminds_of_what_is_critical_and_of_what_has_slept(orchard: Orchard) -> None:
    orchard.serve()
    judged(orchard, ["ok", "fault"])
    [fault] = orchard.store.incidents.open_ones(orchard.name)
    keeper = Orchestra().keeper(orchard)
    keeper.deliver()
    assert orchard.outbox() == []
    orchard.ahead = timedelta(hours=25)
    for _ in range(3):
        keeper.remind()
    assert orchard.outbox() == ["log"]
    [told] = asked_for(orchard.store.outbox.due(orchard.now()))
    assert told.payload["text"].endswith(f"holdfast acknowledge {fault.id} (or snooze) ends these reminders")
    snooze(orchard, fault.id, orchard.now() + timedelta(days=2), "ada")
    keeper.deliver()
    orchard.ahead += timedelta(hours=47)
    remind(orchard)
    assert asked_for(orchard.store.outbox.due(orchard.now())) == []
    orchard.ahead += timedelta(hours=2)
    assert [one.channel for one in asked_for(orchard.store.outbox.due(orchard.now()))] == ["log"]
    keeper.deliver()
    remind(orchard)
    acknowledge(orchard, fault.id, "ada")
    orchard.ahead += timedelta(days=9)
    remind(orchard)
    assert orchard.outbox() == []


def test_an_incident_of_no_window_can_be_acknowledged_but_is_no_broken_sensor(orchard: Orchard) -> None:
    alias, _ = orchard.store.incidents.open(NewIncident(orchard.name, "alias", 0, "moved"), orchard.now())
    assert "acknowledged by ada" in acknowledge(orchard, alias.id, "ada").sentence
    assert "nothing is changed" in acknowledge(orchard, alias.id, "bob").sentence
    assert orchard.store.incidents.get(alias.id).acknowledged_by == "ada"  # type: ignore[union-attr]
