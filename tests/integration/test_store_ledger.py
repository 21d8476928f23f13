import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, select
from store_parts import NOON, TTL, child, generation, message, project, race, store, url

from data.errors import Answered, LostRace, StaleToken
from monitoring.effects import NewDecision
from monitoring.store import Store, open_store
from monitoring.store.ledger import AliasState
from monitoring.store.tables import aliases, decisions, generations, references

__all__ = ["project", "store", "url"]

VERSIONS = st.sampled_from(["1", "2", "3", "4"])
EXAMPLES = count()


@dataclass
class Model:
    """What the ledger should say: versions by generation, kinds of decisions in order, open questions and requests."""

    served: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    alias: AliasState = field(default_factory=AliasState)
    questions: dict[int, list[Any]] = field(default_factory=dict)  # version, champion, answer
    requests: dict[int, list[Any]] = field(default_factory=dict)  # version, outcome
    deliveries: dict[str | None, int] = field(default_factory=dict)
    token: int | None = None

    @property
    def champion(self) -> str | None:
        return self.served[-1] if self.served else None

    def open_question(self, version: str) -> int | None:
        return next((id_ for id_, (of, _, answer) in self.questions.items() if of == version and answer is None), None)

    def promoted(self, version: str) -> None:
        self.served.append(version)
        self.told.append("promote")
        self.alias = replace(self.alias, intended=version)
        for question in self.questions.values():
            of, champion, answer = question
            if answer is None and of == version:
                question[2] = "approved"
            elif answer is None and champion != version:
                question[2] = "void"
                self.told.append("void")


class LedgerRules(RuleBasedStateMachine):
    """Two stores on one database, as two processes have them, against what is known to have been acknowledged."""

    stores: tuple[Store, Store]

    def __init__(self) -> None:
        super().__init__()
        self.project = f"ledger-{next(EXAMPLES)}"
        self.model = Model()
        self.now = NOON

    @initialize()
    def begins(self) -> None:
        assert self.stores[0].ledger.generation(self.project) is None

    def promote(self, store: Store, expected: int, version: str, **keys: Any) -> None:
        line = NewDecision(self.project, "promote", f"version {version}", "gates passed")
        new = replace(generation(self.project, version), at=self.now)
        store.ledger.append_generation(expected, new, (line,), reference=version.encode(), **keys)
        self.model.promoted(version)

    @rule(who=st.integers(0, 1), version=VERSIONS)
    def the_newest_decides(self, who: int, version: str) -> None:
        self.promote(self.stores[who], len(self.model.served), version)

    @rule(who=st.integers(0, 1), version=VERSIONS, by=st.sampled_from([-1, 1, 2]))
    def a_stale_expectation_loses(self, who: int, version: str, by: int) -> None:
        with pytest.raises(LostRace):
            self.promote(self.stores[who], abs(len(self.model.served) + by), version)

    @rule(pair=st.tuples(VERSIONS, VERSIONS))
    def two_at_once_have_one_winner(self, pair: tuple[str, str]) -> None:
        expected = len(self.model.served)
        lines = [(NewDecision(self.project, "promote", f"version {version}", "gates passed"),) for version in pair]
        got = race(
            2,
            lambda who: self.stores[who].ledger.append_generation(
                expected, generation(self.project, pair[who]), lines[who], reference=pair[who].encode()
            ),
        )
        assert sum(isinstance(one, LostRace) for one in got) == 1
        self.model.promoted(pair[0] if isinstance(got[1], LostRace) else pair[1])

    @precondition(lambda self: len(self.model.served) > 1)
    @rule(who=st.integers(0, 1), back=st.integers(0, 2))
    def a_rollback_is_a_new_generation(self, who: int, back: int) -> None:
        served = self.model.served
        self.promote(self.stores[who], len(served), served[back % (len(served) - 1)])

    @rule(who=st.integers(0, 1), version=VERSIONS)
    def one_that_fails_before_its_commit_leaves_nothing(self, who: int, version: str) -> None:
        with pytest.raises(ValueError, match="share an id"):
            self.promote(self.stores[who], len(self.model.served), version, messages=(message("same"), message("same")))

    @rule(who=st.integers(0, 1))
    def a_training_takes_the_lease(self, who: int) -> None:
        self.now += TTL
        self.model.token = self.stores[who].leases.acquire(self.project, "run", TTL, self.now)

    @precondition(lambda self: self.model.token is not None)
    @rule(who=st.integers(0, 1), version=VERSIONS, stale=st.booleans())
    def a_training_promotes_only_with_the_newest_token(self, who: int, version: str, stale: bool) -> None:
        token = (self.model.token or 0) - stale
        try:
            self.promote(self.stores[who], len(self.model.served), version, token=token)
        except StaleToken:
            assert stale
        else:
            assert not stale

    @rule(who=st.integers(0, 1), kind=st.sampled_from(["judge", "refuse", "keep"]))
    def a_decision_is_told(self, who: int, kind: str) -> None:
        self.stores[who].ledger.decide(
            self.project, kind=kind, subject="version 1", reason="x", inputs={}, now=self.now
        )
        self.model.told.append(kind)

    @precondition(lambda self: self.model.champion is not None)
    @rule(who=st.integers(0, 1), dies=st.booleans())
    def the_alias_is_written(self, who: int, dies: bool) -> None:
        ledger, champion = self.stores[who].ledger, str(self.model.champion)
        ledger.intend_alias(self.project, champion)
        if not dies:  # between the two a process may die; the registry is told then, or not
            ledger.wrote_alias(self.project, champion)
        self.model.alias = AliasState(champion, self.model.alias.written if dies else champion)

    @rule(who=st.integers(0, 1), version=VERSIONS)
    def people_are_asked(self, who: int, version: str) -> None:
        line = NewDecision(self.project, "ask", f"version {version}", "a question")
        champion = self.model.champion
        made, new = self.stores[who].approvals.ask(
            line, version=version, champion=champion, now=self.now, expires_at=self.now + timedelta(days=1)
        )
        assert (None if new else made.id) == self.model.open_question(version)
        if new:
            self.model.questions[made.id] = [version, champion, None]
            self.model.told.append("ask")

    @precondition(lambda self: self.model.questions)
    @rule(who=st.integers(0, 1), which=st.integers(0, 5), yes=st.booleans())
    def people_answer_once(self, who: int, which: int, yes: bool) -> None:
        id_ = sorted(self.model.questions)[which % len(self.model.questions)]
        version, _, answer = self.model.questions[id_]
        if yes:
            try:
                self.promote(self.stores[who], len(self.model.served), version, approval=id_)
            except Answered:
                assert answer is not None
            else:
                assert answer is None
            return
        line = NewDecision(self.project, "reject", f"version {version}", "no")
        said = self.stores[who].approvals.answer(id_, "rejected", actor="ada", why="no", now=self.now, decision=line)
        assert said == (answer is None)
        if said:
            self.model.questions[id_][2] = "rejected"
            self.model.told.append("reject")

    @rule(who=st.integers(0, 1), version=VERSIONS, delivery=st.none() | st.integers(0, 3))
    def somebody_asks_in_the_registry(self, who: int, version: str, delivery: int | None) -> None:
        key = None if delivery is None else f"{self.project}.{delivery}"
        waiting = {of: id_ for id_, (of, outcome) in self.model.requests.items() if outcome is None}
        known = self.model.deliveries.get(key, waiting.get(version))
        made, new = self.stores[who].requests.add(self.project, version, "poll", self.now, delivery=key)
        assert new == (known is None)
        if new:
            self.model.requests[made.id] = [version, None]
        if key is not None:
            self.model.deliveries.setdefault(key, made.id)

    @precondition(lambda self: any(outcome is None for _, outcome in self.model.requests.values()))
    @rule(who=st.integers(0, 1))
    def the_keeper_answers_the_oldest_request(self, who: int) -> None:
        oldest = self.stores[who].requests.open_ones(self.project)[0]
        assert oldest.id == min(id_ for id_, (_, outcome) in self.model.requests.items() if outcome is None)
        self.stores[who].requests.handled(oldest.id, "put back", self.now)
        self.model.requests[oldest.id][1] = "put back"

    @invariant()
    def the_ledger_says_what_was_acknowledged(self) -> None:
        seen = self.stores[0].database.read(lambda connection: observe(connection, self.project))
        model = self.model
        assert seen.generations == list(enumerate(model.served, 1))
        assert seen.decisions == model.told
        assert seen.alias == model.alias
        assert seen.references == {number: version.encode() for number, version in seen.generations}

    def teardown(self) -> None:
        other = self.stores[1]
        answers = {one.id: one.answer for one in other.approvals.recent(self.project, 1_000)}
        assert answers == {id_: answer for id_, (_, _, answer) in self.model.questions.items()}
        waiting = [one.id for one in other.requests.open_ones(self.project)]
        assert waiting == sorted(id_ for id_, (_, outcome) in self.model.requests.items() if outcome is None)


@dataclass(frozen=True)
class Seen:
    """The ledger of one project at one moment."""

    generations: list[tuple[int, str]]
    decisions: list[str]
    alias: AliasState
    references: dict[int, bytes]


def observe(connection: Connection, project: str) -> Seen:
    """Read one snapshot."""

    def rows(*columns: Any) -> list[Any]:
        table = columns[0].table
        return list(connection.execute(select(*columns).where(table.c.project == project).order_by(columns[0])))

    alias = rows(aliases.c.intended, aliases.c.written)
    return Seen(
        [(row.number, row.version) for row in rows(generations.c.number, generations.c.version)],
        [row.kind for row in rows(decisions.c.id, decisions.c.kind)],
        AliasState(*alias[0]) if alias else AliasState(),
        {row.generation: row.payload for row in rows(references.c.generation, references.c.payload)},
    )


def obey(store: Store, examples: int, steps: int) -> None:
    other = open_store(store.database.engine.url.render_as_string(hide_password=False))
    LedgerRules.stores = (store, other)
    try:
        few = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
        run_state_machine_as_test(LedgerRules, settings=few)
    finally:
        other.close()


def test_the_ledger_obeys_its_rules_in_any_order(store: Store) -> None:
    obey(store, 30, 30)


@pytest.mark.soak
def test_the_ledger_obeys_its_rules_in_any_order_for_long(store: Store) -> None:
    obey(store, 1_000, 50)


PROMOTERS = """
import os, sys, threading
from data.errors import LostRace
from monitoring.effects import NewDecision
from monitoring.store import open_store
from store_parts import generation

url, name, threads, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = open_store(url)

def promote(number):
    for expected in range(rounds):
        version = f"{name}.{number}.{expected}"
        line = NewDecision("p", "promote", f"version {version}", "gates passed")
        while True:
            try:
                made = store.ledger.append_generation(
                    expected, generation("p", version), (line,), reference=version.encode()
                )
                os.write(1, f"{made.number} {version}\\n".encode())
                break
            except LostRace:
                if store.ledger.generation("p") and store.ledger.generation("p").number > expected:
                    os.write(1, f"lost {version}\\n".encode())
                    break

racers = [threading.Thread(target=promote, args=(number,)) for number in range(threads)]
[racer.start() for racer in racers]
[racer.join() for racer in racers]
"""


def test_of_32_promoters_one_wins_each_generation_and_every_observer_sees_it_whole(url: str) -> None:
    promote_at_once(url, rounds=6)


@pytest.mark.soak
def test_of_32_promoters_one_wins_each_generation_and_every_observer_sees_it_whole_for_long(url: str) -> None:
    promote_at_once(url, rounds=100)


def promote_at_once(url: str, rounds: int) -> None:
    store = open_store(url)
    ended = threading.Event()
    moments: list[Seen] = []

    def watch() -> None:
        while not ended.wait(0.002):
            moments.append(store.database.read(lambda connection: observe(connection, "p")))

    observer = threading.Thread(target=watch)
    observer.start()
    try:
        command = [sys.executable, "-c", PROMOTERS, url]
        racers = [
            subprocess.Popen([*command, f"{n}", "8", f"{rounds}"], stdout=subprocess.PIPE, text=True, env=child())
            for n in range(4)
        ]
        said = [racer.communicate(timeout=300)[0] for racer in racers]
        assert [racer.returncode for racer in racers] == [0] * 4
    finally:
        ended.set()
        observer.join()
    lines = [line.split() for words in said for line in words.splitlines()]
    won = {int(number): version for number, version in lines if number != "lost"}
    last = store.database.read(lambda connection: observe(connection, "p"))
    store.close()
    assert len(lines) == 32 * rounds
    assert len(won) == sum(number != "lost" for number, _ in lines) == rounds
    assert last.generations == sorted(won.items())
    for before, after in zip(moments, [*moments[1:], last], strict=True):
        assert after.generations[: len(before.generations)] == before.generations
    for seen in moments:
        assert len(seen.decisions) == len(seen.generations)
        assert seen.references == {number: version.encode() for number, version in seen.generations}
        assert seen.alias == AliasState(seen.generations[-1][1] if seen.generations else None)
