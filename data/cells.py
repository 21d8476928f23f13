"""Turn one column's cells, as strangers wrote them, into typed values; whatever can't be meant gets a reason."""

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from data.schema import Image, Number

if TYPE_CHECKING:
    import pandas as pd

Misfits = dict[int, str]
"""Position in the frame -> why the cell can't be what the schema says."""


def numbers(cells: "pd.Series[Any]", column: Number) -> tuple[np.ndarray, Misfits]:
    """Type a Number: float64, NaN where null. Text that spells a number is one; a bool is not."""
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
    if column.integer:
        for i in np.flatnonzero(np.isfinite(values) & (values != np.floor(values))).tolist():
            bad[i] = f"{shown(values[i].item())} is not a whole number"
    return values, bad


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


def texts(cells: "pd.Series[Any]", levels: tuple[str, ...]) -> tuple[np.ndarray, Misfits]:
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


def times(cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
    """Type a time: datetime64[us] in UTC, NaT where null. Text must be ISO 8601; without an offset it is UTC."""
    import pandas as pd

    if cells.dtype.kind == "M":
        moments = pd.to_datetime(cells, utc=True)
        return moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), {}
    fit = np.array([isinstance(cell, (str, dt.date, np.datetime64)) and cell != "" for cell in cells], dtype=bool)
    null = np.array([is_null(cell) or cell == "" for cell in cells], dtype=bool)
    read = pd.to_datetime(cells.where(fit & ~null), utc=True, errors="coerce", format="ISO8601")
    values = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    unread = np.flatnonzero(np.isnat(values) & ~null).tolist()
    return values, {i: f"{shown(cells.iloc[i])} is not an ISO 8601 time" for i in unread}


def pictures(cells: "pd.Series[Any]", column: Image) -> tuple[np.ndarray, Misfits]:
    """Type an Image: uint8 (N, H, W[, C]). A cell is an array, nested lists (or their JSON), or the pixels as bytes."""
    values = np.zeros((len(cells), *column.shape), dtype=np.uint8)
    bad: Misfits = {}
    for i, cell in enumerate(cells):
        try:
            values[i] = picture(cell, column)
        except ValueError as error:
            bad[i] = str(error)
    return values, bad


def picture(cell: object, column: Image) -> np.ndarray:
    """Read one cell as a picture; else ValueError, saying why."""
    if isinstance(cell, str):
        try:
            cell = orjson.loads(cell)
        except orjson.JSONDecodeError:
            raise ValueError("is not a picture") from None
    if isinstance(cell, bytes):
        cell = np.frombuffer(cell, np.uint8)
    if not isinstance(cell, (np.ndarray, list, tuple)):
        raise ValueError("is not a picture")  # noqa: TRY004 (callers catch one error)
    try:
        array = np.asarray(plain(cell))
    except ValueError:
        raise ValueError("its lines differ in length") from None
    if array.dtype.kind not in "iuf":
        raise ValueError("its pixels are not numbers")
    if array.shape != column.shape:
        if array.ndim != 1 or array.size != math.prod(column.shape):
            raise ValueError(f"its shape is {array.shape}, not {column.shape}")
        array = array.reshape(column.shape)
    if not ((array >= 0) & (array <= column.high) & (array == np.floor(array))).all():
        raise ValueError(f"its pixels are not whole numbers from 0 to {column.high}")
    return array.astype(np.uint8)


def plain(cell: Any) -> Any:
    """Open arrays of arrays, as Arrow gives nested lists."""
    if isinstance(cell, np.ndarray) and cell.dtype != object:
        return cell
    if isinstance(cell, (np.ndarray, list, tuple)):
        return [plain(part) for part in cell]
    return cell


def is_null(cell: object) -> bool:
    """Tell None, NaN, NaT and pandas' NA from everything else."""
    import pandas as pd

    return (
        cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, (float, np.floating)) and math.isnan(cell))
    )


def encodable(text: str) -> bool:
    """Tell whether text has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(cell: object) -> str:
    """Show a stranger's value, shortened and in ASCII."""
    text = ascii(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
