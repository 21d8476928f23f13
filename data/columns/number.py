"""Numbers."""

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from data.cells import is_null, shown
from data.columns.base import Misfits, Objections, Rows
from data.declared import declared

if TYPE_CHECKING:
    import pandas as pd

SAME = 1e-5  # of the larger number: float32 on one side


@declared
class Number:
    """A quantity. Bounds are inclusive, in the column's own unit."""

    low: float | None = None
    high: float | None = None
    integer: bool = False
    nullable: bool = False

    def typed(self, cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
        """Type cells as float64, NaN where null. Text that spells a number is one; a bool is not."""
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        bad: Misfits = {}
        if is_numeric_dtype(cells.dtype) and not is_bool_dtype(cells.dtype) and cells.dtype.kind in "iuf":
            values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            values = np.full(len(cells), np.nan)
            for i, cell in enumerate(cells):
                try:
                    values[i] = number(cell)
                except ValueError:
                    bad[i] = f"{shown(cell)} is not a number"
        for i in np.flatnonzero(np.isinf(values)).tolist():
            bad[i] = f"{shown(cells.iloc[i])} is not a finite number"
        if self.integer:
            for i in np.flatnonzero(np.isfinite(values) & (values != np.floor(values))).tolist():
                bad[i] = f"{shown(values[i].item())} is not a whole number"
        return values, bad

    def to_cells(self, values: np.ndarray) -> Any:
        """Return the values as a frame holds them."""
        return values

    def to_request(self, values: np.ndarray) -> list[Any]:
        """Return the values as a request in JSON gives them."""
        return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 (NaN)

    def to_arrow(self, values: np.ndarray) -> Any:
        """Return Arrow's float64, null for NaN."""
        import pyarrow as pa

        return pa.array(values, type=pa.float64(), mask=np.isnan(values))

    def from_arrow(self, column: Any) -> np.ndarray:
        """Undo `to_arrow`."""
        import pyarrow as pa

        values: np.ndarray = column.cast(pa.float64()).to_numpy()
        return values.astype(np.float64)

    def objections(self, values: np.ndarray) -> Objections:
        """Return which values lie outside, and which are missing where they may not be."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        null = np.isnan(values)
        outside = ~null & ~((values >= low) & (values <= high))
        return [(outside, f"outside [{low:g}, {high:g}]"), *([] if self.nullable else [(null, "missing")])]

    def describe(self, name: str, values: np.ndarray) -> Rows:
        """Return the column as it is."""
        return {name: values}

    def described(self, name: str) -> "dict[str, Number]":
        """Return the columns of `describe`."""
        return {name: self}

    def unlike(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Tell, row by row (N,), whether the values differ by more than rounding; null is like null only."""
        one, other = one.astype(float), other.astype(float)
        slack = SAME * np.maximum(np.maximum(np.abs(one), np.abs(other)), 1e-12)
        same = (np.isnan(one) & np.isnan(other)) | (np.abs(one - other) <= slack)
        return np.asarray(~same)

    def words(self) -> str:
        """Say what the column holds."""
        ends = [f"at least {self.low:g}"] if self.low is not None else []
        ends += [f"at most {self.high:g}"] if self.high is not None else []
        said = " ".join(["a whole number" if self.integer else "a number", " and ".join(ends)]).strip()
        return said + (", or nothing" if self.nullable else "")

    def narrowed(self, after: "Number") -> Iterator[str]:
        """Yield which numbers `after` no longer accepts."""
        if bound(after.low, -math.inf) > bound(self.low, -math.inf):
            before = "unbounded" if self.low is None else f"at least {self.low:g}"
            yield f"is at least {after.low:g} and was {before}"
        if bound(after.high, math.inf) < bound(self.high, math.inf):
            before = "unbounded" if self.high is None else f"at most {self.high:g}"
            yield f"is at most {after.high:g} and was {before}"
        if after.integer and not self.integer:
            yield "must be a whole number"
        if self.nullable and not after.nullable:
            yield "may no longer be null"


def number(cell: object) -> float:
    """Read one cell as a number, NaN when null; else ValueError."""
    if is_null(cell):
        return math.nan
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, Decimal, str, np.number)):
        raise ValueError  # noqa: TRY004 (callers catch one error)
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return math.nan
        if "_" in text or text.lower().strip("+-") == "nan":  # float() would take these
            raise ValueError
        return float(text)
    try:
        return float(cell)  # a complex number is a TypeError
    except (OverflowError, TypeError) as error:
        raise ValueError from error


def bound(value: float | None, unbounded: float) -> float:
    """Return a bound as a number."""
    return unbounded if value is None else value
