"""JSON Schemas of what the service reads and says, made from the projects' own schemas."""

import base64
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from data.columns.category import LONGEST_LEVEL
from data.columns.id import LONGEST
from data.schema import (
    LONGEST_ID,
    Anomaly,
    Audio,
    Category,
    Column,
    Id,
    Image,
    Number,
    Ranking,
    Schema,
    Series,
    Text,
    aliases,
)
from data.wav import write_wav
from serving.generations import Served

Json = dict[str, Any]

PRINTABLE = "^[ -~]+$"  # other printable text is read too, but a pattern can't say what that is
SEEN = "[!-~\u00a1-\u00ac\u00ae-\u00ff]"  # what is printable of the characters that a header may have, but the space
IDENTIFIER: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": PRINTABLE}
TIME: Json = {"type": "string", "format": "date-time", "description": "ISO 8601 with an offset; not in the future."}
WHOLE: Json = {"type": "integer", "minimum": 0}
TEXT: Json = {"type": "string"}
USUAL, MOST = 10, 100  # items of one list
STREAM: Json = {"type": "string", "format": "binary"}
BASE64: Json = {"type": "string", "contentEncoding": "base64"}
PNG: Json = BASE64 | {"contentMediaType": "image/png", "format": "png"}
WAV: Json = BASE64 | {"contentMediaType": "audio/wav", "format": "wav"}
WRITTEN = "^[^\\x00]*[^\\s\\x00][^\\x00]*$"  # something, and no NUL
SENTENCE = "the clerk was kind , but the parcel came a week late"
IDEMPOTENCY: Json = {
    "name": "idempotency-key",
    "in": "header",
    "description": "Names this request: sent again with the same body it gets the same answer, with another body 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": f"^{SEEN}([ {SEEN[1:-1]}]*{SEEN})?$"},
}


def exactly(**properties: Json) -> Json:
    """Describe an object with these keys, all of them and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def maybe(schema: Json) -> Json:
    """Allow null too."""
    return {"anyOf": [schema, {"type": "null"}]}


NONE: Mapping[str, Sequence[str]] = {}
ERROR = exactly(error=TEXT, where=TEXT)
RETRY: Json = {"retry-after": {"description": "Seconds to wait.", "required": True, "schema": {"type": "integer"}}}
HEADERS: dict[str, Json] = {
    "401": {"www-authenticate": {"description": "How to send a key.", "required": True, "schema": TEXT}},
    "429": RETRY,
    "503": RETRY,
}
ALIVE = exactly(status={"const": "alive"})
STATE = exactly(ready={"type": "boolean"}, generation=maybe(WHOLE), version=maybe(TEXT), problem=TEXT)
READY: Json = {
    "anyOf": [
        exactly(ready={"type": "boolean"}),
        exactly(
            ready={"type": "boolean"},
            store=TEXT,
            keys={"enum": ["open", "needed"]},
            projects={"type": "object", "additionalProperties": STATE},
        ),
    ]
}
RECEIPT = exactly(
    project=TEXT,
    new=WHOLE,
    repeated=WHOLE,
    corrected=WHOLE,
    unknown=WHOLE,
    unknown_ids={"type": "array", "items": TEXT},
)
LOGGED = exactly(
    id=IDENTIFIER | {"pattern": "."},
    project=TEXT,
    generation=WHOLE,
    version=TEXT,
    trial=maybe(WHOLE),
    answered_at=TEXT | {"format": "date-time"},
    row_time=TEXT | {"format": "date-time"},
    features_sha256=TEXT | {"pattern": "^[0-9a-f]{64}$"},
    output={"type": "object"},
    label=maybe({"type": ["string", "number", "array"]}),
)
LISTED = exactly(project=TEXT, ready={"type": "boolean"}, problem=TEXT)
SERVED = exactly(
    **LISTED["properties"], generation=WHOLE, version=TEXT, task=TEXT, row_limit=WHOLE, schema={"type": "object"}
)
PROJECTS: Json = {"type": "array", "items": {"anyOf": [LISTED, SERVED]}}


def row_schema(schema: Schema, levels: Mapping[str, Sequence[str]] = NONE) -> Json:
    """Return the JSON Schema of one row to predict; its identifiers under the shortest of their names.

    `levels`: the ids that the version learned.
    """
    roles: dict[str, list[str]] = {}
    for name, role in aliases(schema).items():
        roles.setdefault(role, []).append(name)
    properties: Json = {}
    for role, (name, *others) in roles.items():
        described = dict(TIME if role == "time" else IDENTIFIER)
        if others:
            described["description"] = f"{described.get('description', '')} Or {others[0]!r}.".strip()
        properties[name] = described
    features = {name: column_schema(column, levels.get(name, ())) for name, column in schema.features.items()}
    return {
        "type": "object",
        "properties": {**properties, **features},
        "required": list(features),
        "additionalProperties": False,
    }


def label_schema(schema: Schema) -> Json:
    """Return the JSON Schema of one label."""
    return {
        "type": "object",
        "properties": {"id": IDENTIFIER, "label": column_schema(schema.columns[schema.target]), "time": TIME},
        "required": ["id", "label"],
        "additionalProperties": False,
    }


def answer_schema(one: Served) -> Json:
    """Return the JSON Schema of an answer; a row that an earlier generation or a version on trial answered names it."""
    if one.predictor.task == "classification":
        share = {"type": "number", "minimum": 0, "maximum": 1}
        levels = dict.fromkeys(one.predictor.levels, share)
        kind = {"type": "string", "enum": list(levels)}
        fields: Json = {"class": kind, "confidence": share, "probabilities": exactly(**levels)}
    elif one.predictor.task == "anomaly":
        fields = {"score": {"type": "number", "minimum": 0, "maximum": 1}, "anomaly": {"type": "boolean"}}
    elif one.predictor.encoder.forecast:
        target = one.predictor.encoder.forecast
        steps = lists({"type": "number"}, (target.length,))
        fields = {"forecast": exactly(**dict.fromkeys(target.channels, steps))}
    else:
        fields = {"value": {"type": "number"}}
        if one.predictor.schema.ranking:
            fields["score"] = {"type": "number", "description": "Orders a list: the higher, the likelier liked."}
    row = exactly(id=IDENTIFIER | {"pattern": "."}, **fields)
    row["properties"] = {**row["properties"], "generation": WHOLE, "version": TEXT, "trial": WHOLE}
    return exactly(
        project={"const": one.project}, generation=WHOLE, version=TEXT, predictions={"type": "array", "items": row}
    )


def list_schema(schema: Schema, levels: Mapping[str, Sequence[str]], ranking: Ranking) -> Json:
    """Return the JSON Schema of a request for a list: a row without the item, and what the list should be."""
    row = row_schema(schema, levels)
    features = {name: row["properties"][name] for name in schema.features if name != ranking.item}
    most = {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL, "description": "Items wanted."}
    without = {"type": "array", "items": TEXT, "description": f"Ids of {ranking.item}s that are not wanted."}
    return {
        "type": "object",
        "properties": {**features, "k": most, "without": without},
        "required": list(features),
        "additionalProperties": False,
    }


def listed_schema(one: Served, ranking: Ranking) -> Json:
    """Return the JSON Schema of a list: answers to rows, each with its item, the best first."""
    whole = answer_schema(one)
    row = whole["properties"].pop("predictions")["items"]
    item = {**row, "properties": {ranking.item: TEXT, **row["properties"]}}
    item["required"] = [ranking.item, *row["required"]]
    return exactly(**whole["properties"], items={"type": "array", "items": item})


def column_schema(column: Column, learned: Sequence[str] = ()) -> Json:
    """Return the JSON Schema of one column's values; `learned`: the ids that a version knows."""
    match column:
        case Number() | Category():
            plain = number_schema(column) if isinstance(column, Number) else category_schema(column)
            sure = isinstance(column, Anomaly) or not column.nullable  # nobody tells that nothing is known
            return plain if sure else maybe(plain)
        case Image():
            pixel: Json = {"type": "integer", "minimum": 0, "maximum": column.high}
            return {"anyOf": [lists(pixel, column.shape), PNG | {"description": "The picture as a PNG file."}]}
        case Text():
            example = SENTENCE[: column.longest]
            return {"type": "string", "maxLength": column.longest, "pattern": WRITTEN, "examples": [example]}
        case Audio():
            return clip_schema(column)
        case Series():
            return lists(maybe({"type": "number"}) if column.nullable else {"type": "number"}, column.shape)
        case Id():
            return id_schema(column, learned)


def id_schema(column: Id, learned: Sequence[str]) -> Json:
    """Return the JSON Schema of an id; its example is one that the version learned."""
    said = "Refused if it was never learned." if column.unknown == "refuse" else "A new one is taken for the mean."
    some = next((one for one in learned if one.isascii()), next(iter(learned), "4711"))
    letters = {"pattern": PRINTABLE} if some.isascii() else {}
    return {"type": "string", "minLength": 1, "maxLength": LONGEST, **letters, "examples": [some]} | {
        "description": f"{said} The version knows {len(learned):,}."
    }


def lists(each: Json, shape: tuple[int, ...]) -> Json:
    """Return the JSON Schema of nested lists of a shape."""
    for size in reversed(shape):
        each = {"type": "array", "minItems": size, "maxItems": size, "items": each}
    return each


def clip_schema(column: Audio) -> Json:
    """Return the JSON Schema of a clip; its example is a short tone."""
    moments = np.arange(max(1, column.samples // 20)) / column.rate
    tone = write_wav(column.rate, (8192 * np.sin(2 * np.pi * column.rate / 16 * moments)).astype(np.int16))
    largest = 4 * ceil((2 * column.samples + 4096) / 3)  # a file may say more than its sound
    said = f"A WAV file: mono, 16 bits, {column.rate} samples a second, at most {column.seconds:g} s."
    return WAV | {"maxLength": largest, "description": said, "examples": [base64.b64encode(tone).decode()]}


def number_schema(column: Number) -> Json:
    """Return the JSON Schema of a number that isn't null."""
    limits = {"minimum": column.low, "maximum": column.high}
    given = {name: value for name, value in limits.items() if value is not None}
    return {"type": "integer" if column.integer else "number", **given}


def category_schema(column: Category) -> Json:
    """Return the JSON Schema of a category that isn't null."""
    if isinstance(column, Anomaly):
        return {"type": "boolean", "examples": [True]}
    if column.open:
        return {
            "type": "string",
            "maxLength": LONGEST_LEVEL,
            "pattern": "^[^\\x00]*$",
            "examples": [*column.levels[:20]],
        }
    return {"type": "string", "enum": list(column.levels)}


def example_of(described: Json) -> Any:
    """Return a value that fits one of the schemas above."""
    if "anyOf" in described:
        return example_of(described["anyOf"][0])
    if described["type"] == "array":
        return [example_of(described["items"]) for _ in range(described.get("minItems", 1))]
    if described["type"] == "object":
        wanted = [*(name for name in ("id",) if name in described["properties"]), *described.get("required", [])]
        return {name: example_of(described["properties"][name]) for name in dict.fromkeys(wanted)}
    if described["type"] in ("string", "boolean"):
        return next(iter(described.get("enum") or described.get("examples") or ["order-4711"]))
    low, high = described.get("minimum"), described.get("maximum")
    middle = (low + high) / 2 if low is not None and high is not None else low if low is not None else high or 0
    return int(middle) if described["type"] == "integer" else float(middle)
