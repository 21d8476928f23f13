from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa
import pytest
import schemathesis
import serving_parts as parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefect_stack import until
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode
from serving_parts import service

from monitoring.store import open_store
from serving.openapi import ARROW
from serving.openapi_schemas import example_of
from serving.pages import create_pages
from serving.state import State
from tasks.settings import Settings

__all__ = ["service"]

PEOPLE = ("/reports/", "/sandbox/", "/incidents", "/projects/", "/login", "/logout")
UNDOCUMENTED = (*PEOPLE, "/v1/webhooks/")  # what is not for programs


def stream(rows: list[dict[str, Any]]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as written:
        written.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


STREAMS = [b"", b"no stream", stream([{"weight": 1.5}] * 3), stream([{"size": 1.0, "note": None}, {"size": 2.0}])]
schemathesis.openapi.media_type(ARROW, st.sampled_from(STREAMS))


@pytest.fixture(scope="module")
def sent(service: parts.Service) -> dict[str, str]:
    """The header of a client who may do everything."""
    store = open_store(f"sqlite:///{service.home / 'holdfast.db'}")
    _, secret = store.clients.add("admin", ["admin"], datetime.now(UTC), "ada")
    store.close()
    until(lambda: httpx.get(f"{service.url}/v1/projects").status_code == 401, 10.0)  # it knows of the key
    return {"x-api-key": secret}


@pytest.fixture(scope="module")
def document(service: parts.Service, sent: dict[str, str]) -> dict[str, Any]:
    read: dict[str, Any] = httpx.get(f"{service.url}/openapi.json", headers=sent).json()
    return read


def try_out(service: parts.Service, sent: dict[str, str], examples: int) -> set[int]:
    """Send made-up requests to every operation, and hold every answer to the document; return all statuses seen."""
    api = schemathesis.openapi.from_url(f"{service.url}/openapi.json", headers=sent)
    seen: set[int] = set()
    names = ("status_code", "content_type", "response_headers", "response_schema")
    conforms = CHECKS.get_by_names([f"{name}_conformance" for name in names])
    accepted = CHECKS.get_by_names(["positive_data_acceptance"])
    for operation in (result.ok() for result in api.get_all_operations()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def hold(case: schemathesis.Case) -> None:
                answer = case.call(headers=sent)
                seen.add(answer.status_code)
                case.validate_response(answer, checks=conforms)
                if not case.path.startswith("/readyz"):  # which says with a 503 what isn't ready
                    assert answer.status_code < 500, answer.text
                twice = answer.status_code == 422 and "is the id of" in answer.text  # no schema can say that ids differ
                known = case.media_type != ARROW  # the document can't say what such a stream holds
                if known and not twice and "future" not in answer.text:
                    case.validate_response(answer, checks=accepted)

            if mode is GenerationMode.POSITIVE or operation.body:
                hold()
    return seen


def test_every_answer_is_as_the_document_says_and_none_is_a_5xx(service: parts.Service, sent: dict[str, str]) -> None:
    assert {200, 400, 404, 422} <= try_out(service, sent, examples=10)


@pytest.mark.soak
def test_many_answers_are_as_the_document_says(service: parts.Service, sent: dict[str, str]) -> None:
    assert {200, 400, 404, 422} <= try_out(service, sent, examples=500)


def test_the_document_holds_every_route_and_no_other(service: parts.Service, document: dict[str, Any]) -> None:
    written = {
        (path.replace("prices", "{project}").replace("fruit", "{project}"), method)
        for path, methods in document["paths"].items()
        for method in methods
    }
    app = create_pages(State(Settings(home=service.home)))
    served = {
        (route.path.replace("{prediction_id:path}", "{id}"), method.lower())
        for route in app.routes
        if not route.path.startswith(UNDOCUMENTED)
        for method in route.methods
    }
    assert written == served | {("/v1/{project}/predict", "post")}


def test_every_example_is_answered(service: parts.Service, sent: dict[str, str], document: dict[str, Any]) -> None:
    with httpx.Client(base_url=service.url, headers=sent) as client:
        for path, methods in document["paths"].items():
            for operation in methods.values():
                for media, content in operation.get("requestBody", {}).get("content", {}).items():
                    if media == "application/json":
                        assert content["example"] == example_of(content["schema"])
                        assert client.post(path, json=content["example"]).status_code == 200, path


def test_the_document_says_how_keys_are_sent(document: dict[str, Any]) -> None:
    assert document["security"] == [{"bearer": []}, {"header": []}, {"basic": []}]
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header", "basic"}
    for path in ("/healthz", "/readyz"):
        assert document["paths"][path]["get"]["security"] == []
