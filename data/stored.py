"""Rows that stay in a Parquet file, of which some row groups at a time are in memory."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data.batches import DIGEST, arrow_column, columns_of, missing_of, proof, proven, rows_in_group
from data.errors import Corrupt
from data.schema import Rows, Schema, concatenate, length, row_bytes, take


class Stored:
    """The rows of a file that `write_batch` wrote, by their place in it.

    `starts` (groups + 1,): the place of each row group's first row, and the number of rows.
    """

    def __init__(self, path: Path, schema: Schema, *, partly: bool = False) -> None:
        """Read the file's own description; `partly` as in `read_batch`.

        Raises: Corrupt, WrittenBefore.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path, self.schema = path, schema
        try:
            self.file = pq.ParquetFile(path, page_checksum_verification=True)
            self.recorded = proven((self.file.schema_arrow.metadata or {}).get(DIGEST, b""))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Corrupt(path.name, "a batch", " ".join(str(error).split())) from error
        self.missing = missing_of(path, schema, self.recorded, partly=partly)
        about = self.file.metadata
        counts = [about.row_group(at).num_rows for at in range(about.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def rows(self) -> int:
        """Count the rows."""
        return int(self.starts[-1])

    @property
    def groups(self) -> int:
        """Count the row groups."""
        return len(self.starts) - 1

    @property
    def bytes(self) -> int:
        """Bytes of all rows once they are read, about."""
        return self.rows * row_bytes(self.schema)

    @property
    def group_bytes(self) -> int:
        """Bytes of the largest row group once it is read, about."""
        return int(np.diff(self.starts).max(initial=1)) * row_bytes(self.schema)

    @property
    def sha256(self) -> str:
        """Hash of what the file says it holds."""
        return hashlib.sha256(orjson.dumps(self.recorded, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def read(self, groups: Sequence[int], names: Sequence[str] | None = None) -> Rows:
        """Read row groups, in the order given.

        Raises: Corrupt.
        """
        import pyarrow as pa

        names, parts = self.schema.names if names is None else names, []
        held = [name for name in names if name not in self.missing]
        try:
            for group in groups:
                table = self.file.read_row_group(group, columns=held, use_threads=False)
                parts.append(columns_of(table, self.schema, names, self.missing))
            if not parts:
                parts = [columns_of(self.file.schema_arrow.empty_table(), self.schema, names, self.missing)]
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise Corrupt(self.path.name, "a batch", " ".join(str(error).split())) from error
        return concatenate(parts)

    def take(self, places: np.ndarray) -> Rows:
        """Read rows by their places (N,), ascending, a row group at a time.

        Raises: Corrupt.
        """
        bounds = np.searchsorted(places, self.starts)
        touched = [(at, slice(bounds[at], bounds[at + 1])) for at in np.flatnonzero(np.diff(bounds)).tolist()]
        parts = ((of, take(self.read([at]), places[of] - self.starts[at])) for at, of in touched)
        return assembled(len(places), parts if touched else [(slice(0), self.read([]))])

    def column(self, name: str) -> np.ndarray:
        """Read one column whole."""
        return self.read(range(self.groups), [name])[name]

    def pieces(self) -> Iterator[Rows]:
        """Yield all rows, a row group at a time."""
        for group in range(self.groups):
            yield self.read([group])

    def check(self) -> None:
        """Read everything once, and prove that it is what was written.

        Raises: Corrupt.
        """
        proof = Proof(self.schema, self.rows)
        for piece in self.pieces():
            proof.add(piece)
        for name, found in proof.digests().items():
            if name not in self.missing and self.recorded[name] != found:
                raise Corrupt(f"{name} in {self.path.name}", self.recorded[name], found)


def write_pieces(path: Path, pieces: Iterable[Rows], rows: int, schema: Schema) -> dict[str, str]:
    """Write rows that come piece by piece as `write_batch` does all at once; return the hash of each column.

    `rows`: how many will have come.

    Raises: ValueError when others come, or no piece.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    known, half, rest = Proof(schema, rows), path.with_name(f".{path.name}.tmp"), iter(pieces)
    first = next(rest, None)
    if first is None:
        raise ValueError("no rows came")

    def table(piece: Rows) -> pa.Table:
        return pa.table({name: arrow_column(schema, name, piece[name]) for name in schema.names})

    given = {"compression": "zstd", "write_page_checksum": True, "store_schema": False}  # it would hide the proof
    with half.open("wb") as file:
        with pq.ParquetWriter(file, table(first).schema, **given) as writer:
            for piece in chain([first], rest):
                known.add(piece)
                writer.write_table(table(piece), row_group_size=rows_in_group(schema))
            writer.add_key_value_metadata({DIGEST: proof(known.digests())})
        file.flush()
        os.fsync(file.fileno())
    if known.seen != rows:
        half.unlink()
        raise ValueError(f"{known.seen} rows came, {rows} were announced")
    half.replace(path)
    return known.digests()


def assembled(rows: int, parts: Iterable[tuple[Any, Rows]]) -> Rows:
    """Put parts, of so many rows together, to their positions, so that no second copy of them all is in memory."""
    found: Rows = {}
    for where, part in parts:
        for name, values in part.items():
            if name not in found:
                found[name] = np.empty((rows, *values.shape[1:]), values.dtype)
            found[name][where] = values
    return found


class Proof:
    """The hashes that `data.batches.digests` gives of whole columns, from their rows piece by piece."""

    def __init__(self, schema: Schema, rows: int) -> None:
        self.schema, self.rows = schema, rows
        self.hashes = {name: hashlib.sha256() for name in schema.names}
        self.seen = 0
        self.begun = False
        self.texts: set[str] = set()

    def add(self, piece: Rows) -> None:
        """Go on with the next rows."""
        for name, digest in self.hashes.items():
            values = piece[name]
            if not self.begun:
                digest.update(f"{(self.rows, *values.shape[1:])}\0".encode())
                digest.update(b"[" if values.dtype == object else b"")
            if values.dtype == object:
                self.texts.add(name)
                digest.update((b"," if self.seen and len(values) else b"") + orjson.dumps(values.tolist())[1:-1])
            elif values.dtype.kind == "f":
                digest.update(np.where(np.isnan(values), np.nan, values).tobytes())
            else:
                digest.update(np.ascontiguousarray(values).tobytes())
        self.begun = True
        self.seen += length(piece)

    def digests(self) -> dict[str, str]:
        """Return the hashes, in hex, once all rows have been added."""
        found = {}
        for name, digest in self.hashes.items():
            whole = digest.copy()
            if name in self.texts:
                whole.update(b"]")
            found[name] = whole.hexdigest()
        return found
