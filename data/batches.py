"""A batch as typed rows, as a frame and as a Parquet file. pandas and Arrow are met only here and in the sources."""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from data.cells import times
from data.columns.category import objects, words_of
from data.errors import Corrupt, SchemaMismatch, WrittenBefore
from data.packing import pack_all
from data.schema import ArrayColumn, Category, Number, Rows, Schema, length, row_bytes, take
from data.sources import TRAFFIC

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
GROUP = 2**24  # bytes of typed rows in a row group: a few stand in memory together where all don't fit
PIECE = 4096  # rows that are spelled out at a time: as Python's own values they take twenty times the memory
DIGEST = b"holdfast.sha256"  # of each typed column: the file proves its own content, by whichever of them is read


def coerce(
    frame: "pd.DataFrame", schema: Schema, names: Sequence[str] | None = None
) -> tuple[Rows, list[tuple[int, str]]]:
    """Type the rows of `frame`; return the good ones, and (position, reason) of each row that can't be typed.

    `names`: the schema's columns that are wanted, all if left out; every other column is left out.

    Raises: SchemaMismatch.
    """
    names = schema.names if names is None else names
    present = [str(name) for name in frame.columns]
    missing = [name for name in names if present.count(name) == 0]
    doubled = [f"{name}, which is given twice," for name in names if present.count(name) > 1]
    if missing or doubled:
        raise SchemaMismatch(missing + doubled, present)
    extra = sorted(set(present) - set(names))
    if extra:
        log.info("columns left out: %s", ", ".join(extra))
    rows: Rows = {}
    bad: dict[int, str] = {}
    for name in names:
        rows[name], misfits = coerce_column(frame[name], schema, name)
        for position, why in misfits.items():
            bad[position] = f"{bad[position]}; {name}: {why}" if position in bad else f"{name}: {why}"
    good = np.ones(len(frame), dtype=bool)
    good[list(bad)] = False
    return take(rows, good), sorted(bad.items())


def coerce_column(cells: "pd.Series[Any]", schema: Schema, name: str) -> tuple[np.ndarray, dict[int, str]]:
    """Type one column by its role or its declaration."""
    if name == schema.time:
        return times(cells)
    if name in schema.identifiers:
        values, bad = words_of(cells, ())
        if name == schema.key:
            bad.update({i: "a row needs a key" for i, value in enumerate(values) if not value and i not in bad})
        return values, bad
    return schema.columns[name].typed(cells)


def canonical(rows: Rows, schema: Schema) -> Rows:
    """Sort rows by time, key and content, each exact duplicate once: the same rows in any order become equal."""
    content = contents(rows, schema)
    moments = rows[schema.time].astype(np.int64).tolist() if schema.time else [0] * length(rows)
    keys = rows[schema.key].tolist()
    order = sorted(range(length(rows)), key=lambda i: (moments[i], keys[i], content[i]))
    unique = [i for i, before in zip(order, [-1, *order], strict=False) if before < 0 or content[i] != content[before]]
    return take({name: rows[name] for name in schema.names}, np.array(unique, dtype=np.int64))


def contents(rows: Rows, schema: Schema) -> list[bytes]:
    """Return a hash of each row's whole content, target included: equal for equal rows, and 20 times as small."""
    found: list[bytes] = []
    for start in range(0, length(rows), PIECE):
        some = {name: values[start : start + PIECE] for name, values in rows.items()}
        targets = [orjson.dumps(value) for value in some[schema.target].tolist()]
        whole = (row + b"\0" + target for row, target in zip(pack_all(schema, some), targets, strict=True))
        found += [hashlib.blake2b(content, digest_size=16).digest() for content in whole]
    return found


def write_batch(path: Path, rows: Rows, schema: Schema) -> str:
    """Write a whole Parquet file or none, rows in their order, and return its sha256. Equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: arrow_column(schema, name, rows[name]) for name in schema.names}
    table = pa.table(arrays).replace_schema_metadata({DIGEST: proof(digests(rows, schema))})
    half = path.with_name(f".{path.name}.tmp")
    with half.open("wb") as file:
        size = rows_in_group(schema)
        pq.write_table(
            table, file, row_group_size=size, compression="zstd", write_page_checksum=True, store_schema=True
        )
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
    return file_sha256(path)


def rows_in_group(schema: Schema) -> int:
    """Return how many rows to write together, so that a reader of one group needs little memory."""
    return max(1, GROUP // row_bytes(schema))


def read_batch(path: Path, schema: Schema, sha256: str | None = None, *, partly: bool = False) -> Rows:
    """Read what `write_batch` wrote, maybe by an earlier schema: columns in another order, more, or fewer of them.

    What was written before the schema had a column that may be null has nothing there; `partly`: also in others.

    Raises:
        Corrupt: the file isn't the one recorded as `sha256`, isn't whole, or doesn't hold what was written.
        WrittenBefore: it was written before the schema had a column that a row can't be without.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sha256 is not None and file_sha256(path) != sha256:
        raise Corrupt(path.name, sha256, file_sha256(path))
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        recorded = proven((table.schema.metadata or {}).get(DIGEST, b""))
        missing = missing_of(path, schema, recorded, partly=partly)
        rows = columns_of(table, schema, schema.names, missing)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise Corrupt(path.name, "a batch", " ".join(str(error).split())) from error
    for name, found in digests(rows, schema).items():
        if name not in missing and recorded[name] != found:
            raise Corrupt(f"{name} in {path.name}", recorded[name], found)
    return rows


def keys_in(path: Path, schema: Schema) -> list[str]:
    """Return the keys of a batch's rows; none where the schema calls its key otherwise."""
    import pyarrow.parquet as pq

    known = schema.key in pq.read_schema(path).names
    return list(pq.read_table(path, columns=[schema.key]).column(0).to_pylist()) if known else []


def missing_of(path: Path, schema: Schema, recorded: Iterable[str], *, partly: bool) -> frozenset[str]:
    """Return which of the schema's columns a file doesn't hold.

    Raises: WrittenBefore, unless `partly`, for one that a row can't be without.
    """
    missing = frozenset(schema.names) - frozenset(recorded)
    if schema.key in missing or (missing - schema.optional and not partly):
        raise written_before(schema, [path.stem], missing)
    return missing


def written_before(schema: Schema, batches: Sequence[str], missing: frozenset[str]) -> WrittenBefore:
    """Return the error on rows of these batches that count and can't be without some of the missing columns."""
    needed, ways = missing - schema.optional, []
    if schema.key not in needed and not any(batch.startswith(TRAFFIC) for batch in batches):
        ways.append("ingest their rows again with it")
    if all(isinstance(schema.features.get(name), Number | Category) for name in needed):
        ways.append("declare it nullable=True")
    return WrittenBefore(batches, needed, " or ".join(ways) or "only a fresh home is without their rows")


def columns_of(table: Any, schema: Schema, names: Sequence[str], missing: frozenset[str]) -> Rows:
    """Return columns of one of Arrow's tables, with nothing in those that are missing there."""
    count = table.num_rows
    return {
        name: nothing(schema, name, count) if name in missing else numpy_column(schema, name, table.column(name))
        for name in names
    }


def nothing(schema: Schema, name: str, count: int) -> np.ndarray:
    """Return what stands in a column of rows (N,) that were written before the schema had it."""
    column = schema.columns.get(name)
    if name == schema.time:
        return np.full(count, "NaT", dtype="datetime64[us]")
    if isinstance(column, ArrayColumn):
        return np.zeros((count, *column.shape), column.dtype)
    return np.full(count, np.nan) if isinstance(column, Number) else np.full(count, None, dtype=object)


def frame_of(rows: Rows, schema: Schema) -> "pd.DataFrame":
    """Return rows as a frame: the time aware, a picture, a clip or a series an array. `coerce` is the inverse."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in schema.names:
        if name not in rows:
            continue
        if name == schema.time:
            columns[name] = pd.DatetimeIndex(rows[name]).tz_localize("UTC")
        else:
            columns[name] = schema.columns[name].to_cells(rows[name]) if name in schema.columns else rows[name]
    return pd.DataFrame(columns)


def arrow_column(schema: Schema, name: str, values: np.ndarray) -> Any:
    """Turn one column into Arrow's form: null for NaN, an array as its bytes."""
    import pyarrow as pa

    if name == schema.time:
        return pa.array(values.astype("datetime64[us]"), type=pa.timestamp("us", tz="UTC"))
    if name in schema.columns:
        return schema.columns[name].to_arrow(values)
    return pa.array(values.tolist(), type=pa.string())


def numpy_column(schema: Schema, name: str, column: Any) -> np.ndarray:
    """Undo `arrow_column`."""
    import pyarrow as pa

    if name == schema.time:
        moments: np.ndarray = column.cast(pa.timestamp("us")).to_numpy()
        return moments.astype("datetime64[us]")
    if name in schema.columns:
        return schema.columns[name].from_arrow(column)
    return objects(column.cast(pa.string()).to_pylist())


def digests(rows: Rows, schema: Schema) -> dict[str, str]:
    """Hash each typed column, in hex."""
    found = {}
    for name in schema.names:
        values = rows[name]
        if values.dtype == object:
            content = orjson.dumps(values.tolist())
        elif values.dtype.kind == "f":
            content = np.where(np.isnan(values), np.nan, values).tobytes()
        else:
            content = np.ascontiguousarray(values).tobytes()
        found[name] = hashlib.sha256(f"{values.shape}\0".encode() + content).hexdigest()
    return found


def proof(columns: dict[str, str]) -> bytes:
    """Return the columns' hashes as a file carries them, after a hash of their own."""
    text = orjson.dumps(columns)
    return hashlib.sha256(text).hexdigest().encode() + text


def proven(carried: bytes) -> dict[str, str]:
    """Undo `proof`; ValueError where it is not what was written."""
    if hashlib.sha256(carried[64:]).hexdigest().encode() != carried[:64]:
        raise ValueError("the hashes of its columns are not those it was written with")
    return dict(orjson.loads(carried[64:]))


def file_sha256(path: Path) -> str:
    """Hash a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
