"""Many packed rows at once: the columns of a stretch of the log, without a Python object for each value.

A packed row without a backslash is a line of CSV, but for its brackets: JSON escapes whatever CSV would stumble over.
Arrow reads such lines some five times as fast; what it can't hold is read row by row, with the same result.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from data.packing import array_columns, scalar_names, unpack_arrays, unpack_rows
from data.schema import Number, Rows, Schema

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 1_000  # rows under which reading one by one is over before Arrow is imported
BLOCK = 1 << 20  # bytes that one thread reads at once


def unpack_features(schema: Schema, packed: Sequence[bytes]) -> Rows:
    """Return the features of the rows that were packed, in order: those columns of what `unpack_rows` returns.

    Raises: Corrupt for bytes that this schema did not pack.
    """
    found = unpack_lines(schema, packed) if len(packed) >= FEW else None
    if found is None:
        found = unpack_rows(schema, packed)
    return {name: found[name] for name in schema.features}


def unpack_lines(schema: Schema, packed: Sequence[bytes]) -> Rows | None:
    """Return the features of at least one packed row; None where the rows are no lines of CSV, or corrupt."""
    size = sum(column.nbytes for column in array_columns(schema).values())
    heads: Sequence[bytes] = packed
    if size:
        heads = [row[: -size - 1] for row in packed]
        if any(row[len(head) : len(head) + 1] != b"\0" for row, head in zip(packed, heads, strict=True)):
            return None
    text = b"\n".join(heads)
    between = text.count(b"]\n[")
    if text[:1] != b"[" or text[-1:] != b"]" or between != len(packed) - 1 or b"\\" in text or b"\0" in text:
        return None
    scalars = read_lines(schema, text[1:-1].replace(b"]\n[", b"\n"), len(packed))
    if scalars is None:
        return None
    return {**scalars, **unpack_arrays(schema, [row[len(row) - size :] for row in packed] if size else [])}


def read_lines(schema: Schema, text: bytes, rows: int) -> Rows | None:
    """Return the features that are no arrays of lines of CSV; None where Arrow finds something else in them."""
    import pyarrow as pa
    from pyarrow import csv

    numbers = {name for name, column in schema.features.items() if isinstance(column, Number)}
    names = [name for name in scalar_names(schema) if name in schema.features]
    texts = [name for name in scalar_names(schema) if name not in numbers and name != schema.time]
    if not names:
        return {}
    try:
        table = csv.read_csv(
            pa.py_buffer(text),
            csv.ReadOptions(column_names=scalar_names(schema), block_size=max(BLOCK, 4 * len(text) // rows)),
            csv.ParseOptions(double_quote=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types={
                    name: pa.float64() if name in numbers else pa.dictionary(pa.int32(), pa.string()) for name in names
                },
                include_columns=names,
                null_values=["null"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    said = sum(rows - table.column(name).null_count if name in names else rows for name in texts)
    if len(table) != rows or text.count(b'"') != 2 * said:  # so each text was one, and nothing else
        return None
    found = {name: (floats if name in numbers else objects)(table.column(name)) for name in names}
    known = {name: rows - table.column(name).null_count for name in numbers}
    return found if all(np.isfinite(found[name]).sum() == known[name] for name in numbers) else None


def floats(column: "pa.ChunkedArray") -> np.ndarray:
    """Return float64 (N,), NaN where null."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def objects(column: "pa.ChunkedArray") -> np.ndarray:
    """Return the texts of a dictionary, (N,) objects, None where null; equal ones are one object a chunk."""
    parts = [np.empty(0, dtype=object)]
    for chunk in column.chunks:
        levels = np.array([*chunk.dictionary.to_pylist(), None], dtype=object)
        parts.append(levels[chunk.indices.fill_null(-1).to_numpy()])
    return np.concatenate(parts)
