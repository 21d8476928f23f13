"""The log's way in for the service: whole requests, many to a commit, each logged with all its rows or not at all."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from monitoring.store.engine import Database
from monitoring.store.replies import Claim, Key, Replies
from monitoring.store.wire import Wire

INTO = "predictions (project, id, generation, trial, sequence, at, row_time, features, output)"
KNOWN = (
    "SELECT p.id, p.features, p.output, p.generation, p.trial, t.version FROM predictions p "
    "LEFT JOIN trials t ON t.id = p.trial WHERE p.project = ? AND "
)
NEWEST = "SELECT max(sequence) FROM predictions WHERE project = ? AND generation = ? AND trial = ?"

Lane = tuple[str, int, int]
"""Project, generation, trial: within one, sequences have no gap."""


@dataclass(slots=True)
class Logged:
    """One answered row, as it is to be logged or as the log holds it; `output` is the answer's JSON.

    `trial`: whose version answered beside the generation, and `version` which; 0: the generation itself did.
    """

    id: str
    features: bytes
    output: bytes
    generation: int
    row_time: datetime | None = None  # None: the time of the answer
    trial: int = 0
    version: str | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One request's answers. `named`: an id is its client's own, so the log may hold it already."""

    project: str
    generation: int
    at: datetime
    rows: list[Logged]
    named: bool
    key: Key | None = None


class Conflict(NamedTuple):
    """Why an entry is not logged. `row`: the row whose id was answered before for other features; None: its key."""

    row: int | None


Outcome = list[Logged] | Conflict
"""The rows that answer an entry: its own, or those that the log held already under its ids or its key."""

Known = dict[tuple[str, str], Logged]


class Journal:
    """Writes entries. Any thread may, one at a time; only the service has enough of them to need this."""

    def __init__(self, database: Database) -> None:
        self.wire = Wire(database)
        self.replies = Replies(self.wire)
        self.next: dict[Lane, int] = {}
        self.last: tuple[datetime | None, Any] = (None, None)
        self.lock = threading.Lock()

    def write(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Log entries in one durable commit.

        Raises: Locked, and nothing was written; ServerUnavailable, and then nothing is known of the commit.
        """
        with self.lock:
            try:
                return self.commit(entries)
            except self.wire.dbapi.IntegrityError:  # another process wrote into a lane: our count of it was old
                return self.commit(entries)

    def commit(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Log entries; the counts of what was logged hold only until a commit fails."""
        counts, self.next = self.next, {}
        with self.wire.transaction():
            outcomes = self.record(entries, counts)
            self.replies.forget()
        self.next = counts
        return outcomes

    def close(self) -> None:
        """Close the connection; the next write opens a new one."""
        with self.lock:
            self.wire.close()

    def record(self, entries: Sequence[Entry], counts: dict[Lane, int]) -> list[Outcome]:
        """Decide about each entry as if it came alone, in order, and insert what is new."""
        if not any(entry.named or entry.key is not None for entry in entries):
            new: list[tuple[Any, ...]] = []
            outcomes: list[Outcome] = [self.take(entry, {}, counts, new) for entry in entries]
            self.wire.insert(INTO, new)
            return outcomes
        if strangers(entries):
            return self.decide(entries, counts)
        return [outcome for entry in entries for outcome in self.decide([entry], counts)]

    def decide(self, entries: Sequence[Entry], counts: dict[Lane, int]) -> list[Outcome]:
        """Take each entry, unless one of its ids or its key stands for something else; none has to do with another."""
        known = self.known(entries)
        said = self.claim(entries, [conflict(entry, known) for entry in entries])
        new: list[tuple[Any, ...]] = []
        outcomes: list[Outcome] = [
            self.take(entry, known, counts, new) if one is None else one
            for entry, one in zip(entries, said, strict=True)
        ]
        self.wire.insert(INTO, new)
        return outcomes

    def take(self, entry: Entry, known: Known, counts: dict[Lane, int], new: list[tuple[Any, ...]]) -> list[Logged]:
        """Number an entry's new rows, and return all of its rows as the log will hold them."""
        project, generation, trial = lane = (entry.project, entry.generation, 0)
        sequence = counts[lane] if lane in counts else self.count(lane)
        at = self.time(entry.at)
        logged = entry.rows
        if entry.named:
            logged = [known.setdefault((project, row.id), row) for row in entry.rows]
        for row, held in zip(entry.rows, logged, strict=True):
            if held is row:
                if row.trial != trial:
                    counts[lane], trial = sequence, row.trial
                    lane = (project, generation, trial)
                    sequence = counts[lane] if lane in counts else self.count(lane)
                time = at if row.row_time is None else self.wire.time(row.row_time)
                output = row.output.decode()
                new.append((project, row.id, generation, trial, sequence, at, time, row.features, output))
                sequence += 1
        counts[lane] = sequence
        return logged

    def time(self, at: datetime) -> Any:
        """Return a time as the tables hold it; a batch shares its one."""
        if at is not self.last[0]:
            self.last = (at, self.wire.time(at))
        return self.last[1]

    def count(self, lane: Lane) -> int:
        """Return the next sequence of a lane."""
        newest = self.wire.all(NEWEST, lane)[0][0]
        return 0 if newest is None else int(newest) + 1

    def claim(self, entries: Sequence[Entry], refused: Sequence[Conflict | None]) -> list[Outcome | None]:
        """Take the keys of entries that are not refused; return what is said already, by refusal or holder."""
        said: list[Outcome | None] = list(refused)
        places = [i for i, entry in enumerate(entries) if entry.key is not None and refused[i] is None]
        claims = [Claim(key, [row.id for row in entries[i].rows]) for i in places if (key := entries[i].key)]
        if claims:
            for i, claim, ids in zip(places, claims, self.replies.claim(claims, entries[places[0]].at), strict=True):
                said[i] = None if ids == claim.ids else self.replay(claim.key.project, ids)
        return said

    def replay(self, project: str, ids: list[str] | None) -> Outcome:
        """Return the rows that answered a key, which may be none; a conflict for another body, or if rows are gone."""
        held = self.held(project, ids or [])
        return Conflict(None) if ids is None or len(held) < len(ids) else [held[id_] for id_ in ids]

    def known(self, entries: Iterable[Entry]) -> Known:
        """Return what the log holds under the ids that clients chose."""
        asked: dict[str, list[str]] = {}
        for entry in entries:
            if entry.named:
                asked.setdefault(entry.project, []).extend(row.id for row in entry.rows)
        return {(project, id_): row for project, ids in asked.items() for id_, row in self.held(project, ids).items()}

    def held(self, project: str, ids: list[str]) -> dict[str, Logged]:
        """Return what the log holds under some ids."""
        rows = self.wire.all(KNOWN + self.wire.among("p.id"), (project, self.wire.listed(ids)))
        return {
            id_: Logged(id_, bytes(features), output.encode(), number, None, trial, version)
            for id_, features, output, number, trial, version in rows
        }


def strangers(entries: Sequence[Entry]) -> bool:
    """Whether no two entries share a key or a client's id."""
    keys = [entry.key[:3] for entry in entries if entry.key is not None]
    ids = [(entry.project, row.id) for entry in entries if entry.named for row in entry.rows]
    return len(set(keys)) == len(keys) and len(set(ids)) == len(ids)


def conflict(entry: Entry, known: Known) -> Conflict | None:
    """Return the first row whose id has an answer for other features."""
    for place, row in enumerate(entry.rows):
        held = known.get((entry.project, row.id))
        if held is not None and held.features != row.features:
            return Conflict(place)
    return None
