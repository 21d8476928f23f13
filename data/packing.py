"""One row as bytes and back, exactly: how the prediction log keeps what was asked. Needs numpy and orjson only.

A packed row is a JSON list of the identifiers and of the features that are no arrays, in the schema's order,
then for rows with arrays (pictures, clips, series) a NUL byte, which JSON text can't hold, and each array's bytes.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from data.errors import BadRow, Corrupt
from data.schema import ArrayColumn, Number, Rows, Schema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pack_row(schema: Schema, rows: Rows, i: int) -> bytes:
    """Pack row `i` of `rows`.

    Raises: BadRow for an infinite number or text that is not Unicode.
    """
    one = {name: rows[name][i : i + 1] for name in packed_names(schema)}
    return pack_all(schema, one)[0]


def pack_all(schema: Schema, rows: Rows) -> list[bytes]:
    """Pack every row; the target, if there, is left out.

    Raises: BadRow for an infinite number or text that is not Unicode.
    """
    arrays = [np.ascontiguousarray(rows[name], column.dtype) for name, column in array_columns(schema).items()]
    columns = [plain_values(schema, name, rows[name]) for name in scalar_names(schema)]
    packed = []
    for i, values in enumerate(zip(*columns, strict=True)):
        try:
            text = orjson.dumps(values)
        except TypeError as error:
            raise BadRow(f"rows[{i}]", str(error)) from error
        packed.append(text + b"\0" + b"".join(array[i].tobytes() for array in arrays) if arrays else text)
    return packed


class ListPacker:
    """Packs rows given as lists of values, a few at a time, to the same bytes as `pack_all`."""

    def __init__(self, schema: Schema) -> None:
        names = list(schema.features)
        self.arrays = [place for place, name in enumerate(names) if isinstance(schema.columns[name], ArrayColumn)]
        self.scalars = [place for place, name in enumerate(names) if place not in self.arrays]
        self.entity = schema.entity is not None and schema.entity != schema.key
        self.time = schema.time is not None

    def pack(self, key: str, entity: str, time: datetime | None, values: list[Any]) -> bytes:
        """Pack one row: its identifiers, `time` aware, and the values of its features in order, NaN where null.

        Raises: BadRow for text that is not Unicode.
        """
        head: list[Any] = [key]
        if self.entity:
            head.append(entity)
        if self.time:
            head.append(None if time is None else microseconds(time))
        try:
            if not self.arrays:
                return orjson.dumps(head + values)  # orjson writes NaN as null
            text = orjson.dumps(head + [values[place] for place in self.scalars])
        except TypeError as error:
            raise BadRow("rows", str(error)) from error
        return text + b"\0" + b"".join([values[place].tobytes() for place in self.arrays])


def microseconds(time: datetime) -> int:
    """Return an aware time as microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def unpack_rows(schema: Schema, packed: Sequence[bytes]) -> Rows:
    """Return the rows that were packed, in order, without the target.

    Raises: Corrupt for bytes that this schema did not pack.
    """
    names = scalar_names(schema)
    parts = [row.partition(b"\0") for row in packed]
    try:
        values = [orjson.loads(head) for head, _, _ in parts]
    except orjson.JSONDecodeError as error:
        raise Corrupt("a packed row", "JSON", str(error)) from error
    for row in values:
        if not isinstance(row, list) or len(row) != len(names):
            raise Corrupt("a packed row", f"{len(names)} values", f"{row!r}")
    rows = {name: typed_values(schema, name, [row[j] for row in values]) for j, name in enumerate(names)}
    return {**rows, **unpack_arrays(schema, [tail for _, _, tail in parts])}


def unpack_arrays(schema: Schema, tails: Sequence[bytes]) -> Rows:
    """Cut each row's bytes into its arrays."""
    rows: Rows = {}
    start = 0
    columns = array_columns(schema)
    size = sum(column.nbytes for column in columns.values())
    for tail in tails:
        if len(tail) != size:
            raise Corrupt("a packed row", f"{size} bytes of arrays", f"{len(tail)}")
    for name, column in columns.items():
        end = start + column.nbytes
        rows[name] = column.from_bytes([tail[start:end] for tail in tails])
        start = end
    return rows


def row_hash(packed: bytes) -> str:
    """Return the sha256 of a packed row, in hex."""
    return hashlib.sha256(packed).hexdigest()


def plain_values(schema: Schema, name: str, values: np.ndarray) -> list[float | str | int | None]:
    """Turn one column into what JSON can hold exactly; null is None."""
    if name == schema.time:
        moments = values.astype("datetime64[us]")
        known = ~np.isnat(moments)
        return [int(at) if ok else None for at, ok in zip(moments.astype(np.int64).tolist(), known, strict=True)]
    if isinstance(schema.columns.get(name), Number):
        if np.isinf(values).any():
            raise BadRow(f"rows[{int(np.flatnonzero(np.isinf(values))[0])}].{name}", "a number must be finite")
        return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 (NaN)
    return list(values.tolist())


def typed_values(schema: Schema, name: str, values: list[float | str | int | None]) -> np.ndarray:
    """Undo `plain_values`."""
    if name == schema.time:
        return np.array(["NaT" if at is None else at for at in values], dtype="datetime64[us]")
    if isinstance(schema.columns.get(name), Number):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def packed_names(schema: Schema) -> tuple[str, ...]:
    """Every column that is packed."""
    return (*schema.identifiers, *schema.features)


def scalar_names(schema: Schema) -> list[str]:
    """Identifiers and features that are no arrays, in the order they are packed."""
    return [name for name in packed_names(schema) if not isinstance(schema.columns.get(name), ArrayColumn)]


def array_columns(schema: Schema) -> dict[str, ArrayColumn]:
    """Features that are arrays, in the order they are packed."""
    return {name: column for name, column in schema.features.items() if isinstance(column, ArrayColumn)}
