"""Rows cut into slices: each level of a category, each quartile of a number. Needs numpy only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from data.schema import Category, Column, Number, Rows

MOST_LEVELS = 20  # of one column, by rows; the rest are one slice together
NULL, OTHER = "(null)", "(other)"
QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Slice:
    """A part of the rows: its name as gates have it, what it is for people, and which rows, as a mask (N,)."""

    name: str
    about: str
    which: np.ndarray


def cut(columns: Mapping[str, Column], rows: Rows, names: tuple[str, ...]) -> Iterator[Slice]:
    """Yield the slices that have rows, column by column.

    Quartiles are those of `rows`: they depend on what was asked, never on what was answered.
    """
    for name in names:
        column = columns[name]
        if isinstance(column, Category):
            yield from levels(name, rows[name])
        elif isinstance(column, Number):
            yield from quarters(name, np.asarray(rows[name], dtype=float))


def levels(name: str, values: np.ndarray) -> Iterator[Slice]:
    """Cut by level, the commonest first; equal counts by name."""
    texts = np.array([NULL if value is None else value for value in values.tolist()], dtype=object)
    found, counts = np.unique(texts.astype(str), return_counts=True)
    order = [str(found[i]) for i in np.lexsort((found, -counts))]
    for level in order[:MOST_LEVELS]:
        yield Slice(f"{name}={level}", f"{name} is {level}", texts == level)
    if rest := order[MOST_LEVELS:]:
        yield Slice(f"{name}={OTHER}", f"{name} is one of {len(rest)} rarer levels", np.isin(texts.astype(str), rest))


def quarters(name: str, values: np.ndarray) -> Iterator[Slice]:
    """Cut a number at its quartiles; where many values are equal there are fewer slices."""
    known = np.isfinite(values)
    if known.any():
        edges = np.quantile(values[known], QUARTERS)
        code = np.searchsorted(edges, values, side="left")
        for quarter in range(len(edges) + 1):
            which = known & (code == quarter)
            if which.any():
                about = f"{name} is {span(values[which])}"
                yield Slice(f"{name}=Q{quarter + 1}", about, which)
    if not known.all():
        yield Slice(f"{name}={NULL}", f"{name} is null", ~known)


def span(values: np.ndarray) -> str:
    """Write the range of some values for people."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
