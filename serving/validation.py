"""Strangers' JSON rows, read strictly by the schema of the generation that will answer them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import urandom
from time import time_ns
from typing import Any, NamedTuple

import numpy as np

from data.errors import BadRow, nearest
from data.schema import ArrayColumn, Column, Id, Number, Rows, Schema, aliases
from serving.values import Check, Unfit, checker, identifier, kind, learned_checker, moment, shown

VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class ReadRow(NamedTuple):
    """One row as validated: `values` stand in the order of the schema's features; `named`: the id is the client's."""

    id: str
    entity: str
    time: datetime | None
    values: list[Any]
    named: bool = True


@dataclass(frozen=True)
class ReadColumns:
    """Rows that came as columns, validated: identifiers and features, no target."""

    ids: list[str]
    times: list[datetime | None]
    columns: Rows
    named: bool

    def __len__(self) -> int:
        return len(self.ids)


class RowReader:
    """Reads rows by one schema: features by their names, the key as `id`, entity and time if known.

    A row without an id gets a new one; without an entity it is its own. `learned`: the ids that the version knows.
    """

    def __init__(self, schema: Schema, learned: Mapping[str, Collection[str]] | None = None) -> None:
        self.schema = schema
        self.checks: list[tuple[str, Check]] = [
            (name, learned_checker(learned[name]) if learned and refuses(column) else checker(column))
            for name, column in schema.features.items()
        ]
        self.aliases = aliases(schema)

    def read(self, rows: Any, limit: int) -> list[ReadRow]:
        """Return every row validated, or refuse them all.

        Raises: BadRow, naming the first value that does not fit.
        """
        if not isinstance(rows, list) or not rows:
            raise BadRow("rows", "a list of at least one row expected")
        if len(rows) > limit:
            raise BadRow("rows", f"{len(rows)} rows; at most {limit} a request")
        read = [self.read_row(row, f"rows[{i}]") for i, row in enumerate(rows)]
        refuse_duplicates([row.id for row in read], "rows", "id")
        return read

    def read_row(self, row: Any, where: str) -> ReadRow:
        """Return one row validated.

        Raises: BadRow.
        """
        if type(row) is not dict:
            raise BadRow(where, f"an object expected, not {kind(row)}")
        name, values = "", []
        try:
            for name, check in self.checks:
                values.append(check(row[name]))
        except KeyError:
            raise self.missing(name, row, where) from None
        except Unfit as error:
            raise BadRow(f"{where}.{name}{error.within}", error.why) from error
        if len(row) == len(values):
            identity = new_id()
            return ReadRow(identity, identity, None, values, named=False)
        known = self.identify(row, where)
        identity = known["key"] if "key" in known else new_id()
        return ReadRow(identity, known.get("entity", identity), known.get("time"), values, "key" in known)

    def identify(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Read the keys of a row that are no features: its identifiers, under either of their names."""
        known: dict[str, Any] = {}
        features = self.schema.columns
        for name in (name for name in row if name not in features or name == self.schema.target):
            role = self.aliases.get(name)
            if role is None:
                raise BadRow(f"{where}.{name[:80]}", self.unknown(name))
            try:
                value = moment(row[name]) if role == "time" else identifier(row[name])
            except Unfit as error:
                raise BadRow(f"{where}.{name}", error.why) from error
            if known.setdefault(role, value) != value:
                raise BadRow(f"{where}.{name}", f"the {role} is given twice, with different values")
        return known

    def unknown(self, name: str) -> str:
        """Say what may have been meant by a key that is none of ours."""
        if name == self.schema.target:
            return "the target is what is asked for: send it later, as a label"
        return f"unknown key; {nearest(name[:80], [*self.schema.features, *self.aliases])}"

    def missing(self, name: str, row: Mapping[str, Any], where: str) -> BadRow:
        """Say that a feature is missing; a stranger's key, maybe the same misspelt, is named first."""
        self.identify(row, where)
        null = "; send null if unknown" if getattr(self.schema.columns[name], "nullable", False) else ""
        return BadRow(f"{where}.{name}", f"missing{null}")

    def columns(self, rows: Sequence[ReadRow]) -> Rows:
        """Return validated rows as columns: identifiers and features, no target."""
        schema = self.schema
        made: Rows = {schema.key: objects([row.id for row in rows])}
        if schema.entity is not None and schema.entity != schema.key:
            made[schema.entity] = objects([row.entity for row in rows])
        if schema.time is not None:
            times = ["NaT" if row.time is None else row.time.replace(tzinfo=None) for row in rows]
            made[schema.time] = np.array(times, dtype="datetime64[us]")
        for place, (name, column) in enumerate(schema.features.items()):
            made[name] = stacked(column, [row.values[place] for row in rows])
        return made


def refuses(column: Column) -> bool:
    """Whether ids that were never learned are refused."""
    return isinstance(column, Id) and column.unknown == "refuse"


def new_id() -> str:
    """Return a UUID of version 7: new rows lie beside each other in the log's index, so a commit touches few pages."""
    at, chance = f"{time_ns() // 1_000_000:012x}", urandom(10).hex()
    return f"{at[:8]}-{at[8:]}-7{chance[:3]}-{VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"


def refuse_duplicates(ids: Sequence[str], where: str, key: str) -> None:
    """Raise BadRow for the first id that an earlier row has too."""
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for i, identity in enumerate(ids):
        if first.setdefault(identity, i) != i:
            raise BadRow(f"{where}[{i}].{key}", f"{shown(identity)} is the id of {where}[{first[identity]}] too")


def objects(values: Iterable[Any]) -> np.ndarray:
    """Return an object array, one element a value."""
    values = list(values)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def stacked(column: Column, values: list[Any]) -> np.ndarray:
    """Return one column's checked values as an array."""
    if isinstance(column, Number):
        return np.array(values, dtype=np.float64)
    return np.stack(values) if isinstance(column, ArrayColumn) else objects(values)
