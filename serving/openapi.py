"""The service's OpenAPI document: what FastAPI knows of its routes, and each served project's own rows."""

from collections.abc import Iterable
from typing import Any

from data.schema import Category, Column, Image, Number, Schema
from serving.generations import Served
from serving.labelling import LABEL_LIMIT
from serving.validation import LONGEST_ID, LONGEST_TEXT, aliases

Json = dict[str, Any]

IDENTIFIER: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}
TIME: Json = {"type": "string", "format": "date-time", "description": "ISO 8601 with an offset; not in the future."}
ERROR: Json = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "where": {"type": "string"}},
    "required": ["error", "where"],
}
FAILURES = {
    "400": "The body is not a JSON object.",
    "404": "No project has this name.",
    "413": "The body is too large.",
    "415": "The body is not declared as JSON.",
    "422": "A value does not fit the schema; `where` names it.",
    "503": "No champion, or model or log failed; nothing was acknowledged.",
}


def with_projects(document: Json, served: Iterable[Served]) -> Json:
    """Return the document with one path for the predictions and one for the labels of each served project."""
    paths = dict(document["paths"])
    for one in served:
        paths[f"/v1/{one.project}/predict"] = {"post": predict_operation(one)}
        paths[f"/v1/{one.project}/labels"] = {"post": labels_operation(one)}
    return {**document, "paths": paths}


def predict_operation(one: Served) -> Json:
    """Describe a project's predict route as its generation's schema has it."""
    rows = {"type": "array", "minItems": 1, "maxItems": one.row_limit, "items": row_schema(one.predictor.schema)}
    return {
        "tags": [one.project],
        "operationId": f"predict_{one.project}",
        "summary": f"Predict {one.predictor.schema.target}",
        "description": "Every answered row is in the log before the answer. The same id with the same features gives "
        f"the same answer. Served by generation {one.generation} (version {one.version}).",
        "requestBody": body_of("rows", rows),
        "responses": responses(answer_schema(one), {"409": "An id was answered before, for other features."}),
    }


def labels_operation(one: Served) -> Json:
    """Describe a project's labels route."""
    schema = one.predictor.schema
    label = {
        "type": "object",
        "properties": {"id": IDENTIFIER, "label": column_schema(schema.columns[schema.target]), "time": TIME},
        "required": ["id", "label"],
        "additionalProperties": False,
    }
    counts = {name: {"type": "integer"} for name in ("new", "repeated", "corrected", "unknown")}
    return {
        "tags": [one.project],
        "operationId": f"label_{one.project}",
        "summary": f"Tell the true {schema.target} of earlier predictions",
        "requestBody": body_of("labels", {"type": "array", "minItems": 1, "maxItems": LABEL_LIMIT, "items": label}),
        "responses": responses({"type": "object", "properties": counts}, {}),
    }


def body_of(name: str, content: Json) -> Json:
    """Describe a body that is an object with one key."""
    whole = {"type": "object", "properties": {name: content}, "required": [name], "additionalProperties": False}
    return {"required": True, "content": {"application/json": {"schema": whole}}}


def responses(answer: Json, more: dict[str, str]) -> Json:
    """Describe the answer and the ways to fail."""
    failures = {
        status: {"description": why, "content": {"application/json": {"schema": ERROR}}}
        for status, why in sorted((FAILURES | more).items())
    }
    return {"200": {"description": "Done.", "content": {"application/json": {"schema": answer}}}, **failures}


def row_schema(schema: Schema) -> Json:
    """Return the JSON Schema of one row to predict."""
    roles = {name: dict(TIME if role == "time" else IDENTIFIER) for name, role in aliases(schema).items()}
    features = {name: column_schema(column) for name, column in schema.features.items()}
    return {
        "type": "object",
        "properties": {**roles, **features},
        "required": list(features),
        "additionalProperties": False,
    }


def answer_schema(one: Served) -> Json:
    """Return the JSON Schema of an answer."""
    if one.predictor.task == "classification":
        share = {"type": "number", "minimum": 0, "maximum": 1}
        levels = dict.fromkeys(one.predictor.levels, share)
        kind = {"type": "string", "enum": list(levels)}
        fields: Json = {
            "class": kind,
            "confidence": share,
            "probabilities": {"type": "object", "properties": levels},
        }
    else:
        fields = {"value": {"type": "number"}}
    row = {"type": "object", "properties": {"id": IDENTIFIER, **fields}, "required": ["id", *fields]}
    properties: Json = {
        "project": {"type": "string"},
        "generation": {"type": "integer"},
        "version": {"type": "string"},
        "predictions": {"type": "array", "items": row},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def column_schema(column: Column) -> Json:
    """Return the JSON Schema of one column's values."""
    if isinstance(column, Image):
        described: Json = {"type": "integer", "minimum": 0, "maximum": column.high}
        for size in reversed(column.shape):
            described = {"type": "array", "minItems": size, "maxItems": size, "items": described}
        return described
    described = number_schema(column) if isinstance(column, Number) else category_schema(column)
    return {"anyOf": [described, {"type": "null"}]} if column.nullable else described


def number_schema(column: Number) -> Json:
    """Return the JSON Schema of a number that isn't null."""
    limits = {"minimum": column.low, "maximum": column.high}
    given = {name: value for name, value in limits.items() if value is not None}
    return {"type": "integer" if column.integer else "number", **given}


def category_schema(column: Category) -> Json:
    """Return the JSON Schema of a category that isn't null."""
    if column.open:
        return {"type": "string", "maxLength": LONGEST_TEXT, "examples": list(column.levels[:20])}
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
    if described["type"] == "string":
        return next(iter(described.get("enum") or described.get("examples") or ["order-4711"]))
    low, high = described.get("minimum"), described.get("maximum")
    middle = (low + high) / 2 if low is not None and high is not None else low if low is not None else high or 0
    return int(middle) if described["type"] == "integer" else float(middle)
