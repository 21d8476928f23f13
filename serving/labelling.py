"""Labels as strangers send them, read strictly by the served schema's target."""

from datetime import UTC, datetime
from typing import Any

from data.errors import BadRow, nearest
from data.schema import Schema
from monitoring.records import Label
from serving.validation import refuse_duplicates
from serving.values import Unfit, checker, identifier, kind, moment

LABEL_LIMIT = 10_000
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
    return Label(values["id"], values["label"], values["time"])
