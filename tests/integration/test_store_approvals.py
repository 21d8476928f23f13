from datetime import timedelta

import pytest
from store_parts import NOON, TTL, asked_for, generation, message, project, race, store

from data.errors import Answered, LostRace, StaleToken
from monitoring.effects import NewDecision
from monitoring.store import Store
from monitoring.store.approvals import Approval

__all__ = ["project", "store"]
DAYS = timedelta(days=3)


def ask(store: Store, project: str, version: str = "7", champion: str | None = None, **more: int) -> Approval:
    decision = NewDecision(project, "ask", f"version {version}", "it passed")
    approval, _ = store.approvals.ask(
        decision, version=version, champion=champion, now=NOON, expires_at=NOON + DAYS, **more
    )
    return approval


def reject(store: Store, asked: Approval, actor: str = "ada") -> bool:
    no = NewDecision(asked.project, "reject", f"version {asked.version}", "no")
    return store.approvals.answer(asked.id, "rejected", actor=actor, why="no", now=NOON, decision=no)


def kinds(store: Store, project: str) -> list[str]:
    return [line.kind for line in reversed(store.ledger.decisions(project))]


def test_a_version_has_one_open_question_however_often_it_is_asked(store: Store, project: str) -> None:
    got = race(4, lambda _number: ask(store, project))
    assert len({one.id for one in got if isinstance(one, Approval)}) == 1
    assert kinds(store, project) == ["ask"]
    first = store.approvals.open_ones(project)[0]
    assert reject(store, first)
    assert ask(store, project).id != first.id


def test_of_many_answers_one_is_written_with_its_decision_and_its_messages(store: Store, project: str) -> None:
    asked = ask(store, project)
    got = race(6, lambda number: reject(store, asked, f"person {number}"))
    assert sorted(got) == [False] * 5 + [True]  # type: ignore[type-var]
    assert kinds(store, project) == ["ask", "reject"]
    held = store.approvals.get(asked.id)
    assert held is not None
    assert held.actor == f"person {got.index(True)}"
    assert not store.approvals.note_run(asked.id, "late", NOON, [message(f"{project}-late")])
    assert not store.approvals.reminded(asked.id, NOON, [message(f"{project}-reminder")])
    assert [one.id for one in asked_for(store.outbox.due(NOON, 100)) if one.id.startswith(project)] == []


def test_a_question_stands_or_falls_with_the_end_of_what_led_to_it(store: Store, project: str) -> None:
    intent, _ = store.intents.open(project, None, NOON)
    token = store.leases.acquire(project, "run-1", TTL, NOON)
    with pytest.raises(StaleToken):
        ask(store, project, intent=intent.id, token=token - 1)
    assert store.approvals.open_ones(project) == []
    ask(store, project, intent=intent.id, token=token)
    assert [one.outcome for one in store.intents.all(project)] == ["challenger"]


def test_a_promotion_answers_its_own_question_and_makes_those_against_others_void(store: Store, project: str) -> None:
    first, second = ask(store, project, "1"), ask(store, project, "2")
    store.ledger.append_generation(0, generation(project, "1"), approval=first.id)
    against = ask(store, project, "3", champion="1")
    answers = [one.answer for one in store.approvals.recent(project, 3)]
    assert answers == [None, "void", "approved"]
    assert kinds(store, project) == ["ask", "ask", "void", "ask"]
    with pytest.raises(Answered, match=r"version 2 of .* was answered meanwhile"):
        store.ledger.append_generation(1, generation(project, "2"), approval=second.id)
    with pytest.raises(LostRace):
        store.ledger.append_generation(0, generation(project, "3"), approval=against.id)
    store.ledger.append_generation(1, generation(project, "1"))
    assert [one.id for one in store.approvals.open_ones(project)] == [against.id]  # it is about what serves again


def test_nobody_is_asked_about_a_version_that_was_judged_against_another_champion(store: Store, project: str) -> None:
    store.ledger.append_generation(0, generation(project, "1"))
    intent, _ = store.intents.open(project, None, NOON)
    for champion in (None, "2"):
        with pytest.raises(LostRace, match="serves no more: judge anew"):
            ask(store, project, champion=champion, intent=intent.id)
    assert store.approvals.open_ones(project) == []
    assert [one.outcome for one in store.intents.all(project)] == [None]
    assert kinds(store, project) == []


def test_a_yes_and_a_no_at_once_leave_a_champion_or_a_refusal_and_never_both(store: Store, project: str) -> None:
    for number in range(5):
        past = store.ledger.generations(project)
        asked, served = ask(store, project, str(number + 1), champion=past[-1].version if past else None), len(past)

        def act(which: int, asked: Approval = asked, served: int = served) -> object:
            if which:
                return reject(store, asked)
            return store.ledger.append_generation(served, generation(project, asked.version), approval=asked.id)

        race(2, act)
        held = store.approvals.get(asked.id)
        assert held is not None
        assert (len(store.ledger.generations(project)) > served) is (held.answer == "approved")
