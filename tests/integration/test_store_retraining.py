import subprocess
import sys
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import update
from store_parts import NOON, TTL, child, generation, project, race, store, url

from data.errors import Busy, Corrupt, StaleToken
from monitoring.effects import Effects, NewDecision, NewIncident, NewIntent
from monitoring.store import Store, open_store
from monitoring.store.tables import references

__all__ = ["project", "store", "url"]


class LeaseRules(RuleBasedStateMachine):
    """The model: who holds which token until when, and all tokens there ever were."""

    store: Store
    examples = count()

    def __init__(self) -> None:
        super().__init__()
        self.project = f"leased-{next(self.examples)}"
        self.now = NOON
        self.given: list[int] = []
        self.held: int | None = None
        self.until = NOON

    @rule(seconds=st.sampled_from([1, 60, 119, 120, 121]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def somebody_acquires(self) -> None:
        if self.held is not None and self.until > self.now:
            with pytest.raises(Busy):
                self.store.leases.acquire(self.project, "another", TTL, self.now)
            return
        token = self.store.leases.acquire(self.project, "run", TTL, self.now)
        assert all(token > earlier for earlier in self.given)
        self.given.append(token)
        self.held, self.until = token, self.now + TTL

    @rule(which=st.integers(0, 3))
    def a_holder_renews(self, which: int) -> None:
        for token in self.given[-1 - which : len(self.given) - which]:
            if token == self.held and self.until > self.now:
                self.until = self.store.leases.renew(self.project, token, TTL, self.now).expires_at
                assert self.until == self.now + TTL
            else:
                with pytest.raises(StaleToken):
                    self.store.leases.renew(self.project, token, TTL, self.now)

    @rule(which=st.integers(0, 1))
    def a_holder_releases(self, which: int) -> None:
        for token in self.given[-1 - which : len(self.given) - which]:
            if token == self.held:
                self.store.leases.release(self.project, token)
                self.held = None
            else:
                with pytest.raises(StaleToken):
                    self.store.leases.release(self.project, token)

    @rule()
    def the_keeper_expires(self) -> None:
        ended = self.store.leases.expire(self.project, self.now)
        if self.held is not None and self.until <= self.now:
            assert ended is not None
            assert ended.token == self.held
            self.held = None
        else:
            assert ended is None

    @invariant()
    def at_most_one_token_is_valid(self) -> None:
        for token in self.given[-4:]:
            if token == self.held:
                self.store.leases.check(self.project, token)
            else:
                with pytest.raises(StaleToken):
                    self.store.leases.check(self.project, token)


def test_a_lease_obeys_its_rules_in_any_order(store: Store) -> None:
    LeaseRules.store = store
    few = settings(max_examples=12, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(LeaseRules, settings=few)


def test_of_trainings_at_once_one_gets_the_lease(store: Store, project: str) -> None:
    got = race(32, lambda number: store.leases.acquire(project, f"run {number}", TTL, NOON))
    assert sum(isinstance(one, Busy) for one in got) == 31
    current = store.leases.current(project)
    assert current is not None
    assert current.token in got


ACQUIRE = """
import sys
from data.errors import Busy
from monitoring.store import open_store
from store_parts import NOON, TTL

store = open_store(sys.argv[1])
for name in map(str, range(20)):
    try:
        print(name, store.leases.acquire(name, sys.argv[2], TTL, NOON))
    except Busy:
        pass
"""


def test_processes_that_open_a_new_store_at_once_share_it(url: str) -> None:
    command = [sys.executable, "-c", ACQUIRE, url]
    racers = [subprocess.Popen([*command, f"{n}"], stdout=subprocess.PIPE, text=True, env=child()) for n in range(4)]
    won = [line.split()[0] for racer in racers for line in racer.communicate(timeout=60)[0].splitlines()]
    assert [racer.returncode for racer in racers] == [0] * 4
    assert sorted(won, key=int) == [str(name) for name in range(20)]


def test_of_runs_of_one_intent_one_claims_it(store: Store, project: str) -> None:
    intent, new = store.intents.open(project, None, NOON)
    assert new
    got = race(32, lambda number: store.intents.claim(intent.id, intent.attempt, f"run {number}", NOON))
    assert sorted(map(str, got)) == ["False"] * 31 + ["True"]
    winner = f"run {got.index(True)}"
    assert store.intents.claim(intent.id, intent.attempt, winner, NOON)
    claimed = store.intents.get(intent.id)
    assert claimed is not None
    assert (claimed.state, claimed.run) == ("running", winner)


def test_an_intent_is_tried_three_times_and_each_attempt_shuts_out_the_one_before(store: Store, project: str) -> None:
    intent, _ = store.intents.open(project, None, NOON)
    tokens = [intent.token]
    for attempt in (1, 2):
        assert store.intents.claim(intent.id, attempt, f"run {attempt}", NOON)
        restarted = race(8, lambda number, dead=attempt: store.intents.restart(intent.id, dead, NOON))  # type: ignore[misc]
        assert {one.attempt for one in restarted if not isinstance(one, Exception)} == {attempt + 1}
        assert not store.intents.claim(intent.id, attempt, "late", NOON)
        assert not store.intents.end(intent.id, "promoted", NOON, attempt=attempt)
        tokens.append(store.intents.open_ones(project)[0].token)
    assert tokens == sorted(set(tokens))
    given_up = store.intents.restart(intent.id, 3, NOON)
    assert (given_up.state, given_up.outcome) == ("ended", "abandoned")
    assert store.intents.restart(intent.id, 3, NOON) == given_up
    assert not store.intents.end(intent.id, "kept", NOON)


def test_an_incident_has_one_intent_under_way(store: Store, project: str) -> None:
    incident, _ = store.incidents.open(NewIncident(project, "drift", 1, "drifted"), NOON)
    got = race(16, lambda number: store.intents.open(project, incident.id, NOON))
    assert len({one[0].id for one in got if isinstance(one, tuple)}) == 1
    assert sum(one[1] for one in got if isinstance(one, tuple)) == 1
    assert store.intents.end(store.intents.open_ones(project)[0].id, "kept", NOON)
    assert store.intents.open(project, incident.id, NOON)[1]
    assert [one.outcome for one in store.intents.of(incident.id)] == ["kept", None]


def test_a_reference_keeps_its_revisions_and_a_broken_one_is_refused(store: Store, project: str) -> None:
    put = [store.references.put(project, 1, payload, reason="why", now=NOON) for payload in (b"a", b"a", b"b", b"a")]
    assert put == [1, 1, 2, 3]
    assert [store.references.get(project, 1, revision) for revision in (1, 2, None, 9)] == [b"a", b"b", b"a", None]
    broken = update(references).where(references.c.project == project, references.c.revision == 3)
    store.database.write(lambda connection: connection.execute(broken.values(payload=b"c")))
    with pytest.raises(Corrupt):
        store.references.get(project, 1)


def test_webhook_and_poll_find_the_same_request(store: Store, project: str) -> None:
    got = race(8, lambda number: store.requests.add(project, "7", "poll" if number % 2 else "webhook", NOON))
    assert len({one[0].id for one in got if isinstance(one, tuple)}) == 1
    store.requests.handled(store.requests.open_ones(project)[0].id, "put back: lost against v6", NOON)
    assert store.requests.open_ones(project) == []
    assert store.requests.add(project, "7", "poll", NOON)[1]


def test_a_delivery_is_taken_once_whether_it_made_the_request_or_found_it(store: Store, project: str) -> None:
    def told(delivery: str) -> tuple[int, bool]:
        request, made = store.requests.add(project, "7", "webhook", NOON, delivery=delivery)
        return request.id, made

    waiting, _ = told("a")
    assert told("b") == (waiting, False)
    assert told("a") == (waiting, False)
    store.requests.judging(waiting, "run 1", 1)
    store.requests.failed(waiting, "its snapshot is gone")
    store.requests.handled(waiting, "refused: its snapshot is gone", NOON)
    for delivery in ("a", "b"):
        assert told(delivery)[1] is False
    assert store.requests.open_ones(project) == []
    found = store.requests.get(waiting)
    assert found is not None
    assert (found.run, found.attempt, found.reason) == ("run 1", 1, "its snapshot is gone")
    assert told("c")[1] is True


def test_why_tells_the_chain_from_incident_to_generation_and_no_other(store: Store, project: str) -> None:
    opened = store.record(
        Effects(
            NewIncident(project, "drift", 1, "drifted"),
            intent=NewIntent(project),
            decisions=(
                NewDecision(project, "alert", None, "2 of 3", {"version": "1"}),
                NewDecision(project, "retrain", None, "world"),
            ),
        ),
        NOON,
    )
    assert opened.incident is not None
    assert opened.intent is not None

    def decide(kind: str, subject: str, **inputs: object) -> None:
        store.ledger.decide(project, kind=kind, subject=subject, reason="because", inputs=inputs, now=NOON)

    decide("promote", "version 1", version="1")
    decide("alert", "incident 999999", version="1")
    decide("train", "version 2", intent=opened.intent.id, run="r2")
    store.ledger.append_generation(0, generation(project, "1"))
    promoted = NewDecision(project, "promote", "version 2", "won", {"version": "2", "replaces": "1"})
    store.ledger.append_generation(1, generation(project, "2"), (promoted,))
    decide("ingest", "batch 2026-11-01")
    expected = ["alert", "retrain", "train", "promote"]
    for subject in (
        f"incident {opened.incident.id}",
        f"intent {opened.intent.id}",
        "run r2",
        "version 2",
        "generation 2",
    ):
        assert [line.kind for line in store.ledger.why(subject, project)] == expected, subject
    assert [line.kind for line in store.ledger.why(f"incident {opened.incident.id}")] == expected
    assert store.ledger.why("incident 123456") == []


def test_notes_keep_the_newest_value(store: Store, project: str) -> None:
    assert store.notes.get(project) is None
    for value in ({"a": 1}, [1, "b"]):
        store.notes.put(project, value, NOON)
        assert store.notes.get(project) == value


def test_what_is_written_is_there_for_whoever_opens_the_store_next(url: str) -> None:
    first = open_store(url)
    token = first.leases.acquire("p", "run", TTL, NOON)
    first.close()
    second = open_store(url)
    second.leases.check("p", token)
    second.close()
