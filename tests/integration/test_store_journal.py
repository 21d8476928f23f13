from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_parts import NOON, answer, held, project, race, store, url

from data.errors import ServerUnavailable
from monitoring.records import WindowKey
from monitoring.store import Store, open_store
from monitoring.store.journal import Conflict, Entry, Journal, Logged
from monitoring.store.replies import FORGET_SECONDS, KEPT, Key
from monitoring.store.wire import Locked

__all__ = ["project", "store", "url"]
EXAMPLES = count()
FRESH = count()

# a row is the client's id, or None, and its features; an entry its rows, its key and whose it is, and its generation
ROWS = st.lists(st.tuples(st.none() | st.integers(0, 4), st.integers(0, 1)), max_size=3)
ENTRIES = st.tuples(ROWS, st.none() | st.tuples(st.sampled_from("ab"), st.integers(0, 2)), st.integers(1, 2))
COMMITS = st.lists(st.lists(ENTRIES, min_size=1, max_size=5), max_size=5)


def entry(project: str, rows: list[tuple[int | None, int]], key: tuple[str, int] | None, generation: int) -> Entry:
    rows = list({id_ if id_ is not None else -place: (id_, what) for place, (id_, what) in enumerate(rows, 1)}.values())
    logged = [
        Logged(f"fresh-{next(FRESH)}" if id_ is None else f"p{id_}", b"%d" % what, b'{"value":%d}' % what, generation)
        for id_, what in rows
    ]
    named = any(id_ is not None for id_, _ in rows)
    made = None if key is None else Key(project, key[0], f"k{key[1]}", repr(rows))
    return Entry(project, generation, NOON, logged, named, made)


class Model:
    """What the journal does, one entry at a time."""

    def __init__(self) -> None:
        self.rows: dict[str, Logged] = {}
        self.keys: dict[tuple[str, ...], tuple[str, list[str]]] = {}
        self.order: dict[int, list[str]] = {1: [], 2: []}

    def write(self, one: Entry) -> list[Logged] | Conflict:
        for place, row in enumerate(one.rows):
            if row.id in self.rows and self.rows[row.id].features != row.features:
                return Conflict(place)
        if one.key is not None:
            body, ids = self.keys.setdefault(one.key[:3], (one.key.body_sha256, [row.id for row in one.rows]))
            if body != one.key.body_sha256:
                return Conflict(None)
            if ids != [row.id for row in one.rows]:
                return [self.rows[id_] for id_ in ids]
        for row in one.rows:
            if self.rows.setdefault(row.id, row) is row:
                self.order[one.generation].append(row.id)
        return [self.rows[row.id] for row in one.rows]


@settings(max_examples=60, deadline=None)
@given(commits=COMMITS)
def test_entries_are_logged_whole_once_and_as_if_each_came_alone(store: Store, commits: list[list[Any]]) -> None:
    name, model = f"journal-{next(EXAMPLES)}", Model()
    for asked in commits:
        entries = [entry(name, *one) for one in asked]
        assert store.journal.write(entries) == [model.write(one) for one in entries]
    for generation, ids in model.order.items():
        stored = store.predictions.rows(WindowKey(name, generation, 0, NOON, NOON, 0, 1_000))
        assert [one.id for one in stored] == ids
        assert [one.sequence for one in stored] == list(range(len(ids)))
        assert [one.features for one in stored] == [model.rows[id_].features for id_ in ids]


def plain(project: str, id_: str) -> Entry:
    return Entry(project, 1, NOON, [Logged(id_, b"[1]", b'{"value":0.1}', 1)], named=False)


def test_a_row_comes_back_as_whole_prediction(store: Store, project: str) -> None:
    late = NOON + timedelta(hours=3, microseconds=7)
    rows = [
        Logged("a", bytes(range(256)), b'{"value":0.30000000000000004}', 3, late),
        Logged("b", b"[]", b"{}", 3, trial=2),
        Logged("c", b"[]", b"{}", 3),
        Logged("d", b"[]", b"{}", 3, trial=2),
    ]
    store.journal.write([Entry(project, 3, NOON, rows, named=True)])
    a, b = store.predictions.get(project, "a"), store.predictions.get(project, "b")
    assert a is not None
    assert b is not None
    assert (a.at, a.row_time, a.features, a.output) == (NOON, late, bytes(range(256)), {"value": 0.1 + 0.2})
    assert (b.row_time, b.generation, b.trial, b.sequence) == (NOON, 3, 2, 0)
    lanes = [(one.id, one.trial, one.sequence) for one in store.predictions.find(project, "abcd").values()]
    assert sorted(lanes) == [("a", 0, 0), ("b", 2, 0), ("c", 0, 1), ("d", 2, 1)]


def test_many_rows_take_few_statements_and_none_is_lost(store: Store, project: str) -> None:
    store.journal.write([plain(project, f"{n}") for n in range(64 + 32 + 3)])
    stored = store.predictions.rows(WindowKey(project, 1, 0, NOON, NOON, 0, 1_000))
    assert [one.id for one in stored] == [f"{n}" for n in range(99)]


def insist(journal: Journal, one: Entry) -> None:
    while True:
        with suppress(Locked):
            journal.write([one])
            return


def test_the_journal_and_other_writers_leave_no_gap(store: Store, project: str) -> None:
    second = Journal(store.database)

    def write(number: int) -> None:
        for k in range(4):
            if number % 3 == 2:
                store.predictions.append([answer(project, f"{number}-{k}")])
            else:
                insist(store.journal if number % 3 else second, plain(project, f"{number}-{k}"))

    assert race(9, write) == [None] * 9
    second.close()
    stored = store.predictions.rows(WindowKey(project, 1, 0, NOON, NOON, 0, 1_000))
    assert [one.sequence for one in stored] == list(range(36))


def test_another_writer_is_named_and_waited_for_in_turns(url: str) -> None:
    opened = open_store(url)
    opened.journal.write([plain("p", "before")])
    with held(url), pytest.raises(Locked):
        opened.journal.write([plain("p", "during")])
    opened.journal.write([plain("p", "during")])
    assert opened.predictions.count("p") == 2
    opened.close()


def test_a_database_that_lost_a_table_does_not_answer_whoever_asks(url: str) -> None:
    opened = open_store(url)
    opened.journal.write([plain("p", "before")])
    with opened.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE labels")
        connection.exec_driver_sql("DROP TABLE predictions")
    with pytest.raises(ServerUnavailable, match="predictions"):
        opened.predictions.count("p")
    with pytest.raises(ServerUnavailable, match="predictions"):
        opened.journal.write([plain("p", "after")])
    opened.close()


def test_what_the_database_refuses_takes_nothing_else_with_it(store: Store, project: str) -> None:
    broken = Entry(project, 1, NOON, [Logged("x", None, b"{}", 1)], named=False)  # type: ignore[arg-type]
    with pytest.raises(store.journal.wire.dbapi.IntegrityError):
        store.journal.write([plain(project, "a"), broken])
    assert store.predictions.count(project) == 0
    store.journal.write([plain(project, "a")])
    assert store.predictions.rows(WindowKey(project, 1, 0, NOON, NOON, 0, 9))[0].sequence == 0


def test_a_key_is_forgotten_after_a_day(store: Store, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Key(project, "me", "k", "body")
    old = Entry(project, 1, NOON - 100 * KEPT, [Logged("a", b"[1]", b"{}", 1)], named=False, key=key)
    store.journal.write([old])
    monkeypatch.setattr(store.journal.replies, "forgot_at", -FORGET_SECONDS)
    store.journal.write([plain(project, "b")])
    other = Entry(project, 1, NOON, [Logged("c", b"[2]", b"{}", 1)], named=False, key=key._replace(body_sha256="other"))
    assert store.journal.write([other]) == [other.rows]
