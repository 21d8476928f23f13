"""Labels as strangers send them, read strictly by the served schema's target."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from data.errors import BadRow, nearest
from data.schema import Schema
from monitoring.records import Label
from monitoring.store.labels import LabelReceipt
from serving.state import State
from serving.validation import refuse_duplicates
from serving.values import Unfit, checker, identifier, kind, moment

LABEL_LIMIT = 10_000
UNKNOWN_IDS = 20
PIECE = 500  # labels of one transaction: a short one, since nothing else is written meanwhile
KEYS = ("id", "label", "time")


def read_labels(labels: Any, schema: Schema) -> list[Label]:
    """Return every label of a request validated, or refuse them all.

    Raises: BadRow.
    """
    if not isinstance(labels, list) or not labels:
        raise BadRow("labels", "a list of at least one label expected")
    if len(labels) > LABEL_LIMIT:
        raise BadRow("labels", f"{len(labels)} labels; at most {LABEL_LIMIT} a request")
    now = datetime.now(UTC)
    read = [read_label(label, schema, now, f"labels[{i}]") for i, label in enumerate(labels)]
    refuse_duplicates([label.prediction_id for label in read], "labels", "id")
    return read


def read_label(label: Any, schema: Schema, now: datetime, where: str) -> Label:
    """Return one label; without a time it is known since now."""
    if type(label) is not dict:
        raise BadRow(where, f"an object expected, not {kind(label)}")
    for name in label.keys() - set(KEYS):
        raise BadRow(f"{where}.{name[:80]}", f"unknown key; {nearest(name[:80], KEYS)}")
    for name in KEYS[:2]:
        if label.get(name) is None:
            raise BadRow(f"{where}.{name}", "missing")
    reads = {"id": identifier, "label": checker(schema.columns[schema.target]), "time": moment}
    values: dict[str, Any] = {"time": now}
    for name, value in label.items():
        try:
            values[name] = reads[name](value)
        except Unfit as error:
            raise BadRow(f"{where}.{name}", error.why) from error
    said = values["label"]
    return Label(values["id"], said.tolist() if isinstance(said, np.ndarray) else said, values["time"])


async def record(state: State, project: str, said: Sequence[Label]) -> LabelReceipt:
    """Write labels a piece at a time; after a failure half-way the same may be sent again, and counts as repeated.

    Raises: Refused 503, ServerUnavailable.
    """
    pieces = [said[start : start + PIECE] for start in range(0, len(said), PIECE)]
    now = datetime.now(UTC)
    receipts = await state.turns.write(partial(state.store.labels.record, project, piece, now) for piece in pieces)
    return LabelReceipt(
        sum(one.new for one in receipts),
        sum(one.repeated for one in receipts),
        sum(one.corrected for one in receipts),
        sum(one.unknown for one in receipts),
        tuple(id_ for one in receipts for id_ in one.unknown_ids)[:UNKNOWN_IDS],
    )
