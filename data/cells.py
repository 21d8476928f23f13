"""A frame's cells, as strangers wrote them: whether they are null or text, what time they say, how they are shown."""

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def times(cells: "pd.Series[Any]") -> tuple[np.ndarray, dict[int, str]]:
    """Type a time: datetime64[us] in UTC, NaT where null. Text must be ISO 8601; without an offset it is UTC.

    What can't be a time gets a reason, by its position.
    """
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
