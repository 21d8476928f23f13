import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from store_parts import (
    NOON,
    TTL,
    asked_for,
    child,
    generation,
    message,
    project,
    race,
    store,
    url,
    verdict,
    window,
)

from data.errors import LostRace, StaleToken
from monitoring.effects import NOTHING, Effects, NewDecision, NewIncident, NewIntent
from monitoring.store import Store, open_store
from monitoring.store.ledger import AliasState

__all__ = ["project", "store", "url"]


def alarm(project: str, key: str) -> Effects:
    return Effects(
        opened=NewIncident(project, "drift", 1, "2 of 3 windows drifted", {"columns": ["x"]}),
        messages=(message(f"{project}.{key}.log"), message(f"{project}.{key}.event", kind="event")),
        intent=NewIntent(project),
        decisions=(
            NewDecision(project, "alert", None, "told people", {"window": key}),
            NewDecision(project, "retrain", None, "the world has changed"),
        ),
    )


def all_of(store: Store, project: str) -> tuple[object, ...]:
    mine = asked_for([one for one in store.outbox.due(NOON, limit=10_000) if one.id.startswith(f"{project}.")])
    incidents, intents = store.incidents.recent(project, 9), store.intents.recent(project, 9)
    return store.verdicts.all(project), incidents, intents, store.ledger.decisions(project), mine


def test_a_verdict_and_its_effects_stand_together_and_know_each_other(store: Store, project: str) -> None:
    assert store.record_verdict(verdict(project), alarm(project, "0"), NOON)
    incident, intent = store.incidents.open_ones(project)[0], store.intents.open_ones(project)[0]
    assert intent.incident_id == incident.id
    due = asked_for([one for one in store.outbox.due(NOON) if one.id.startswith(f"{project}.")])
    assert [one.payload["incident"] for one in due] == [incident.id] * 2
    assert [one.payload["token"] for one in due] == [intent.token] * 2
    lines = store.ledger.decisions(project, subject=f"incident {incident.id}")
    assert [(line.kind, line.inputs["intent"]) for line in lines] == [("retrain", intent.id), ("alert", intent.id)]


def test_a_window_gets_one_verdict_whoever_writes_it(store: Store, project: str) -> None:
    won = race(
        16, lambda number: store.record_verdict(verdict(project, 0, f"{number}"), alarm(project, f"{number}"), NOON)
    )
    assert sorted(map(str, won)) == ["False"] * 15 + ["True"]
    verdicts, incidents, intents, decisions, messages = all_of(store, project)
    assert [len(part) for part in (verdicts, incidents, intents, decisions, messages)] == [1, 1, 1, 2, 2]  # type: ignore[arg-type]
    assert verdicts == [store.verdicts.record(verdict(project, 0, "too late"), NOON)]
    assert store.verdicts.all(project)[0].detail == {"columns": {"x": None}}


def test_what_fails_before_its_commit_leaves_nothing(store: Store, project: str) -> None:
    twins = replace(alarm(project, "0"), messages=(message("same"), message("same")))
    with pytest.raises(ValueError, match="share an id"):
        store.record_verdict(verdict(project), twins, NOON)
    assert all_of(store, project) == ([], [], [], [], [])


KILLED = """
import os, signal, sys
from sqlalchemy import event
from monitoring.store import open_store
from store_parts import NOON, verdict
from test_store_transactions import alarm

store = open_store(sys.argv[1])
event.listen(store.database.engine, "commit", lambda connection: os.kill(os.getpid(), signal.SIGKILL))
store.record_verdict(verdict("p"), alarm("p", "0"), NOON)
"""


def test_a_kill_before_the_commit_leaves_nothing_and_the_next_writer_goes_on(url: str) -> None:
    store = open_store(url)
    command = [sys.executable, "-c", KILLED, url]
    assert subprocess.run(command, check=False, env=child()).returncode == -9
    assert all_of(store, "p") == ([], [], [], [], [])
    assert store.record_verdict(verdict("p"), alarm("p", "0"), NOON)
    store.close()


def test_an_open_incident_is_neither_opened_nor_told_again(store: Store, project: str) -> None:
    store.record_verdict(verdict(project, 0), alarm(project, "0"), NOON)
    store.record_verdict(verdict(project, 1), alarm(project, "1"), NOON)
    verdicts, incidents, intents, decisions, messages = all_of(store, project)
    assert [len(part) for part in (verdicts, incidents, intents, decisions, messages)] == [2, 1, 1, 2, 2]  # type: ignore[arg-type]


def test_a_closed_incident_may_open_again(store: Store, project: str) -> None:
    first = store.record(alarm(project, "0"), NOON)
    assert first.incident is not None
    assert first.intent is not None
    store.intents.end(first.intent.id, "kept", NOON)
    both = replace(alarm(project, "1"), closed=((first.incident.id, "two windows were well"),))
    second = store.record(both, NOON)
    assert second.opened
    assert second.promised
    assert [one.closed_why for one in store.incidents.recent(project, 2)] == [None, "two windows were well"]
    assert not store.incidents.close(first.incident.id, "again", NOON)
    seen = NewDecision(project, "acknowledge", f"incident {first.incident.id}", "seen")
    assert not store.incidents.acknowledge(first.incident.id, NOON, actor="somebody", decision=seen)


def test_a_decision_about_no_incident_is_a_mistake(store: Store, project: str) -> None:
    with pytest.raises(ValueError, match="no incident opened"):
        store.record(Effects(decisions=(NewDecision(project, "skip", None, "why"),)), NOON)


def test_verdicts_are_read_by_window_and_wait_for_their_report(store: Store, project: str) -> None:
    for index in (1, 0, 2):
        store.record_verdict(verdict(project, index), NOTHING, NOON)
    assert [one.window.index for one in store.verdicts.all(project, check="data")] == [0, 1, 2]
    assert [one.window.index for one in store.verdicts.recent(project, 2)] == [2, 1]
    store.verdicts.attach_report(window(project, 1), "data", {"json": "reports/1.json"})
    assert [one.window.index for one in store.verdicts.without_report(project)] == [0, 2]
    recorded = store.verdicts.get(window(project, 1), "data")
    assert recorded is not None
    assert recorded.report == {"json": "reports/1.json"}


def test_a_message_comes_again_until_taken_or_parked(store: Store, project: str) -> None:
    id_ = f"{project}.0"
    assert len(store.outbox.put([message(id_)])) == 1
    assert store.outbox.put([message(id_)]) == []
    store.outbox.failed(id_, "connection refused", NOON + timedelta(minutes=1))
    assert id_ not in [one.id for one in store.outbox.due(NOON)]
    again = [one for one in store.outbox.due(NOON + timedelta(minutes=1)) if one.id == id_]
    assert [one.attempts for one in again] == [1]
    store.outbox.failed(id_, "connection refused", NOON + timedelta(hours=24, seconds=1))
    assert [(one.id, why) for one, why in store.outbox.parked()] == [(id_, "connection refused")]
    store.outbox.unpark(id_, NOON + timedelta(days=2))
    store.outbox.delivered(id_, NOON + timedelta(days=2))
    assert id_ not in [one.id for one in store.outbox.due(NOON + timedelta(days=9), limit=10_000)]


def test_of_promotions_at_once_one_is_made(store: Store, project: str) -> None:
    for expected in range(3):
        got = race(32, lambda number, e=expected: store.ledger.append_generation(e, generation(project, f"{number}")))  # type: ignore[misc]
        assert sum(isinstance(one, LostRace) for one in got) == 31
        assert store.ledger.generation(project) in got
    assert [entry.number for entry in store.ledger.generations(project)] == [1, 2, 3]


def test_a_generation_brings_its_reference_its_decision_and_its_alias(store: Store, project: str) -> None:
    lines = (NewDecision(project, "promote", "version 7", "gates passed", {"version": "7"}),)
    made = store.ledger.append_generation(0, generation(project, "7"), lines, reference=b"counts")
    assert made == replace(generation(project, "7"), number=1)
    assert store.ledger.generation(project) == made
    assert store.references.get(project, 1) == b"counts"
    assert store.ledger.alias(project) == AliasState(intended="7", written=None)
    store.ledger.wrote_alias(project, "7")
    assert store.ledger.alias(project) == AliasState("7", "7")
    with pytest.raises(LostRace):
        store.ledger.append_generation(0, generation(project, "8"), lines, reference=b"of the loser")
    assert (store.references.get(project, 1), store.references.get(project, 2)) == (b"counts", None)
    assert len(store.ledger.decisions(project)) == 1


def test_a_stale_holder_promotes_nothing(store: Store, project: str) -> None:
    stale = store.leases.acquire(project, "run 1", TTL, NOON)
    token = store.leases.acquire(project, "run 2", TTL, NOON + TTL)
    with pytest.raises(StaleToken):
        store.ledger.append_generation(0, generation(project), token=stale)
    assert store.ledger.append_generation(0, generation(project), token=token).number == 1
