"""Rows that failed, as they came, each with its reasons: kept and versioned beside the batches, until released."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from data.cells import encodable, is_null
from data.columns.base import plain
from data.errors import NoBatch, NotQuarantined
from data.versions import DataRegistry

if TYPE_CHECKING:
    import pandas as pd

POSITION, REASONS, RELEASED = "_position", "_reasons", "_released"


@dataclass(frozen=True)
class Entry:
    """The quarantined rows of one batch; `reasons` counts rows by what they failed."""

    batch: str
    rows: int
    released: bool
    reasons: dict[str, int]


def add(registry: DataRegistry, project: str, batch: str, frame: "pd.DataFrame", reasons: dict[int, list[str]]) -> bool:
    """Keep the rows of `frame` at the positions in `reasons`. Returns whether anything changed.

    The same rows again, in any order, change nothing, also after their release; other rows replace them.
    """
    positions = sorted(reasons)
    kept = raw_table(frame.iloc[positions], positions, [reasons[at] for at in positions])
    known = read(registry, project, batch)
    if known is not None and contents(known) == contents(kept):
        return False
    land(registry, project, batch, with_released(kept, released=False))
    return True


def ls(registry: DataRegistry, project: str) -> list[Entry]:
    """Return every batch with quarantined rows, by name."""
    return [entry(name, table) for name, table in sorted(tables(registry, project).items())]


def show(registry: DataRegistry, project: str, batch: str) -> "pd.DataFrame":
    """Return a batch's quarantined rows as they came, with their `_position` and `_reasons`.

    Raises: NotQuarantined.
    """
    found = known_tables(registry, project, batch)[batch]
    frame: pd.DataFrame = found.drop_columns([RELEASED]).to_pandas()
    return frame


def release(registry: DataRegistry, project: str, batch: str) -> bool:
    """Mark a batch's rows as released; they stay on record. Returns whether they weren't already.

    Raises: NotQuarantined.
    """
    found = known_tables(registry, project, batch)[batch]
    if entry(batch, found).released:
        return False
    land(registry, project, batch, with_released(found.drop_columns([RELEASED]), released=True))
    return True


def contents(table: Any) -> list[bytes]:
    """Return each row and its reasons as bytes, sorted: equal for the same rows in any order."""
    plainly = table.drop_columns([name for name in (POSITION, RELEASED) if name in table.column_names])
    return sorted(orjson.dumps(row, default=str) for row in plainly.to_pylist())


def entry(batch: str, table: Any) -> Entry:
    """Sum up one batch's rows."""
    reasons = Counter(reason for found in table.column(REASONS).to_pylist() for reason in set(found))
    released = bool(table.num_rows) and all(table.column(RELEASED).to_pylist())
    return Entry(batch, table.num_rows, released, dict(reasons.most_common()))


def land(registry: DataRegistry, project: str, batch: str, table: Any) -> None:
    """Version one batch's rows."""
    import pyarrow.parquet as pq

    def write(path: Path) -> None:
        pq.write_table(table, path, write_page_checksum=True)

    note = f"{project}: {table.num_rows} rows of {batch} in quarantine"
    registry.land(project, batch, write, table.num_rows, kind="quarantine", note=note)


def tables(registry: DataRegistry, project: str) -> dict[str, Any]:
    """Read every batch's quarantined rows, each file checked against its recorded hash."""
    import pyarrow.parquet as pq

    try:
        snapshot = registry.snapshot(project, kind="quarantine")
    except NoBatch:
        return {}
    with tempfile.TemporaryDirectory(prefix="holdfast-quarantine-") as folder:
        paths = registry.restore(snapshot, Path(folder))
        return {path.stem: pq.read_table(path, partitioning=None) for path in paths}


def read(registry: DataRegistry, project: str, batch: str) -> Any:
    """Return one batch's quarantined rows as a table, None when there are none."""
    return tables(registry, project).get(batch)


def known_tables(registry: DataRegistry, project: str, batch: str) -> dict[str, Any]:
    """Return all tables, `batch` among them; else NotQuarantined."""
    found = tables(registry, project)
    if batch not in found:
        raise NotQuarantined(project, batch, sorted(found))
    return found


def with_released(table: Any, *, released: bool) -> Any:
    """Say of every row whether it was released."""
    import pyarrow as pa

    return table.append_column(RELEASED, pa.array([released] * table.num_rows, pa.bool_()))


def raw_table(frame: "pd.DataFrame", positions: list[int], reasons: list[list[str]]) -> Any:
    """Turn rows of any content into an Arrow table: what Arrow can't type stays as text."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        POSITION: pa.array(positions, pa.int64()),
        REASONS: pa.array([[clean(reason) for reason in found] for found in reasons], pa.list_(pa.string())),
    }
    for j, given in enumerate(frame.columns):
        name = clean(str(given))
        while name in columns or name == RELEASED:
            name += "_"
        columns[name] = raw_column(frame.iloc[:, j])
    return pa.table(columns)


def raw_column(cells: "pd.Series[Any]") -> Any:
    """Turn one column of any content into Arrow's form."""
    import pyarrow as pa

    if cells.dtype != object:
        return pa.array(cells, from_pandas=True)
    values = [None if is_null(cell) else plain_lists(cell) for cell in cells]
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None if value is None else as_text(value) for value in values], pa.string())


def plain_lists(cell: Any) -> Any:
    """Open arrays into lists of Python's numbers."""
    opened = plain(cell)
    if isinstance(opened, list):
        return [plain_lists(part) for part in opened]
    return opened.tolist() if hasattr(opened, "tolist") else opened


def as_text(value: Any) -> str:
    """Spell a value out: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return clean(value)
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return ascii(value)


def clean(text: str) -> str:
    """Spell lone surrogates out, which no file can hold."""
    return text if encodable(text) else ascii(text)
