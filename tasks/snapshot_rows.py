"""The rows of a snapshot in one order: what decides about them is in memory, the rest is read when it is asked for."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from data.batches import read_batch, rows_in_group, written_before
from data.schema import Category, Id, Number, Rows, Schema, concatenate, length, row_bytes, take
from data.stored import Stored, assembled
from data.versions import DataRegistry, Snapshot

BATCH = "_batch"  # the file a row came from, beside its columns
TEXT = np.dtypes.StringDType()  # 16 bytes a key; as Python's own text it takes 70
WHOLE = 2**28  # bytes of rows that are read once and kept; of more, those that are asked for are read each time
TOGETHER = 2**16  # keys of many that are texts of their own at a time
PIECE = 4  # row groups, 64 MB, that are read at a time: rows in no order are read as often as there are pieces


class SnapshotRows:
    """The rows of some files, oldest first where they have a time; each key once, as the last of the files has it.

    `known`: of every row, in that order, its key, entity, time, class or number, its user where items are ranked, and
    `BATCH`.
    """

    def __init__(self, paths: Sequence[Path], schema: Schema) -> None:
        """Read what decides about the rows.

        Raises: Corrupt; WrittenBefore for a row that counts and has nothing in a column that it can't be without.
        """
        self.paths, self.schema, parts, one = tuple(paths), schema, list[Rows](), dict[str, str]()
        self.missing: list[frozenset[str]] = []  # of each file the columns that it doesn't hold
        for path in self.paths:
            stored = Stored(path, schema, partly=True)
            self.missing.append(stored.missing)
            part = stored.read(range(stored.groups), deciding(schema)) | {BATCH: np.full(stored.rows, path.stem, "O")}
            part[schema.key] = part[schema.key].astype(TEXT)
            parts.append(
                {name: once(values, one) if values.dtype == object else values for name, values in part.items()}
            )
        self.starts = np.concatenate([[0], np.cumsum([length(part) for part in parts])]).astype(np.int64)
        together = concatenate(parts)
        parts.clear()
        self.places = newest_of_each_key(together, schema)
        if short := [at for at in self.files_short_of(np.arange(len(self))) if self.missing[at] - schema.optional]:
            needed = frozenset[str]().union(*(self.missing[at] for at in short))
            raise written_before(schema, [self.paths[at].stem for at in short], needed)
        self.known = take(together, self.places)

    def __len__(self) -> int:
        return len(self.places)

    def files(self, which: np.ndarray) -> np.ndarray:
        """Return of each of these rows (N,) the position in `paths` of its file."""
        found: np.ndarray = np.searchsorted(self.starts, self.places[which], side="right") - 1
        return found

    @property
    def complete(self) -> np.ndarray:
        """Tell which rows (N,) are in files that hold every column."""
        found: np.ndarray = np.array([not missing for missing in self.missing])[self.files(np.arange(len(self)))]
        return found

    def files_short_of(self, which: np.ndarray) -> list[int]:
        """Return the positions in `paths` of files that lack columns and hold some of these rows (N,)."""
        if not any(self.missing):
            return []
        return [at for at in np.unique(self.files(which)).tolist() if self.missing[at]]

    def lacking(self, which: np.ndarray) -> frozenset[str]:
        """Return the columns that the file of one of these rows (N,) does not hold."""
        return frozenset[str]().union(*(self.missing[at] for at in self.files_short_of(which)))

    def given(self, name: str) -> np.ndarray:
        """Tell which rows (N,) have a value in a column of numbers or categories."""
        columns = [Stored(path, self.schema, partly=True).column(name) for path in self.paths]
        values = np.concatenate(columns)[self.places]
        return ~np.isnan(values) if values.dtype.kind == "f" else np.array([one is not None for one in values.tolist()])

    @cached_property
    def whole(self) -> Rows:
        """All rows of the files, in theirs."""
        return concatenate([read_batch(path, self.schema, partly=True) for path in self.paths])

    @cached_property
    def proven(self) -> tuple[Path, ...]:
        """The files, each read once: a column that was of another kind when it was written would be read as this one.

        Raises: Corrupt.
        """
        for path in self.paths:
            Stored(path, self.schema, partly=True).check()
        return self.paths

    def take(self, which: np.ndarray) -> Rows:
        """Read rows by a mask or by their positions, in that order, with `BATCH`.

        Raises: Corrupt.
        """
        origins = {BATCH: self.known[BATCH][which]}
        wanted = self.places[which]
        if self.starts[-1] * row_bytes(self.schema) <= WHOLE:
            return take(self.whole, wanted) | origins
        order = np.argsort(wanted, kind="stable")
        bounds = np.searchsorted(wanted[order], self.starts)
        touched = [(at, order[bounds[at] : bounds[at + 1]]) for at in np.flatnonzero(np.diff(bounds)).tolist()]
        parts = (
            (of, Stored(self.proven[at], self.schema, partly=True).take(wanted[of] - self.starts[at]))
            for at, of in touched or [(0, order)]
        )
        return assembled(len(wanted), parts) | origins

    def all(self) -> Rows:
        """Read every row."""
        return self.take(np.arange(len(self)))

    def pieces(self, which: np.ndarray) -> Iterator[Rows]:
        """Yield rows by their positions, one piece at least; each but the last fills whole row groups of a file."""
        size = PIECE * rows_in_group(self.schema)
        for start in range(0, max(len(which), 1), size):
            yield self.take(which[start : start + size])

    def sample(self, which: np.ndarray, most: int) -> Rows:
        """Read rows by their positions; of more than `most`, evenly some, and the first of each level of a category."""
        if len(which) <= most:
            return self.take(which)
        chosen = np.zeros(len(self), bool)
        chosen[which[np.linspace(0, len(which) - 1, most).astype(np.int64)]] = True
        wanted = np.zeros(self.starts[-1], bool)
        wanted[self.places[which]] = True
        firsts = np.zeros(self.starts[-1], bool)
        firsts[self.first_of_each_level(wanted)] = True
        return self.take(np.flatnonzero(chosen | firsts[self.places]))

    def first_of_each_level(self, wanted: np.ndarray) -> list[int]:
        """Return the places, among those in a mask over all files' rows, where a category's or an id's level is new."""
        named = [name for name, column in self.schema.features.items() if isinstance(column, Category | Id)]
        seen, found = set[tuple[str, str]](), []
        for path, start in zip(self.paths, self.starts.tolist(), strict=False):
            stored = Stored(path, self.schema, partly=True)
            for group, first in enumerate(stored.starts[:-1].tolist()):
                for name, values in stored.read([group], named).items() if named else ():
                    for at in np.flatnonzero(wanted[start + first : start + first + len(values)]).tolist():
                        if (name, values[at]) not in seen:
                            seen.add((name, values[at]))
                            found.append(start + first + at)
        return found


def gather(registry: DataRegistry, snapshot: Snapshot, schema: Schema, cache: Path) -> SnapshotRows:
    """Restore a snapshot into `cache`, each file checked by its hash; the rows are read from there.

    A key that stands in several batches counts once, as its newest batch (by name) has it.
    """
    return SnapshotRows(sorted(registry.restore(snapshot, cache)), schema)


def among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Tell which keys (N,) are among others (M,); as Python's own texts the fewer of both are in memory.

    numpy compares texts one by one with all others: hours for a million.
    """
    few, many = sorted((keys, known), key=len)
    texts, shared = set(few.tolist()), set[str]()
    for start in range(0, len(many), TOGETHER):
        shared |= texts.intersection(many[start : start + TOGETHER].tolist())
    return np.fromiter((key in shared for key in keys), bool, len(keys))


def deciding(schema: Schema) -> list[str]:
    """Return the columns that decide which of its rows count, and what for."""
    target = [schema.target] if isinstance(schema.columns[schema.target], Category | Number) else []
    return [*schema.identifiers, *target, *([schema.ranking.user] if schema.ranking else [])]


def newest_of_each_key(rows: Rows, schema: Schema) -> np.ndarray:
    """Return the places of the rows whose key does not come again later on, oldest first where they have a time."""
    keys = rows[schema.key].astype(TEXT)
    _, last = np.unique(keys[::-1], return_index=True)
    kept = np.sort(len(keys) - 1 - last)
    return kept if schema.time is None else kept[np.lexsort((keys[kept], rows[schema.time][kept]))]


def once(values: np.ndarray, known: dict[str, str]) -> np.ndarray:
    """Return the same texts, equal ones as one object each."""
    found = np.empty(len(values), object)
    found[:] = [known.setdefault(value, value) for value in values.tolist()]
    return found
