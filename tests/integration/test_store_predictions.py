import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_parts import NOON, answer, project, race, store, url, window, without_sequence

from monitoring.records import Label, Prediction, WindowKey
from monitoring.store import Store, open_store

__all__ = ["project", "store", "url"]
EXAMPLES = count()
CALLS = st.lists(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 2)), max_size=6), max_size=6)


@settings(max_examples=25, deadline=None)
@given(calls=CALLS)
def test_each_id_is_logged_once_and_sequences_have_no_gap(store: Store, calls: list[list[tuple[int, int]]]) -> None:
    name = f"example-{next(EXAMPLES)}"
    first: dict[str, Prediction] = {}
    order: dict[int, list[str]] = {1: [], 2: []}
    for number, call in enumerate(calls):
        asked = [answer(name, f"p{id_}", number, generation, b"%d" % number) for id_, generation in call]
        got = store.predictions.append(asked)
        for one in asked:
            if one.id not in first:
                first[one.id] = one
                order[one.generation].append(one.id)
        assert [without_sequence(one) for one in got] == [first[one.id] for one in asked]
    for generation, ids in order.items():
        key = WindowKey(name, generation, 0, NOON, NOON, 0, 1_000)
        stored = store.predictions.rows(key)
        assert [one.id for one in stored] == ids
        assert [one.sequence for one in stored] == list(range(len(ids)))


def test_what_was_answered_comes_back_exactly(store: Store, project: str) -> None:
    one = answer(project, "a", features=bytes(range(256)))
    assert store.predictions.append([one]) == [replace(one, sequence=0)]
    assert store.predictions.get(project, "a") == replace(one, sequence=0)


def test_writers_at_once_leave_no_gap_and_no_double(store: Store, project: str) -> None:
    race(16, lambda number: [store.predictions.append([answer(project, f"{number}-{k}")]) for k in range(4)])
    race(16, lambda number: store.predictions.append([answer(project, "shared", number, features=b"%d" % number)]))
    stored = store.predictions.rows(WindowKey(project, 1, 0, NOON, NOON, 0, 1_000))
    assert [one.sequence for one in stored] == list(range(65))


def test_windows_are_half_open_and_a_generations_own(store: Store, project: str) -> None:
    minutes = {"before": -0.001, "first": 0, "last": 59.999, "after": 60}
    store.predictions.append([answer(project, id_, minute) for id_, minute in minutes.items()])
    store.predictions.append([answer(project, "newer", 30, generation=2)])
    assert [one.id for one in store.predictions.rows(window(project))] == ["first", "last"]
    assert [one.id for one in store.predictions.rows(WindowKey(project, 1, 1, NOON, NOON, 1, 3))] == ["first", "last"]
    assert [one.id for one in store.predictions.since(project, NOON, limit=2)] == ["first", "newer"]
    assert store.predictions.first_time(project, 1) == NOON - timedelta(seconds=0.06)
    assert store.predictions.newest_time(project) == NOON + timedelta(hours=1)
    assert store.predictions.newest_time("nobody") is None
    assert (store.predictions.count(project), store.predictions.count(project, 2)) == (5, 1)


def test_a_label_counts_once_however_often_it_comes(store: Store, project: str) -> None:
    store.predictions.append([answer(project, "a"), answer(project, "b", 1), answer(project, "c", 2, generation=2)])
    said = [Label("a", "7", NOON), Label("b", 1.0, NOON), Label("nobody", "7", NOON)]
    receipts = [store.labels.record(project, said, NOON) for _ in range(2)]
    assert [(r.new, r.repeated, r.corrected, r.unknown) for r in receipts] == [(2, 0, 0, 1), (0, 2, 0, 1)]
    assert receipts[0].unknown_ids == ("nobody",)
    assert [one.label for one in store.predictions.rows(window(project))] == ["7", 1.0]
    assert store.labels.count(project) == 2
    assert store.labels.count(project, generation=2) == 0


def test_which_of_many_answers_are_labelled_is_told_without_reading_them(store: Store, project: str) -> None:
    store.predictions.append([answer(project, f"a{number}", features=bytes(100_000)) for number in range(600)])
    store.predictions.append([answer("another", "elsewhere")])
    store.labels.record(project, [Label("a1", 2.0, NOON), Label("a599", "yes", NOON)], NOON)
    asked = [f"a{number}" for number in range(700)] + ["elsewhere"]
    tracemalloc.start()
    try:
        told = store.predictions.labelled(project, iter(asked))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert told == {f"a{number}": number in (1, 599) for number in range(600)}


def test_a_correction_holds_against_a_late_copy_of_what_it_corrects(store: Store, project: str) -> None:
    store.predictions.append([answer(project, "a")])
    wrong, right = Label("a", "1", NOON), Label("a", "7", NOON + timedelta(minutes=1))
    found = [store.labels.record(project, said, NOON) for said in ([wrong, wrong, right], [wrong], [right])]
    assert [(r.new, r.repeated, r.corrected) for r in found] == [(1, 1, 1), (0, 1, 0), (0, 1, 0)]
    later = Label("a", "9", NOON + timedelta(minutes=2))
    assert store.labels.record(project, [later], NOON).corrected == 1
    assert [one.label for one in store.predictions.rows(window(project), labelled=True)] == ["9"]


def test_a_prediction_is_harvested_into_one_batch_only(store: Store, project: str) -> None:
    store.predictions.append([answer(project, f"{n}", n) for n in range(1_200)])
    store.labels.record(project, [Label(f"{n}", "7", NOON) for n in range(0, 1_200, 2)], NOON)
    ids = [f"{n}" for n in range(1_200)]
    marked = [store.predictions.mark_harvested(project, ids[:1_000], batch) for batch in ("first", "first", "second")]
    assert marked == [500, 0, 0]
    assert store.predictions.mark_harvested(project, ids, "second") == 100
    done = store.predictions.harvested(project, ids)
    assert [done.get(id_) for id_ in ("0", "1", "998", "1000")] == ["first", None, "first", "second"]
    assert store.labels.count_unharvested(project) == 0


def test_a_time_without_a_zone_is_refused(store: Store, project: str) -> None:
    with pytest.raises(Exception, match="has no time zone"):
        store.predictions.append([replace(answer(project, "a"), at=NOON.replace(tzinfo=None))])
    assert store.predictions.count(project) == 0


WRITER = """
import os, sys
from datetime import UTC, datetime
from monitoring.records import Prediction
from monitoring.store import open_store

store, name, at = open_store(sys.argv[1]), sys.argv[2], datetime.now(UTC)
for call in range(100_000):
    ids = [f"{name}-{call}-{k}" for k in range(8)]
    store.predictions.append([Prediction(i, "p", 1, at, at, i.encode(), {"value": call}) for i in ids])
    os.write(1, (" ".join(ids) + "\\n").encode())
"""


def test_every_acknowledged_prediction_survives_a_kill(url: str) -> None:
    acknowledged: list[str] = []
    for number in range(2):
        command = [sys.executable, "-c", WRITER, url]
        pair = [subprocess.Popen([*command, f"{number}{side}"], stdout=subprocess.PIPE) for side in "ab"]
        for writer in pair:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(15 + 9 * number)]
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.readlines()
            writer.stdout.close()
            writer.wait()
            acknowledged += b"".join(line for line in lines if line.endswith(b"\n")).decode().split()
    store = open_store(url)
    stored = store.predictions.rows(WindowKey("p", 1, 0, NOON, NOON, 0, 10**9))
    store.close()
    assert len(acknowledged) >= 8 * 4 * 15
    assert set(acknowledged) <= {one.id for one in stored}
    assert all(one.features == one.id.encode() for one in stored)
    assert [one.sequence for one in stored] == list(range(len(stored)))
