"""Rows in bulk as an Arrow stream, with the refusals that rows in JSON get.

Whole columns are looked at; the first row that does not fit is then read as if it had come as JSON. This module is
imported by the first such request, since pyarrow costs 30 MB.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from data.errors import BadRow
from data.schema import Audio, Column, Image, Number, Rows, Series
from monitoring.store.journal import Logged
from serving.arrow_columns import Cells, numbers, pictures, texts, times
from serving.arrow_messages import is_compressed
from serving.refusals import Refused
from serving.replies import tried_by
from serving.validation import ReadColumns, RowReader, new_id, objects, refuse_duplicates
from serving.values import Check, Unfit, identifier

pa.set_memory_pool(pa.system_memory_pool())  # the others keep what they freed
NO_STREAM = (pa.ArrowException, OSError, ValueError)


def read_columns(reader: RowReader, body: bytes, limit: int) -> ReadColumns:
    """Return every row of an Arrow stream validated, or refuse them all.

    Raises: Refused 400 or 415 for what is no such stream; BadRow, naming the first value that does not fit.
    """
    table = table_of(body, limit)
    schema = reader.schema
    cells = {name: cells_of(reader, name, array) for name, array in table.items()}
    complete = all(name in cells for name in schema.features)
    if not complete or any(name not in schema.features and name not in reader.aliases for name in cells):
        refuse(reader, cells, 0)
    count = len(next(iter(cells.values())).values)
    known = identifiers(reader, cells)
    bad = np.zeros(count, bool)
    for one in cells.values():
        bad |= one.bad
    for role, first in known.items():
        for name in (name for name, given in reader.aliases.items() if given == role and name in cells):
            bad |= cells[name].values != first.values
    if bad.any():
        refuse(reader, cells, int(bad.argmax()))
    ids = [new_id() for _ in range(count)] if "key" not in known else known["key"].values.tolist()
    refuse_duplicates(ids, "rows", "id")
    return assembled(reader, cells, known, ids)


def assembled(reader: RowReader, cells: Mapping[str, Cells], known: Mapping[str, Cells], ids: list[str]) -> ReadColumns:
    """Return validated cells as the columns that a predictor takes."""
    schema = reader.schema
    columns: Rows = {schema.key: objects(ids)}
    if schema.entity is not None and schema.entity != schema.key:
        columns[schema.entity] = known["entity"].values if "entity" in known else objects(ids)
    moments: list[Any] = [None] * len(ids)
    if schema.time is not None:
        columns[schema.time] = np.full(len(ids), "NaT", "datetime64[us]")
    if schema.time is not None and "time" in known:
        moments = known["time"].values.tolist()
        columns[schema.time] = np.array([at.replace(tzinfo=None) for at in moments], "datetime64[us]")
    columns |= {name: cells[name].values for name in schema.features}
    return ReadColumns(ids, moments, columns, "key" in known)


def identifiers(reader: RowReader, cells: Mapping[str, Cells]) -> dict[str, Cells]:
    """Return, by role, the first column that gives it."""
    known: dict[str, Cells] = {}
    for name, one in cells.items():
        if name in reader.aliases:
            known.setdefault(reader.aliases[name], one)
    return known


def cells_of(reader: RowReader, name: str, array: Any) -> Cells:
    """Return a column as the log keeps it, with what does not fit marked."""
    column: Column | None = reader.schema.features.get(name)
    if column is None and name not in reader.aliases:
        return Cells(np.zeros(len(array)), np.ones(len(array), bool), lambda _: None)
    check = identifier if column is None else dict(reader.checks)[name]
    match column:
        case Number():
            return numbers(name, column, array)
        case Image():
            return pictures(name, column, array)
        case Audio() | Series():
            return each(column, check, array)
        case None if reader.aliases[name] == "time":
            return times(name, array)
        case _:
            return texts(name, array, lambda value: fits(check, value))


def each(column: Audio | Series, check: Check, array: Any) -> Cells:
    """Read clips, WAV files as they are or in base64, or series as lists, value by value as JSON has them."""
    plain = [base64.b64encode(one).decode() if isinstance(one, bytes) else one for one in array.to_pylist()]
    values = np.zeros((len(plain), *column.shape), column.dtype)
    bad = np.zeros(len(plain), bool)
    for at, value in enumerate(plain):
        try:
            values[at] = check(value)
        except Unfit:
            bad[at] = True
    return Cells(values, bad, plain.__getitem__)


def fits(check: Any, value: Any) -> bool:
    """Whether a check lets a value through."""
    try:
        check(value)
    except Unfit:
        return False
    return True


def refuse(reader: RowReader, cells: Mapping[str, Cells], row: int) -> None:
    """Refuse a row for what JSON would have refused it for.

    Raises: BadRow.
    """
    where = f"rows[{row}]"
    reader.read_row({name: one.plain(row) for name, one in cells.items()}, where)
    raise BadRow(where, "a value does not fit its column")


def table_of(body: bytes, limit: int) -> dict[str, Any]:
    """Return the columns of a whole stream, each as one array.

    Raises: Refused 400 or 415; BadRow for too few or too many rows.
    """
    try:
        table = pa.Table.from_batches(batches_of(body, limit)).unify_dictionaries().combine_chunks()
    except NO_STREAM as error:
        raise Refused(400, f"not an Arrow stream: {(str(error).splitlines() or [''])[0][:200]}", "body") from error
    if len(set(table.column_names)) < table.num_columns:
        raise Refused(422, "a column's name stands for two columns", "rows")
    if not table.num_columns:
        raise BadRow("rows[0]", "columns expected")
    return {name: table.column(place).chunk(0) for place, name in enumerate(table.column_names)}


def batches_of(body: bytes, limit: int) -> list[Any]:
    """Return a stream's batches, checked to the last offset: nothing in them is trusted before.

    Raises: Refused 415 for compressed buffers, which may grow without bound; BadRow for too few or too many rows.
    """
    source = pa.py_buffer(body)
    for message in pa.ipc.MessageReader.open_stream(source):
        if is_compressed(message.metadata.to_pybytes()):
            raise Refused(415, "compressed Arrow buffers are not read", "body")
    batches = list(pa.ipc.open_stream(source))
    rows = sum(batch.num_rows for batch in batches)
    if not rows:
        raise BadRow("rows", "a list of at least one row expected")
    if rows > limit:
        raise BadRow("rows", f"{rows} rows; at most {limit} a request")
    for batch in batches:
        batch.validate(full=True)
    return batches


def answer_stream(project: str, generation: int, version: str, rows: list[Logged]) -> bytes:
    """Return an answer as an Arrow stream: a row each, as in JSON, with the generation that answered it.

    Where a trial goes on, `trial` and `version` are those of the rows that its version answered, and null elsewhere.

    Project, generation and version are in the schema's metadata.
    """
    told = [{"id": row.id, **orjson.loads(row.output), "generation": row.generation, **tried_by(row)} for row in rows]
    if any(row.trial for row in rows):
        told[0] = {**told[0], "version": told[0].get("version"), "trial": told[0].get("trial")}
    table = pa.Table.from_pylist(told)
    about = {"project": project, "generation": f"{generation}", "version": version}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata(about)) as stream:
        stream.write_table(table.replace_schema_metadata(about))
    made: bytes = sink.getvalue().to_pybytes()
    return made
