"""The service's OpenAPI document: its own routes, and each served project's as its generation's schema has them."""

from collections.abc import Iterable
from typing import Any

from data.schema import Ranking
from serving import bodies
from serving import openapi_schemas as schemas
from serving.generations import Served
from serving.keys import Client
from serving.labelling import LABEL_LIMIT
from serving.openapi_schemas import Json
from serving.state import State

ARROW = bodies.ARROW.decode()
ASKING: list[Json] = [{"bearer": []}, {"header": []}, {"basic": []}]
SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`authorization: Bearer hf_…`"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "`x-api-key: hf_…`"},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "HTTP Basic in a browser: any name, the key as password",
    },
}
KEY = {"401": "An API key is needed, or the one sent is unknown or revoked.", "403": "The key has no such scope."}
ABOUT = """Answers rows by each project's champion. An answer with status 200 is in the log before it is sent.

Every refusal is `{"error", "where"}`. 4xx: change the request. 429 and 503: the same request again, after `retry-after`
seconds; with an `idempotency-key`, or with ids of your own in the rows, nothing is answered twice.
"""
READS = {"400": "The body is not a JSON object.", "408": "The body came too slowly.", "413": "The body is too large."}
READS |= {"415": "The body is not declared as what it has to be.", "422": "A value does not fit; `where` names it."}
LIMITS = {"429": "The client sent more rows a second than it may."}
PROJECT = {"404": "No project has this name.", "503": "No champion, or the store does not answer."}


def document(state: State, client: Client) -> Json:
    """Return the document of what serves now, as far as a client may know of it."""
    served = [one for name, one in sorted(state.generations.served.items()) if client.sees(name)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast service", "version": "1", "description": ABOUT},
        "security": [{}, *ASKING] if state.keys.open else ASKING,
        "tags": [{"name": one.project} for one in served] + [{"name": "service"}],
        "paths": {**project_paths(served), **service_paths()},
        "components": {"securitySchemes": SCHEMES, "schemas": {"Error": schemas.ERROR}},
    }


def project_paths(served: Iterable[Served]) -> Json:
    """Describe each served project's routes."""
    paths: Json = {}
    for one in served:
        paths[f"/v1/{one.project}/predict"] = {"post": predict_operation(one)}
        if one.predictor.schema.ranking:
            paths[f"/v1/{one.project}/rank"] = {"post": rank_operation(one, one.predictor.schema.ranking)}
        paths[f"/v1/{one.project}/labels"] = {"post": labels_operation(one)}
        paths[f"/v1/{one.project}/predictions/{{id}}"] = {"get": prediction_operation(one)}
    return paths


def predict_operation(one: Served) -> Json:
    """Describe a project's predict route."""
    schema = one.predictor.schema
    row = schemas.row_schema(schema, one.predictor.encoder.levels)
    rows = {"type": "array", "minItems": 1, "maxItems": one.row_limit, "items": row}
    fails = {"409": "An id was answered before for other features, or an idempotency key for another body."}
    asked, told = body_of("rows", rows), responses(schemas.answer_schema(one), READS | LIMITS | PROJECT | KEY | fails)
    asked["content"][ARROW] = {"schema": schemas.STREAM}
    told["200"]["content"][ARROW] = {"schema": schemas.STREAM}
    return {
        "tags": [one.project],
        "operationId": f"predict_{one.project}",
        "summary": f"Predict {schema.target}",
        "description": f"Served by generation {one.generation} (version {one.version}). Needs the scope `predict`. "
        "A row without an id gets one; the same id with the same features gives the same answer. Rows in bulk may come "
        f"as an Arrow stream, `{ARROW}`: a column a feature, not compressed. With that in `accept` so does the answer.",
        "parameters": [schemas.IDEMPOTENCY],
        "requestBody": asked,
        "responses": told,
    }


def rank_operation(one: Served, ranking: Ranking) -> Json:
    """Describe a project's rank route."""
    asked = schemas.list_schema(one.predictor.schema, one.predictor.encoder.levels, ranking)
    fails = {"409": "An idempotency key was used for another body."}
    return {
        "tags": [one.project],
        "operationId": f"rank_{one.project}",
        "summary": f"List the best {ranking.item}s for a {ranking.user}",
        "description": f"Needs the scope `predict`. What the {ranking.user} had rated when the version was made is "
        "left out, and what stands in `without`. Each item is logged as a row with an id of its own, for its label. A "
        "list counts as the `k` rows that are asked for.",
        "parameters": [schemas.IDEMPOTENCY],
        "requestBody": whole_body(asked),
        "responses": responses(schemas.listed_schema(one, ranking), READS | LIMITS | PROJECT | KEY | fails),
    }


def labels_operation(one: Served) -> Json:
    """Describe a project's labels route."""
    schema = one.predictor.schema
    label = schemas.label_schema(schema)
    return {
        "tags": [one.project],
        "operationId": f"label_{one.project}",
        "summary": f"Tell the true {schema.target} of earlier predictions",
        "description": "Needs the scope `label`. A label may be told again, or corrected.",
        "requestBody": body_of("labels", {"type": "array", "minItems": 1, "maxItems": LABEL_LIMIT, "items": label}),
        "responses": responses(schemas.RECEIPT, READS | LIMITS | PROJECT | KEY),
    }


def prediction_operation(one: Served) -> Json:
    """Describe the route to one answer."""
    return {
        "tags": [one.project],
        "operationId": f"prediction_{one.project}",
        "summary": "One answer as the log holds it",
        "description": "Needs the scope `predict`.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": schemas.IDENTIFIER}],
        "responses": responses(schemas.LOGGED, KEY | PROJECT | {"404": "No prediction has this id."}),
    }


def service_paths() -> Json:
    """Describe the routes that every service has."""
    ready = {"200": "Every project with a champion is served and the log can be written.", "503": "Not so."}
    project = [{"name": "project", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]
    page = "needs the scope `read`"
    return {
        "/healthz": own("healthz", "Whether the process lives", {"200": "It does."}, schemas.ALIVE, security=[]),
        "/readyz": own("readyz", "Whether requests can be answered", ready, schemas.READY, security=[]),
        "/readyz/{project}": own(
            "readyz_project",
            "Whether one project can be asked",
            {**ready, "404": "No project has this name; told to known clients only."},
            schemas.READY,
            security=[],
            parameters=project,
        ),
        "/v1/projects": own("projects", "The projects that the key is for, and what serves each", {}, schemas.PROJECTS),
        "/metrics": own("metrics", f"Counts for Prometheus; {page}", {}, {"type": "string"}, "text/plain"),
        "/": own("overview", f"What serves and how it fares, for people; {page}", {}, {"type": "string"}, "text/html"),
        "/docs": own("docs", "This document for people", {}, {"type": "string"}, "text/html"),
        "/openapi.json": own("openapi", "This document", {}, {"type": "object"}),
    }


def own(
    name: str, summary: str, statuses: dict[str, str], schema: Json, media: str = "application/json", **more: Any
) -> Json:
    """Describe a route to GET. A status other than 200 that health tells has the same body as 200."""
    healthy = "security" in more
    fails = {status: why for status, why in statuses.items() if status not in {"200", "503"}}
    described = responses(schema, fails if healthy else KEY | fails, media)
    if "503" in statuses:
        described["503"] = {"description": statuses["503"], "content": {media: {"schema": schema}}}
    described["200"]["description"] = statuses.get("200", "Done.")
    return {"get": {"tags": ["service"], "operationId": name, "summary": summary, "responses": described, **more}}


def body_of(name: str, content: Json) -> Json:
    """Describe a body that is an object with one key."""
    return whole_body(schemas.exactly(**{name: content}))


def whole_body(whole: Json) -> Json:
    """Describe a body, with an example."""
    example = schemas.example_of(whole)
    return {"required": True, "content": {"application/json": {"schema": whole, "example": example}}}


def responses(answer: Json, fails: dict[str, str], media: str = "application/json") -> Json:
    """Describe the answer and the ways to fail."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    described: Json = {"200": {"description": "Done.", "content": {media: {"schema": answer}}}}
    for status, why in sorted(fails.items()):
        described[status] = {"description": why, "content": error}
        if headers := schemas.HEADERS.get(status):
            described[status]["headers"] = headers
    return described
