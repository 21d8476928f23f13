import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import serving_parts as parts
from serving_parts import service

from monitoring.store import Store, open_store
from serving.pages import create_pages
from serving.state import State
from tasks.settings import Settings

__all__ = ["service"]

ROW = {"size": 3.0, "note": "a"}
PUBLIC = {"/healthz", "/readyz", "/readyz/{project}", "/login"}


def add(store: Store, name: str, *scopes: str, **more: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {store.clients.add(name, scopes, datetime.now(UTC), 'ada', **more)[1]}"}


@pytest.fixture(scope="module")
def store(service: parts.Service) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{service.home / 'holdfast.db'}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def keys(service: parts.Service, store: Store) -> dict[str, dict[str, str]]:
    """What clients send who may do different things; the service knows them all."""
    made = {
        "nobody": {},
        "stranger": {"authorization": "Bearer hf_" + "x" * 43},
        "predict": add(store, "predict", "predict"),
        "prices": add(store, "prices", "predict", "label", projects=["prices"]),
        "label": add(store, "label", "label"),
        "read": add(store, "read", "read"),
        "admin": add(store, "admin", "admin"),
    }
    wait_for(service, made["nobody"], 401)
    wait_for(service, made["admin"], 200)
    return made


def wait_for(service: parts.Service, headers: dict[str, str], status: int, seconds: float = 2.0) -> None:
    until = time.monotonic() + seconds
    while httpx.get(f"{service.url}/v1/projects", headers=headers).status_code != status:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_before_the_first_key_this_machine_may_ask_and_it_is_said(service: parts.Service) -> None:
    assert httpx.post(f"{service.url}/v1/prices/predict", json={"rows": [ROW]}).status_code == 200
    assert httpx.get(f"{service.url}/readyz").json()["keys"] == "open"
    assert "anybody on this machine may ask" in (service.home / "service.log").read_text()
    elsewhere = {"host": "evil.example"}
    assert httpx.post(f"{service.url}/v1/prices/predict", json={"rows": [ROW]}, headers=elsewhere).status_code == 401
    assert httpx.get(service.url, headers=elsewhere).status_code == 401


def predict(project: str, row: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return "POST", f"/v1/{project}/predict", {"rows": [row]}


ROUTES = {
    "predict prices": predict("prices", ROW),
    "predict fruit": predict("fruit", {"weight": 1}),
    "predict an unknown project": predict("nothing", ROW),
    "label prices": ("POST", "/v1/prices/labels", {"labels": [{"id": "a", "label": 1}]}),
    "label fruit": ("POST", "/v1/fruit/labels", {"labels": [{"id": "a", "label": "pear"}]}),
    "log of prices": ("GET", "/v1/prices/predictions/never", None),
    "projects": ("GET", "/v1/projects", None),
    "docs": ("GET", "/docs", None),
    "openapi": ("GET", "/openapi.json", None),
    "overview": ("GET", "/", None),
    "report": ("GET", "/reports/none.html", None),
    "metrics": ("GET", "/metrics", None),
    "nowhere": ("GET", "/nowhere", None),
}
ALL = (401, 401)
#                  predict  prices   label   read   admin
ALLOWED = {
    "predict prices": (200, 200, 403, 403, 200),
    "predict fruit": (200, 403, 403, 403, 200),
    "predict an unknown project": (404, 403, 403, 403, 404),
    "label prices": (403, 200, 200, 403, 200),
    "label fruit": (403, 403, 200, 403, 200),
    "log of prices": (404, 404, 403, 403, 404),
    "projects": (200, 200, 200, 200, 200),
    "docs": (200, 200, 200, 200, 200),
    "openapi": (200, 200, 200, 200, 200),
    "overview": (403, 403, 403, 200, 200),
    "report": (403, 403, 403, 404, 404),
    "metrics": (403, 403, 403, 200, 200),
    "nowhere": (404, 404, 404, 404, 404),
}


@pytest.mark.parametrize("route", ROUTES)
def test_each_scope_opens_its_own_routes_and_no_others(
    route: str, service: parts.Service, keys: dict[str, dict[str, str]]
) -> None:
    method, path, body = ROUTES[route]
    with httpx.Client(base_url=service.url) as client:
        answers = {name: client.request(method, path, json=body, headers=sent) for name, sent in keys.items()}
    assert tuple(answer.status_code for answer in answers.values()) == ALL + ALLOWED[route]
    for answer in answers.values():
        if answer.status_code in {401, 403}:
            assert answer.json().keys() == {"error", "where"}
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def test_every_route_that_is_ever_added_needs_a_key(service: parts.Service, keys: dict[str, dict[str, str]]) -> None:
    routes = [route for route in create_pages(State(Settings(home=service.home))).routes if route.path not in PUBLIC]
    assert len(routes) > 6
    for route in routes:
        if route.path.startswith(("/v1/webhooks/", "/sandbox/")):
            continue  # signed by the sender, and by us
        path = route.path.replace("{project}", "prices").partition("{")[0]
        for method in route.methods:
            assert httpx.request(method, service.url + path).status_code == 401, route.path


def test_probes_learn_yes_or_no_and_what_a_key_is_not_for_is_not_shown(
    service: parts.Service, keys: dict[str, dict[str, str]]
) -> None:
    with httpx.Client(base_url=service.url) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"ready": True}
        assert client.get("/readyz/prices").json() == {"ready": True}
        unknown = client.get("/readyz/nothing")
        assert (unknown.status_code, unknown.json()) == (503, {"ready": False})
        mine = keys["prices"]
        assert [one["project"] for one in client.get("/v1/projects", headers=mine).json()] == ["prices"]
        assert client.get("/readyz", headers=mine).json()["projects"].keys() == {"prices"}
        assert client.get("/readyz/fruit", headers=mine).json()["projects"] == {}
        for page in ("/docs", "/openapi.json"):
            assert "fruit" not in client.get(page, headers=mine).text
            assert "fruit" in client.get(page, headers=keys["admin"]).text
        assert "authorization: Bearer $HOLDFAST_SERVICE_KEY" in client.get("/docs", headers=mine).text
        listed = client.get("/readyz", headers=keys["admin"]).json()
        assert (listed["projects"].keys() >= {"prices", "fruit"}, listed["keys"]) == (True, "needed")


def test_a_browser_brings_the_key_as_a_password(service: parts.Service, keys: dict[str, dict[str, str]]) -> None:
    secret = keys["admin"]["authorization"].removeprefix("Bearer ")
    assert httpx.get(service.url, auth=("me", secret)).status_code == 200
    challenges = httpx.get(service.url).headers.get_list("www-authenticate")
    assert len(challenges) == 2  # Chromium reads one a header
    assert challenges[0].startswith("Basic realm=")


def test_a_revoked_key_is_refused_within_two_seconds(
    service: parts.Service, store: Store, keys: dict[str, dict[str, str]]
) -> None:
    sent = add(store, "leaver", "predict")
    wait_for(service, sent, 200)
    store.clients.revoke("leaver", datetime.now(UTC), "ada")
    wait_for(service, sent, 401)


def test_rows_and_labels_over_a_clients_rate_are_refused_and_others_go_on(
    service: parts.Service, store: Store, keys: dict[str, dict[str, str]]
) -> None:
    sent = add(store, "slow", "predict", "label", rows_per_second=1)
    wait_for(service, sent, 200)
    for path, body in (
        ("/v1/prices/predict", {"rows": [ROW] * 60}),
        ("/v1/prices/labels", {"labels": [{"id": f"n{i}", "label": 1} for i in range(60)]}),
    ):
        with httpx.Client(base_url=service.url) as client:
            assert client.post(path, json=body, headers=sent).status_code == 200
            refused = client.post(path, json=body, headers=sent)
            assert refused.status_code == 429
            assert 50 < int(refused.headers["retry-after"]) <= 61
            assert client.post(path, json=body, headers=keys["prices"]).status_code == 200


def test_a_service_of_its_own_answers_nobody_before_there_is_a_key(service: parts.Service) -> None:
    home = service.home / "alone"
    parts.promote(home, 1, factor=2.0)
    with parts.serving(home, HOLDFAST_EMBEDDED="0") as alone:
        refused = httpx.post(f"{alone.url}/v1/prices/predict", json={"rows": [ROW]})
        assert refused.status_code == 401
        assert "holdfast keys add NAME --scope predict" in refused.json()["error"]
        assert httpx.get(f"{alone.url}/healthz").status_code == 200
        assert "nobody may ask" in (home / "service.log").read_text()


def test_no_key_is_ever_written_to_the_services_log(service: parts.Service, keys: dict[str, dict[str, str]]) -> None:
    said = (service.home / "service.log").read_text()
    secrets = [sent["authorization"].removeprefix("Bearer ") for sent in keys.values() if sent]
    assert len(secrets) == 6
    assert not any(secret in said for secret in secrets)
