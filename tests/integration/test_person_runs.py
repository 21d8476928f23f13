from contextlib import suppress
from datetime import timedelta

import pytest
from loop_parts import WINDOW, Orchard, Orchestra, plums
from store_parts import race

from data.errors import Busy, HoldfastError, NothingNew, Withheld
from monitoring.effects import Effects, NewIncident, NewIntent
from monitoring.governor import Circumstances
from monitoring.records import Incident
from tasks import ingestion, retraining, watching
from tasks.circumstances import circumstances
from tasks.gathering import same_data
from tasks.landing import Landed
from tasks.leases import leased
from tasks.observing import clock
from tasks.person_runs import TERMINAL, begin, by_hand, retrain

HOLDER = f"ada{TERMINAL}"


def drifted(orchard: Orchard) -> Incident:
    found, _ = orchard.store.incidents.open(
        NewIncident(orchard.name, "drift", orchard.serving.number, "drift", {"window": 0}), orchard.now()
    )
    return found


def seen(orchard: Orchard) -> Circumstances:
    opened = orchard.store.incidents.open_ones(orchard.name)
    now = clock(orchard, orchard.declared)
    return circumstances(orchard, orchard.declared, orchard.serving, opened, now)


def trained(orchard: Orchard, minutes: float, outcome: str = "refused") -> int:
    """Let a retraining run for so long and end."""
    intent, _ = orchard.store.intents.open(orchard.name, None, orchard.now())
    assert orchard.store.intents.claim(intent.id, 1, f"run-{intent.id}", orchard.now())
    orchard.ahead += timedelta(minutes=minutes)
    assert orchard.store.intents.end(intent.id, outcome, orchard.now())
    return intent.id


def lines(orchard: Orchard, *kinds: str) -> list[str]:
    return [line.reason for line in orchard.store.ledger.decisions(orchard.name, kinds=kinds)]


def test_a_person_starts_an_incidents_retraining_once_and_the_ledger_says_who_and_what_was_skipped(
    orchard: Orchard,
) -> None:
    orchard.declare(("minimum_labels=30", 'minimum_labels=30, retrain="suggest"'))
    orchard.serve()
    trained(orchard, 1)
    incident = drifted(orchard)
    got = race(4, lambda _: retrain(orchard.another(), orchard.name, incident.id, "the world did change", "ada"))
    assert not [one for one in got if isinstance(one, HoldfastError)]
    [intent] = orchard.store.intents.open_ones(orchard.name)
    assert (intent.incident_id, intent.actor) == (incident.id, "ada")
    [said] = lines(orchard, "retrain")
    assert 'skips "nothing new to learn"' in said
    assert "the cool-down (cooling down until" in said
    assert said.endswith("; ada: the world did change")
    assert orchard.outbox() == ["prefect"]
    about = orchard.store.ledger.why(f"incident {incident.id}", orchard.name)
    assert [line.kind for line in about] == ["retrain"]
    assert orchard.store.ledger.why(f"intent {intent.id}", orchard.name) == about


def test_a_retraining_without_an_incident_is_asked_for_once_while_it_waits(orchard: Orchard) -> None:
    orchard.serve()
    for _ in range(2):
        retrain(orchard, orchard.name, None, "a new supplier", "ada")
    [intent] = orchard.store.intents.open_ones(orchard.name)
    [line] = orchard.store.ledger.decisions(orchard.name, kinds=("retrain",))
    assert line.subject == f"intent {intent.id}"


def test_what_binds_a_person_too_is_refused_and_written_down(orchard: Orchard) -> None:
    with pytest.raises(Withheld, match=r"nothing of .* serves yet"):
        retrain(orchard, orchard.name, None, "why not", "ada")
    orchard.serve()
    with pytest.raises(HoldfastError, match="a reason"):
        retrain(orchard, orchard.name, None, " ", "ada")
    fault = NewIncident(orchard.name, "fault", 1, "a dead sensor", {"columns": ["size"]})
    opened, _ = orchard.store.incidents.open(fault, orchard.now())
    with pytest.raises(Withheld, match="a fault is open"):
        retrain(orchard, orchard.name, None, "why not", "ada")
    with pytest.raises(Withheld, match="a fault is open"):
        begin(orchard, orchard.name, "ada")
    orchard.store.incidents.close(opened.id, "mended", orchard.now())
    for _ in range(3):
        trained(orchard, 1)
    with pytest.raises(Withheld, match="3 retrainings in 24 hours, 3 are allowed"):
        retrain(orchard, orchard.name, None, "why not", "ada")
    said = [line.rpartition(" (")[2] for line in lines(orchard, "wait", "block")]
    assert said == ["ada: why not)", "ada)", "ada: why not)"]
    orchard.ahead += timedelta(days=1)
    with leased(orchard, orchard.name, holder="run-1"), pytest.raises(Busy):
        begin(orchard, orchard.name, "ada")
    assert orchard.store.intents.open_ones(orchard.name) == []


def test_a_run_by_hand_that_fails_is_over_and_nobody_starts_it_again(orchard: Orchard) -> None:
    orchard.serve()

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), by_hand(orchard, orchard.name, actor="ada", holder=HOLDER):
        fail()
    [intent] = orchard.store.intents.all(orchard.name)
    assert (intent.state, intent.outcome, intent.actor, intent.run) == ("ended", "failed", "ada", HOLDER)
    assert orchard.store.leases.current(orchard.name) is None


def test_what_a_person_starts_is_told_and_neither_spends_the_budget_nor_trips_the_breaker_of_what_starts_by_itself(
    orchard: Orchard,
) -> None:
    def failing() -> None:
        orchard.ahead += timedelta(minutes=4)
        raise KeyboardInterrupt

    orchard.serve()
    trained(orchard, 1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), by_hand(orchard, orchard.name, actor="ada", holder=HOLDER):
            failing()
    found = seen(orchard)
    assert (found.failures, found.runs_today, found.runs_this_week) == (1, 1, 1)
    assert found.minutes_today == pytest.approx(1, abs=0.2)
    assert found.minutes_by_people == pytest.approx(12, abs=0.5)
    orchard.ahead += timedelta(hours=2)
    rows = plums(2 * WINDOW)
    orchard.label(orchard.answer(rows), rows)
    drifted(orchard)
    watching.reconsider(orchard)
    [line] = orchard.store.ledger.decisions(orchard.name, kinds=("retrain",), limit=1)
    assert line.reason.startswith("nothing stands against a retraining")
    assert line.inputs["minutes_by_people"] == pytest.approx(12, abs=0.5)
    [mine] = orchard.store.intents.open_ones(orchard.name)
    assert orchard.store.intents.end(mine.id, "refused", orchard.now())
    begin(orchard, orchard.name, "ada")
    assert "people's runs took 12 minutes in 7 days" in lines(orchard, "retrain")[0]


def test_a_run_on_a_terminal_lives_as_long_as_its_lease_and_is_seen_through_when_it_was_killed(
    orchard: Orchard,
) -> None:
    orchard.serve()
    orchestra = Orchestra()
    intent = begin(orchard, orchard.name, "ada")
    assert orchard.store.intents.claim(intent, 1, HOLDER, orchard.now())
    orchard.store.leases.acquire(orchard.name, HOLDER, timedelta(seconds=30), orchard.now())
    orchestra.states[HOLDER] = "Missing"  # as of anything that the orchestrator did not start
    orchestra.keeper(orchard).see_intents_through()
    assert orchestra.asked == []
    orchard.ahead += timedelta(seconds=31)
    orchestra.keeper(orchard).see_intents_through()
    assert [said for _, said, _ in orchestra.asked] == [{"project": orchard.name, "intent": intent}]


def test_a_persons_run_that_was_cancelled_is_not_started_again(orchard: Orchard) -> None:
    orchard.serve()
    orchestra = Orchestra()
    retrain(orchard, orchard.name, None, "a new supplier", "ada")
    [intent] = orchard.store.intents.open_ones(orchard.name)
    assert orchard.store.intents.claim(intent.id, 1, "run-1", orchard.now())
    orchestra.states["run-1"] = "Cancelled"
    for _ in range(2):
        orchestra.keeper(orchard).see_intents_through()
    assert orchestra.asked == []
    assert orchard.store.intents.get(intent.id).outcome == "cancelled"  # type: ignore[union-attr]
    [said] = lines(orchard, "skip")
    assert "which ada had asked for, was cancelled" in said


def test_a_schedule_waits_where_a_person_would_not(orchard: Orchard) -> None:
    orchard.serve()
    with pytest.raises(Withheld, match="nothing new to learn"):
        begin(orchard, orchard.name, "the schedule", asker="schedule")
    assert orchard.store.intents.all(orchard.name) == []
    assert begin(orchard, orchard.name, "ada") > 0


def test_people_are_told_once_when_a_schedule_meets_a_tripped_breaker(orchard: Orchard) -> None:
    orchard.serve()
    for _ in range(3):
        trained(orchard, 1)
    for _ in range(2):
        with pytest.raises(Withheld, match="3 retrainings came to nothing"):
            begin(orchard, orchard.name, "the schedule", asker="schedule")
    waiting = orchard.store.outbox.due(orchard.now())
    [told] = [one for one in waiting if one.kind == "alert" and one.channel == "log"]
    assert told.payload["text"].startswith(f"no scheduled training of {orchard.name}: the last 3 retrainings")


def test_before_the_first_champion_trainings_are_no_retrainings(orchard: Orchard) -> None:
    orchard.declare(("minimum_labels=30", "minimum_labels=30, per_day=1"))
    for _ in range(3):
        with by_hand(orchard, orchard.name, actor="ada", holder=HOLDER) as run:
            run.outcome = "refused"
    orchard.serve()
    found = seen(orchard)
    assert (found.runs_today, found.failures, found.last_retraining) == (0, 0, None)


def test_a_run_that_nobody_asked_for_learns_no_snapshot_twice_and_its_incident_waits_on(orchard: Orchard) -> None:
    ingestion.ingest(orchard, orchard.name)
    orchard.promote()
    incident = drifted(orchard)
    orchard.store.record(Effects(intent=NewIntent(orchard.name, incident.id)), orchard.now())
    [intent] = orchard.store.intents.open_ones(orchard.name)
    with (
        pytest.raises(NothingNew, match="learned from snapshot"),
        leased(orchard, orchard.name, holder="run-1", intent=intent.id) as run,
    ):
        retraining.collect(orchard, run)
    assert orchard.store.intents.get(intent.id).outcome == "unneeded"  # type: ignore[union-attr]
    assert seen(orchard).runs_today == 0
    watching.reconsider(orchard)
    assert lines(orchard, "wait")
    orchard.ahead += timedelta(hours=2)
    rows = plums(2 * WINDOW)
    orchard.label(orchard.answer(rows), rows)
    watching.reconsider(orchard)
    assert len(orchard.store.intents.of(incident.id)) == 2
    mine = begin(orchard, orchard.name, "ada")
    with leased(orchard, orchard.name, holder="run-2", intent=mine) as run:
        retraining.collect(orchard, run)  # a person may


def test_rows_that_land_while_a_training_runs_are_new_to_the_next(orchard: Orchard) -> None:
    ingestion.ingest(orchard, orchard.name)
    orchard.serve()
    mine = begin(orchard, orchard.name, "ada")
    with leased(orchard, orchard.name, holder="run-1", intent=mine) as run:
        retraining.collect(orchard, run)
        assert seen(orchard).new_rows == 0
        ingestion.record(orchard, orchard.declared, Landed("monday", 50, 0, changed=True))
        run.outcome = "kept"
    assert seen(orchard).new_rows == 50
    [line] = orchard.store.ledger.decisions(orchard.name, kinds=("gather",))
    assert orchard.store.ledger.why(f"intent {mine}", orchard.name)[-1] == line


def test_a_snapshot_is_new_to_a_project_that_learns_since_a_drift_once_there_is_another_drift(orchard: Orchard) -> None:
    ingestion.ingest(orchard, orchard.name)
    orchard.promote()
    orchard.declare(("epochs=2", 'rows="since_drift", epochs=2'))

    def learn(intent: int) -> str | None:
        with leased(orchard, orchard.name, holder=f"run-{intent}", intent=intent) as run, suppress(NothingNew):
            retraining.collect(orchard, run)
            run.outcome = "kept"
        return orchard.store.intents.get(intent).outcome  # type: ignore[union-attr]

    def answering(incident: Incident) -> int:
        orchard.store.record(Effects(intent=NewIntent(orchard.name, incident.id)), orchard.now())
        return orchard.store.intents.open_ones(orchard.name)[0].id

    first = drifted(orchard)
    assert learn(begin(orchard, orchard.name, "ada")) == "kept"
    assert learn(answering(first)) == "unneeded"
    orchard.store.incidents.close(first.id, "quiet", orchard.now())
    orchard.ahead += timedelta(hours=1)
    second = drifted(orchard)
    assert not same_data(orchard, orchard.declared)
    assert learn(answering(second)) == "kept"
    assert same_data(orchard, orchard.declared)
    assert learn(answering(second)) == "unneeded"


def test_budgets_count_runs_and_minutes_of_a_day_and_a_week_dead_attempts_among_them(orchard: Orchard) -> None:
    orchard.serve()
    orchard.ahead += timedelta(minutes=1)
    trained(orchard, 30)
    orchard.ahead += timedelta(days=2)
    trained(orchard, 20, "kept")
    intent, _ = orchard.store.intents.open(orchard.name, None, orchard.now())
    assert orchard.store.intents.claim(intent.id, 1, "run-1", orchard.now())
    orchard.ahead += timedelta(minutes=10)
    orchard.store.intents.restart(intent.id, 1, orchard.now())
    assert orchard.store.intents.claim(intent.id, 2, "run-2", orchard.now())
    orchard.ahead += timedelta(minutes=5)
    found = seen(orchard)
    assert (found.runs_today, found.runs_this_week, found.promised) == (2, 3, intent.id)
    assert found.minutes_today == pytest.approx(35, abs=0.2)
    assert found.minutes_this_week == pytest.approx(65, abs=0.2)
    assert found.last_minutes == pytest.approx(20, abs=0.2)
    orchard.ahead += timedelta(days=8)
    assert orchard.store.intents.end(intent.id, "kept", orchard.now() - timedelta(days=8))
    assert (seen(orchard).runs_this_week, seen(orchard).minutes_this_week) == (0, 0.0)


def test_in_a_replay_cool_down_and_budgets_pass_as_the_rows_time_does(orchard: Orchard) -> None:
    orchard.settings = orchard.settings.model_copy(update={"clock": "data"})
    orchard.serve()
    past = timedelta(days=300)

    def come(days: float) -> None:
        rows = plums(WINDOW, seed=int(days * 10))
        orchard.answer(rows, prefix=f"d{days}-", ago=past - timedelta(days=days))

    come(0)
    incident = drifted(orchard)
    promised = NewIntent(orchard.name, incident.id, clock=clock(orchard, orchard.declared))
    orchard.store.record(Effects(intent=promised), orchard.now())
    [intent] = orchard.store.intents.open_ones(orchard.name)
    assert orchard.store.intents.end(intent.id, "kept", orchard.now())
    just = seen(orchard)
    assert just.last_retraining is not None
    assert abs(just.now - just.last_retraining) < timedelta(minutes=1)
    assert just.runs_today == 1
    come(2)
    later = seen(orchard)
    assert later.last_retraining is not None
    assert later.now - later.last_retraining > timedelta(days=1)
    assert (later.runs_today, later.runs_this_week) == (0, 1)
