"""Arrow arrays as the log's columns: what fits is taken as a whole, what does not is marked row by row."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa

from data.errors import BadRow
from data.packing import EPOCH, microseconds
from data.schema import FUTURE, Image, Number
from serving.validation import objects
from serving.values import Unfit, moment, position

MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
FIRST, LAST = microseconds(datetime.min.replace(tzinfo=UTC)), microseconds(datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True)
class Cells:
    """One column: its values as the log keeps them, where they don't fit, and what JSON would have held in a row."""

    values: np.ndarray
    bad: np.ndarray
    plain: Callable[[int], Any]


def numbers(name: str, column: Number, array: Any) -> Cells:
    """Read whole or floating numbers as float64; NaN stands for null, and is not let in as itself."""
    nulls = nulls_of(array)
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        plain = plainly(name, array, "a number")
        return Cells(np.full(len(array), np.nan), ~nulls if column.nullable else np.ones(len(array), bool), plain)
    values = array.to_numpy(zero_copy_only=False).astype(np.float64)
    low, high = -inf if column.low is None else column.low, inf if column.high is None else column.high
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(values) | (values < low) | (values > high)
        if column.integer:
            bad |= values != np.floor(values)
    return Cells(values, np.where(nulls, not column.nullable, bad), lambda i: array[i].as_py())


def texts(name: str, array: Any, fits: Callable[[Any], bool]) -> Cells:
    """Read text, written out or by a dictionary."""
    kind = array.type
    if pa.types.is_dictionary(kind) and is_text(kind.value_type):
        words = objects([*array.dictionary.to_pylist(), None])  # as few as there are: rows only point to them
        good = np.array([fits(word) for word in words.tolist()], bool)
        codes = array.indices.cast(pa.int64()).fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        values, bad = words[codes], ~good[codes]
        return Cells(values, bad, lambda i: values[i])
    if not is_text(kind):
        plain = plainly(name, array, "text")
        return Cells(objects([None] * len(array)), np.where(nulls_of(array), not fits(None), True), plain)
    found = array.to_pylist()
    return Cells(objects(found), np.array([not fits(value) for value in found], bool), found.__getitem__)


def times(name: str, array: Any) -> Cells:
    """Read times whose type names a zone, or text as JSON has it."""
    if not pa.types.is_timestamp(array.type):
        return written_times(name, array)
    if array.type.tz is None:
        raise BadRow(f"rows[0].{name}", "the column's type names no time zone; make it timestamp[us, tz=UTC]")
    nulls = nulls_of(array)
    ticks = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    unit = MICROSECONDS.get(array.type.unit)
    far = np.zeros(len(array), bool) if unit is None else np.abs(ticks.astype(np.float64)) * unit > float(LAST) * 2
    at = ticks // 1000 if unit is None else np.where(far, LAST + 1, ticks) * np.where(far, 1, unit)
    outside = (at < FIRST) | (at > LAST)
    bad = nulls | outside | (at > microseconds(datetime.now(UTC) + FUTURE))
    values = objects(
        [EPOCH if out else EPOCH + timedelta(microseconds=one) for one, out in zip(at.tolist(), outside, strict=True)]
    )

    def plain(i: int) -> Any:
        if nulls[i]:
            return None
        return f"{at[i]} µs since 1970" if outside[i] else values[i].isoformat()

    return Cells(values, bad, plain)


def written_times(name: str, array: Any) -> Cells:
    """Read times as text."""
    if not is_text(array.type):
        return Cells(objects([EPOCH] * len(array)), np.ones(len(array), bool), plainly(name, array, "a time"))
    found = array.to_pylist()
    values, bad = [], []
    for text in found:
        try:
            values.append(moment(text))
            bad.append(False)
        except Unfit:
            values.append(EPOCH)
            bad.append(True)
    return Cells(objects(values), np.array(bad, bool), found.__getitem__)


def pictures(name: str, column: Image, array: Any) -> Cells:
    """Read pixels: a fixed-size list of uint8, flat or nested, or as many bytes.

    Raises: BadRow for another type, another number of pixels, or a pixel that is null.
    """
    size = int(np.prod(column.shape))
    nulls = nulls_of(array)
    flat = np.zeros((len(array), size), np.uint8)
    if not pa.types.is_null(array.type):
        known = np.flatnonzero(~nulls)
        flat[known] = pixels(name, array, column.shape, known)
    values = flat.reshape(len(array), *column.shape)
    dark = flat.max(axis=1, initial=0) > column.high
    return Cells(values, nulls | dark, lambda i: None if nulls[i] else values[i].tolist())


def pixels(name: str, array: Any, shape: tuple[int, ...], known: np.ndarray) -> np.ndarray:
    """Return the pixels (N, size) of the rows that are not null."""
    kind, size = array.type, int(np.prod(shape))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        parts = [array[i].as_buffer() for i in known.tolist()]
        for i, part in zip(known.tolist(), parts, strict=True):
            if part.size != size:
                raise BadRow(f"rows[{i}].{name}", f"{size} bytes expected, one a pixel, not {part.size}")
        return np.frombuffer(b"".join(parts), np.uint8).reshape(len(known), size)
    depth, inner = 1, array
    while pa.types.is_fixed_size_list(inner.type):
        depth *= inner.type.list_size
        inner = inner.values.slice(inner.offset * inner.type.list_size, len(inner) * inner.type.list_size)
        if depth <= size:
            refuse_holes(name, nulls_of(inner).reshape(len(array), depth)[known], shape, known)
    if inner is array or not pa.types.is_uint8(inner.type) or depth != size:
        wanted = f"a fixed-size list of {size} uint8, or {size} bytes, expected"
        raise BadRow(f"rows[0].{name}", f"{wanted}, not Arrow's {str(kind)[:80]}")
    found: np.ndarray = inner.fill_null(0).to_numpy(zero_copy_only=False).reshape(-1, size)[known]
    return found


def refuse_holes(name: str, holes: np.ndarray, shape: tuple[int, ...], known: np.ndarray) -> None:
    """Refuse a picture in which a pixel, or a row of them, is null.

    Raises: BadRow.
    """
    if holes.any():
        row, place = np.argwhere(holes)[0].tolist()
        within = position(place, shape) if holes.shape[1] == np.prod(shape) else f"[{place}]"
        raise BadRow(f"rows[{known[row]}].{name}{within}", "a whole number expected, not null")


def nulls_of(array: Any) -> np.ndarray:
    """Return where an array is null."""
    if not array.null_count:
        return np.zeros(len(array), bool)
    found: np.ndarray = array.is_null().to_numpy(zero_copy_only=False)
    return found


def is_text(kind: Any) -> bool:
    """Whether a type is text, each value of its own."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def plainly(name: str, array: Any, wanted: str) -> Callable[[int], Any]:
    """Return what gives a row's value in JSON's terms; asked for one that JSON has no word for, it raises BadRow."""
    kind = array.type
    tests = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_null, is_text)
    spoken = any(test(kind) for test in tests)

    def plain(i: int) -> Any:
        value = array[i]
        if value.is_valid and not spoken:
            raise BadRow(f"rows[{i}].{name}", f"{wanted} expected, not Arrow's {str(kind)[:80]}")
        return value.as_py() if value.is_valid else None

    return plain
