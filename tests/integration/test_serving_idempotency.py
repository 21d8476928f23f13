from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import serving_parts as parts
from store_parts import KINDS, new_database

from monitoring.store import Store, open_store

ROW = {"size": 3.0, "note": "a"}


@pytest.fixture(scope="module", params=KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Service]:
    home = tmp_path_factory.mktemp("home")
    parts.promote(home, 1, factor=2.0)
    parts.point(home, "logs", 1, parts.logarithm_version(home / "generations" / "logs" / "1"))
    with parts.serving(home, HOLDFAST_DATABASE_URL=new_database(request.param, request, home)) as running:
        yield running


@pytest.fixture
def client(service: parts.Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as one:
        yield one


@pytest.fixture
def store(service: parts.Service) -> Iterator[Store]:
    opened = open_store(service.store_url)
    yield opened
    opened.close()


def predict(client: httpx.Client, key: str, *rows: Any, project: str = "prices", **headers: str) -> httpx.Response:
    named = {"idempotency-key": key, **headers}
    return client.post(f"/v1/{project}/predict", json={"rows": list(rows)}, headers=named)


def test_the_same_key_and_body_get_the_same_answer_and_are_logged_once(client: httpx.Client, store: Store) -> None:
    before = store.predictions.count("prices")
    first = predict(client, "twice", ROW, {**ROW, "size": 4})
    again = predict(client, "twice", ROW, {**ROW, "size": 4})
    assert first.status_code == 200
    assert [row["value"] for row in first.json()["predictions"]] == [6.0, 8.0]
    assert again.content == first.content
    assert store.predictions.count("prices") == before + 2


def test_the_same_key_with_another_body_is_a_conflict_that_changes_nothing(client: httpx.Client, store: Store) -> None:
    first = predict(client, "other", ROW)
    before = store.predictions.count("prices")
    refused = predict(client, "other", {**ROW, "size": 4})
    assert (refused.status_code, refused.json()["where"]) == (409, "idempotency-key")
    assert store.predictions.count("prices") == before
    assert predict(client, "other", ROW).content == first.content


def test_a_key_belongs_to_one_project(client: httpx.Client) -> None:
    assert predict(client, "shared", ROW).status_code == 200
    assert predict(client, "shared", {**ROW, "size": 4}, project="logs").status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "\x80"])
def test_a_key_that_is_none_is_refused(client: httpx.Client, key: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", key.encode("latin-1"))]
    refused = client.post("/v1/prices/predict", content=b'{"rows":[]}', headers=headers)
    assert (refused.status_code, refused.json()["where"]) == (400, "idempotency-key")


def test_a_request_that_was_refused_does_not_use_up_its_key(client: httpx.Client) -> None:
    assert predict(client, "misspelt", {"siez": 3}).status_code == 422
    assert predict(client, "misspelt", ROW).status_code == 200
    assert predict(client, "no logarithm", {**ROW, "size": -1}, project="logs").status_code == 503
    assert predict(client, "no logarithm", ROW, project="logs").status_code == 200
    assert predict(client, "first", {**ROW, "id": "taken"}).status_code == 200
    assert predict(client, "second", ROW, {**ROW, "id": "taken", "size": 4}).status_code == 409
    assert predict(client, "second", ROW).status_code == 200


def test_whoever_asks_at_once_with_one_key_gets_one_answer(client: httpx.Client, store: Store) -> None:
    before = store.predictions.count("prices")
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda _: predict(client, "race", ROW, ROW).content, range(24)))
    assert len(answers) == 1
    assert store.predictions.count("prices") == before + 2


def test_ids_of_the_client_and_a_key_go_together(client: httpx.Client) -> None:
    first = predict(client, "with ids", {**ROW, "id": "mine"}, ROW)
    assert predict(client, "with ids", {**ROW, "id": "mine"}, ROW).content == first.content
    assert client.post("/v1/prices/predict", json={"rows": [{**ROW, "id": "mine"}]}).status_code == 200


def test_a_key_outlives_a_swap_and_a_kill_with_its_generation(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    port = parts.free_port()
    service = parts.Service(tmp_path, port)
    service.wait()
    with httpx.Client(base_url=service.url, timeout=30) as client:
        first = predict(client, "k", ROW)
        service.kill()
        parts.promote(tmp_path, 2, factor=3.0)
        service = parts.Service(tmp_path, port)
        service.wait()
        again, new = predict(client, "k", ROW).json(), predict(client, "k2", ROW).json()
    service.kill()
    assert (again["generation"], again["predictions"]) == (1, first.json()["predictions"])
    assert (new["generation"], new["predictions"][0]["value"]) == (2, 9.0)


def test_a_key_belongs_to_one_client(tmp_path: Path) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    store = open_store(f"sqlite:///{tmp_path / 'holdfast.db'}")
    secrets = [store.clients.add(name, ["predict"], datetime.now(UTC), "a test")[1] for name in ("one", "two")]
    with parts.serving(tmp_path) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        answers = [
            predict(client, "k", {**ROW, "size": size}, **{"x-api-key": secret}) for size, secret in enumerate(secrets)
        ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert store.predictions.count("prices") == 2
    store.close()
