"""Columns as they come, made fit to be compared, or told apart with the reason: one that is broken hides no other."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from data.schema import Category, Column, Number, Rows
from monitoring.binning import Incomputable, level_counts, printable


def rows_in(observed: Mapping[str, Any]) -> int:
    """Return how many rows most columns have; where it is a draw, as many as were answered, else the more."""
    sizes = Counter(len(values) for values in observed.values() if isinstance(values, np.ndarray) and values.ndim)
    answers = observed.get("prediction")
    answered = len(answers) if isinstance(answers, np.ndarray) and answers.ndim else -1
    return max(sizes, key=lambda size: (sizes[size], size == answered, size), default=0)


def read(columns: Mapping[str, Column], observed: Mapping[str, Any], rows: int) -> tuple[Rows, dict[str, str]]:
    """Return the columns that have so many values to compare, numbers as float64, and why the others have not."""
    seen: Rows = {}
    broken = {}
    for name, column in columns.items():
        try:
            seen[name] = readable(column, observed, name, rows)
        except Incomputable as error:
            broken[name] = str(error)
    return seen, broken


def readable(column: Column, observed: Mapping[str, Any], name: str, rows: int) -> np.ndarray:
    """Return one column.

    Raises: Incomputable.
    """
    if name not in observed:
        raise Incomputable("the column is missing")
    values = observed[name]
    if not isinstance(values, np.ndarray) or isinstance(values, np.ma.MaskedArray):
        raise Incomputable(f"values are no array but a {type(values).__name__}")
    if values.ndim != 1:
        raise Incomputable(f"values are {values.dtype} of {values.ndim} dimensions")
    if len(values) != rows:
        raise Incomputable(f"{len(values)} values for {rows} rows")
    if not isinstance(column, Number):
        return values
    if values.dtype.kind not in "fiub":
        raise Incomputable(f"values are no numbers but {values.dtype}")
    with np.errstate(over="ignore"):  # a longer float becomes infinite, which is a fault of its own
        return np.asarray(values, dtype=np.float64)


def comparable(column: Column, values: np.ndarray) -> None:
    """Refuse what no window could be compared with: levels that are no text, and numbers of which none is finite.

    Raises: Incomputable.
    """
    if isinstance(column, Number) and not np.isfinite(values).any() and not np.isnan(values).all():
        raise Incomputable("has no finite value")
    if isinstance(column, Category):
        for level in level_counts(values):
            if level is not None and not isinstance(level, str) and level == level:  # noqa: PLR0124 - NaN
                raise Incomputable(f"holds {printable(level)}, which is a {type(level).__name__} and no text")
