from datetime import timedelta

import pytest
from store_parts import NOON, answer, generation, project, race, store

from data.errors import LostRace, NoTrial
from monitoring.effects import NewDecision
from monitoring.records import Label
from monitoring.store import Store
from monitoring.store.journal import Entry, Logged
from monitoring.store.shadows import Shadow
from monitoring.store.trials import Mode, Trial

__all__ = ["project", "store"]


@pytest.fixture
def begun(store: Store, project: str) -> Trial:
    store.ledger.append_generation(0, generation(project))
    return start(store, project)


def start(store: Store, project: str, number: int = 1, mode: Mode = "shadow") -> Trial:
    new = Trial(0, project, "2", "run", "f" * 64, number, mode, 0.0, {"metric": "mae"}, "ada", NOON)
    return store.trials.start(new, NewDecision(project, "trial", "version 2", "a test", {"mode": mode}))


def stop(store: Store, trial: Trial, why: str) -> bool:
    line = NewDecision(trial.project, "trial", "version 2", why, {"trial": trial.id})
    return store.trials.end(trial.id, "stopped", why, NOON, decision=line)


def test_of_trials_started_at_once_one_goes_on_and_of_its_endings_one_holds(store: Store, project: str) -> None:
    store.ledger.append_generation(0, generation(project))
    got = race(4, lambda _: start(store, project))
    assert [type(one) for one in got].count(NoTrial) == 3
    trial = store.trials.open(project)
    assert trial is not None
    ended = race(4, lambda number: stop(store, trial, f"{number}"))
    assert ended.count(True) == 1
    assert [one.reason for one in store.trials.history(project)] == [f"{ended.index(True)}"]
    assert [line.inputs["trial"] for line in store.ledger.decisions(project)] == [trial.id, trial.id]


def test_a_trial_begins_beside_what_serves_and_ends_with_it(store: Store, project: str, begun: Trial) -> None:
    assert begun in store.trials.open_ones()
    store.ledger.append_generation(1, generation(project, "2"))
    ended = store.trials.get(begun.id)
    assert ended is not None
    assert (ended.outcome, ended.ended_at) == ("promoted", NOON)
    with pytest.raises(LostRace):
        start(store, project, number=1)
    start(store, project, number=2)
    store.ledger.append_generation(2, generation(project, "1"))
    assert [one.outcome for one in store.trials.history(project)] == ["promoted", "superseded"]
    assert len(store.ledger.decisions(project, kinds=("trial",))) == 4


def test_an_answer_in_the_shadow_is_kept_once_and_paired_with_the_champion(
    store: Store, project: str, begun: Trial
) -> None:
    store.predictions.append([answer(project, "a"), answer(project, "b"), answer(project, "older", generation=0)])
    store.journal.write([Entry(project, 1, NOON, [Logged("tried", b"[1]", b"{}", 1, trial=begun.id)], named=True)])
    store.labels.record(project, [Label("b", "1", NOON)], NOON)
    rows = [
        Shadow(begun.id, project, id_, NOON + timedelta(seconds=place), b'{"class":"%d"}' % place)
        for place, id_ in enumerate(["a", "b", "older", "tried", "nobody's"])
    ]
    assert store.shadows.append(rows, {begun.id: {"dropped": 1}}) == {begun.id}
    assert store.shadows.append([rows[0]._replace(output=b"{}")], {}) == set()
    assert store.shadows.count(begun.id) == 5
    pairs = store.shadows.pairs(begun, 10)
    known = [(one.id, one.challenger, one.label) for one in pairs]
    assert known == [("b", {"class": "1"}, "1"), ("a", {"class": "0"}, None)]
    assert [one.champion["class"] for one in pairs] == ["7", "7"]
    assert [one.id for one in store.shadows.pairs(begun, 10, labelled=True)] == ["b"]
    found = store.trials.get(begun.id)
    assert found is not None
    assert found.measured == {"dropped": 1}
    stop(store, begun, "enough")
    assert store.shadows.append([], {begun.id: {"dropped": 2}}) == set()
    store.shadows.close()


def test_rows_answered_on_trial_are_in_no_window_and_have_labels(store: Store, project: str, begun: Trial) -> None:
    both = [Logged("mine", b"[1]", b"{}", 1), Logged("tried", b"[1]", b"{}", 1, trial=begun.id)]
    store.journal.write([Entry(project, 1, NOON, both, named=True)])
    store.labels.record(project, [Label(one.id, "1", NOON) for one in both], NOON)
    log = store.predictions
    assert (log.count(project, 1), log.count(project)) == (1, 2)
    assert (store.labels.count(project, 1), store.labels.count(project)) == (1, 2)
    assert store.labels.count_unharvested(project) == 2
    kept = {number: log.newest(project, 1, trial=number, since=NOON, limit=9) for number in (0, begun.id)}
    assert {number: [one.id for one in rows] for number, rows in kept.items()} == {0: ["mine"], begun.id: ["tried"]}
