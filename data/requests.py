"""Rows to be answered, from a frame: typed, without a target, and only those that the service would take."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from data.batches import coerce
from data.schema import FUTURE, LONGEST_ID, Id, Rows, Schema, length, take

if TYPE_CHECKING:
    import pandas as pd


NOTHING: Mapping[str, Collection[str]] = {}


@dataclass(frozen=True)
class Requests:
    """Rows that can be answered, and by position in the frame why the others can't.

    `rows` holds the identifiers and features of the schema; `positions` says where in the frame each row stood.
    """

    rows: Rows
    positions: np.ndarray
    unfit: dict[int, str]


def read_requests(
    frame: "pd.DataFrame", schema: Schema, name: str, learned: Mapping[str, Collection[str]] = NOTHING
) -> Requests:
    """Read the rows of batch `name`; `learned`: the ids that the version knows which is to answer.

    As in the service, a row without an entity is its own and the time may be left out. Without a key column each
    row is keyed by the batch, the whole frame's content and its own, so that the same file gives the same keys in any
    order of its rows, and tomorrow's file of this name gives others.

    Raises: SchemaMismatch.
    """
    frame = frame.reset_index(drop=True)
    if schema.key not in frame.columns:
        frame = frame.assign(**{schema.key: content_keys(frame, schema, name)})
    given = [column for column in schema.identifiers if column in frame.columns]
    typed, misfits = coerce(frame, schema, [*given, *schema.features])
    unfit = dict(misfits)
    positions = np.setdiff1d(np.arange(len(frame)), list(unfit))
    rows = with_identifiers(typed, schema)
    found = objections(rows, schema, learned)
    unfit |= {int(positions[at]): why for at, why in found.items()}
    good = np.setdiff1d(np.arange(length(rows)), list(found))
    return Requests(take(rows, good), positions[good], unfit)


def content_keys(frame: "pd.DataFrame", schema: Schema, name: str) -> list[str]:
    """Return a key a row, from the batch's name, the frame's content and the row's; equal rows are numbered."""
    known = [*schema.features, *(column for column in schema.identifiers if column != schema.key)]
    columns = [frame[column].tolist() for column in known if column in frame.columns]
    digests = [
        hashlib.sha256(repr([plainly(value) for value in values]).encode()).hexdigest()[:24]
        for values in zip(*columns, strict=True)
    ]
    whole = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:12]
    seen: dict[str, int] = {}
    keys = []
    for digest in digests:
        seen[digest] = seen.get(digest, -1) + 1
        keys.append(f"{name}-{whole}-{digest}" + (f"-{seen[digest]}" if seen[digest] else ""))
    return keys or [""] * len(frame)


def plainly(value: Any) -> Any:
    """Return nested arrays as lists, which `repr` writes whole."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def with_identifiers(rows: Rows, schema: Schema) -> Rows:
    """Fill in the identifiers that were left out, in the schema's order."""
    made: Rows = {schema.key: rows[schema.key]}
    if schema.entity is not None and schema.entity != schema.key:
        entities = rows.get(schema.entity, rows[schema.key]).copy()
        absent = np.array([not entity for entity in entities], dtype=bool)
        entities[absent] = rows[schema.key][absent]
        made[schema.entity] = entities
    if schema.time is not None:
        never = np.full(length(rows), "NaT", dtype="datetime64[us]")
        made[schema.time] = rows.get(schema.time, never)
    return {**made, **{name: rows[name] for name in schema.features}}


def objections(rows: Rows, schema: Schema, learned: Mapping[str, Collection[str]] = NOTHING) -> dict[int, str]:
    """Return by position why a typed row would be refused by the service; the first reason of each."""
    found: dict[int, str] = {}

    def object_to(bad: np.ndarray, why: str) -> None:
        for at in np.flatnonzero(bad).tolist():
            found.setdefault(at, why)

    keys = rows[schema.key].tolist()
    _, first = np.unique(np.array(keys, dtype=object).astype(str), return_index=True)
    repeated = np.ones(len(keys), dtype=bool)
    repeated[first] = False
    object_to(repeated, f"{schema.key}: an earlier row has this key too")
    object_to(
        np.array([not (key.isprintable() and len(key) <= LONGEST_ID) for key in keys], dtype=bool),
        f"{schema.key}: 1 to {LONGEST_ID} printable characters expected",
    )
    if schema.time is not None:
        limit = np.datetime64((datetime.now(UTC) + FUTURE).replace(tzinfo=None), "us")
        object_to(rows[schema.time] > limit, f"{schema.time}: lies in the future")
    for name, column in schema.features.items():
        for bad, why in column.objections(rows[name]):
            object_to(bad, f"{name}: {why}")
        if isinstance(column, Id) and column.unknown == "refuse" and name in learned:
            known = frozenset(learned[name])
            new = np.array([value not in known for value in rows[name].tolist()], dtype=bool)
            object_to(new, f"{name}: was never learned")
    return found
