"""What kinds of columns have in common. Needs numpy only."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import orjson

if TYPE_CHECKING:
    import pandas as pd

Rows = dict[str, np.ndarray]
"""Columns of equal length N, by name: a Number is float64 (NaN where null); a Category, the key and the
entity are object arrays of str (None where null), a Text one of str; an Image is uint8 (N, H, W) or, with several
channels, (N, H, W, C); an Audio is int16 (N, samples); a Series is float64 (N, length, channels), NaN in a gap; the
time is datetime64[us] in UTC."""

Misfits = dict[int, str]
"""Position in the frame -> why the cell can't be what the schema says."""

Objections = list[tuple[np.ndarray, str]]
"""Masks (N,) of what a column doesn't take, each with its reason."""


class ArrayColumn:
    """A kind whose value in a row is an array of one shape and type, kept as its bytes."""

    dtype: ClassVar[type[np.generic]]
    noun: ClassVar[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row's value."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Size of one row's value."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def read(self, cell: object) -> np.ndarray:
        """Read one cell; else ValueError, saying why."""
        raise NotImplementedError

    def typed(self, cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
        """Type a column's cells (N, *shape); zeros stand where there is no value."""
        return each(cells, self.read, np.zeros((len(cells), *self.shape), self.dtype))

    def to_cells(self, values: np.ndarray) -> Any:
        """Return the values as a frame holds them."""
        return list(values)

    def to_request(self, values: np.ndarray) -> list[Any]:
        """Return the values as a request in JSON gives them."""
        return list(values.tolist())

    def to_arrow(self, values: np.ndarray) -> Any:
        """Return the values as Arrow's bytes of one size."""
        import pyarrow as pa

        return pa.array([value.tobytes() for value in values], type=pa.binary(self.nbytes))

    def from_arrow(self, column: Any) -> np.ndarray:
        """Undo `to_arrow`."""
        return self.from_bytes(column.to_pylist())

    def from_bytes(self, parts: list[bytes]) -> np.ndarray:
        """Join the bytes of N values to an array (N, *shape)."""
        return np.frombuffer(b"".join(parts), self.dtype).reshape(len(parts), *self.shape).copy()

    def unlike(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Tell, row by row (N,), whether the values differ."""
        same = (one == other) | ((one != one) & (other != other))  # noqa: PLR0124 (NaN is like NaN)
        return np.asarray(~same.reshape(len(one), -1).all(axis=1))


def each(cells: "pd.Series[Any]", read: Callable[[object], Any], values: np.ndarray) -> tuple[np.ndarray, Misfits]:
    """Fill `values` (N, …) with what `read` makes of each cell; why it could not is kept by position."""
    bad: Misfits = {}
    for i, cell in enumerate(cells):
        try:
            values[i] = read(cell)
        except ValueError as error:
            bad[i] = str(error)
    return values, bad


def opened(cell: object, what: str) -> Any:
    """Return nested lists, or their JSON, or an array; ValueError for anything else.

    `what` names the thing wanted.
    """
    if isinstance(cell, str):
        try:
            cell = orjson.loads(cell)
        except orjson.JSONDecodeError:
            raise ValueError(f"is not {what}") from None
    if not isinstance(cell, (np.ndarray, list, tuple)):
        raise ValueError(f"is not {what}")  # noqa: TRY004 (callers catch one error)
    return plain(cell)


def plain(cell: Any) -> Any:
    """Open arrays of arrays, as Arrow gives nested lists."""
    if isinstance(cell, np.ndarray) and cell.dtype != object:
        return cell
    if isinstance(cell, (np.ndarray, list, tuple)):
        return [plain(part) for part in cell]
    return cell
