"""Categories."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from data.cells import encodable, is_null, shown
from data.columns.base import Misfits, Objections, Rows
from data.declared import declared

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LEVEL = 1000  # characters of a level that an open set takes


class TextColumn:
    """What is text in each row: object arrays of str."""

    def to_cells(self, values: np.ndarray) -> Any:
        """Return the values as a frame holds them."""
        return values

    def to_request(self, values: np.ndarray) -> list[Any]:
        """Return the values as a request in JSON gives them."""
        return list(values.tolist())

    def to_arrow(self, values: np.ndarray) -> Any:
        """Return Arrow's strings."""
        import pyarrow as pa

        return pa.array(values.tolist(), type=pa.string())

    def from_arrow(self, column: Any) -> np.ndarray:
        """Undo `to_arrow`."""
        import pyarrow as pa

        return objects(column.cast(pa.string()).to_pylist())

    def unlike(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Tell, row by row (N,), whether the values differ."""
        return np.array([a != b for a, b in zip(one.tolist(), other.tolist(), strict=True)], dtype=bool)


@declared
class Category(TextColumn):
    """One of some levels. `open` lets levels not named here in (they share one code); else they are bad data."""

    levels: tuple[str, ...]
    open: bool = False
    nullable: bool = False

    def typed(self, cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
        """Type cells as str, None where null."""
        return words_of(cells, self.levels)

    def objections(self, values: np.ndarray) -> Objections:
        """Return which values are no level, and which are missing where they may not be."""
        missing = np.array([value is None for value in values], dtype=bool)
        levels = frozenset(self.levels)
        strange = np.array([value is not None and value not in levels for value in values], dtype=bool)
        unknown = [] if self.open else [(strange, "not a known level")]
        return [*unknown, *([] if self.nullable else [(missing, "missing")])]

    def describe(self, name: str, values: np.ndarray) -> Rows:
        """Return the column as it is."""
        return {name: values}

    def described(self, name: str) -> "dict[str, Category]":
        """Return the columns of `describe`."""
        return {name: self}

    def words(self, most: int = 8) -> str:
        """Say what the column holds, `most` levels by their names."""
        listed = ", ".join(self.levels[:most]) + (f", … ({len(self.levels)})" if len(self.levels) > most else "")
        return f"one of {listed}{', or another' if self.open else ''}{', or nothing' if self.nullable else ''}"

    def narrowed(self, after: "Category") -> Iterator[str]:
        """Yield which levels `after` no longer accepts."""
        if self.open and not after.open:
            yield "no longer takes levels that it does not name"
        lost = [level for level in self.levels if level not in after.levels and not (after.open and fits_open(level))]
        if lost:
            yield f"no longer has {', '.join(map(repr, lost[:3]))}" + (f" and {len(lost) - 3} more" if lost[3:] else "")
        if self.nullable and not after.nullable:
            yield "may no longer be null"


def fits_open(level: str) -> bool:
    """Whether an open set takes this text."""
    return len(level) <= LONGEST_LEVEL and "\0" not in level


def words_of(cells: "pd.Series[Any]", levels: tuple[str, ...]) -> tuple[np.ndarray, Misfits]:
    """Type a Category, a key or an entity: str, None where null.

    A whole float is spelled without its ".0" unless that is a level: nulls make pandas read integers as floats.
    """
    values = np.empty(len(cells), dtype=object)
    bad: Misfits = {}
    known = frozenset(levels)
    for i, cell in enumerate(cells):
        if is_null(cell):
            continue
        if not isinstance(cell, (str, int, float, Decimal, np.number, np.bool_, dt.date)):
            bad[i] = f"{shown(cell)} is not text"
            continue
        text = str(cell)
        if isinstance(cell, (float, np.floating)) and text not in known and float(cell).is_integer():
            text = str(int(cell))
        if not encodable(text):
            bad[i] = f"{shown(text)} is not Unicode text"
            continue
        values[i] = text
    return values, bad


def objects(values: list[Any]) -> np.ndarray:
    """Return an object array, one element a value."""
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
