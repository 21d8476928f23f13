import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from loop_parts import Orchard, Orchestra, plant
from mlflow_parts import mlflow_server
from serving_parts import Service, serving

from holdfast.servers import webhook_variables
from models.registry import webhooks
from monitoring.store.requests import Request
from tasks.hooking import target
from tasks.secret_files import ENCRYPTION, WEBHOOK, secret

SECONDS = 20


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server as the supervisor starts it."""
    folder = tmp_path_factory.mktemp("telling")
    with mlflow_server(folder, webhook_variables(folder)) as url:
        yield url


@pytest.fixture
def orchard(request: pytest.FixtureRequest, trained: Path, telling: str, tmp_path: Path) -> Iterator[Orchard]:
    """A home whose MLflow tells its service."""
    made = plant(trained, telling, tmp_path / "home", request.node.name)
    yield made
    made.store.close()


@pytest.fixture
def service(orchard: Orchard) -> Iterator[Service]:
    """The real service of this home; the keeper has told MLflow where it is."""
    orchard.promote()
    with serving(orchard.settings.home, HOLDFAST_PROJECTS=orchard.settings.projects) as one:
        yield one


def listen(orchard: Orchard, service: Service) -> Orchard:
    """The home as its keeper sees it once the service has its port."""
    return replace(orchard, settings=orchard.settings.model_copy(update={"service_port": service.port}))


def event(orchard: Orchard, version: str, alias: str = "champion") -> bytes:
    data = {"name": orchard.name, "alias": alias, "version": version}
    told = {"entity": "model_version_alias", "action": "created", "timestamp": "2026-01-01T00:00:00", "data": data}
    return json.dumps(told).encode()


def signed(orchard: Orchard, body: bytes, delivery: str = "d-1", at: float | None = None) -> dict[str, str]:
    sent = str(int(at or time.time()))
    mac = hmac.new(
        secret(orchard.settings.home, WEBHOOK).encode(), f"{delivery}.{sent}.".encode() + body, hashlib.sha256
    )
    signature = f"v1,{base64.b64encode(mac.digest()).decode()}"
    names = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")
    return {"content-type": "application/json", **dict(zip(names, (delivery, sent, signature), strict=True))}


def post(service: Service, body: bytes, headers: dict[str, str]) -> int:
    return httpx.post(f"{service.url}/v1/webhooks/mlflow", content=body, headers=headers).status_code


def waiting(orchard: Orchard) -> list[Request]:
    return orchard.store.requests.open_ones(orchard.name)


def until(claim: Any) -> None:
    end = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_a_person_does_in_mlflow_is_recorded_by_the_service_and_answered_by_the_keeper(
    orchard: Orchard, service: Service
) -> None:
    home = listen(orchard, service)
    keeper, client = Orchestra().keeper(home), home.models.client
    keeper.hook.attend()
    time.sleep(2.1)  # MLflow's cache of who is told
    granted, refused = home.register(), home.register("refused")
    client.set_registered_model_alias(home.name, "champion", refused)
    until(lambda: waiting(home))
    [request] = waiting(home)
    assert (request.version, request.source) == (refused, "webhook")
    keeper.requester.answer(request)
    assert home.models.alias(home.name, "champion") == home.serving.version
    client.set_model_version_tag(home.name, granted, "promote", "true")
    until(lambda: waiting(home))
    keeper.requester.answer(waiting(home)[0])
    assert home.serving.version == granted
    client.delete_registered_model_alias(home.name, "champion")
    until(lambda: waiting(home))
    keeper.requester.answer(waiting(home)[0])
    assert home.models.alias(home.name, "champion") == granted
    assert home.store.ledger.decisions(home.name, kinds=("restore",))
    client.set_registered_model_alias(home.name, "favourite", refused)
    client.set_model_version_tag(home.name, refused, "note", "true")
    time.sleep(0.5)
    assert waiting(home) == []  # nor did any of what the keeper wrote ask for anything


def test_only_what_mlflow_has_signed_lately_is_believed_and_only_once(orchard: Orchard, service: Service) -> None:
    asked = orchard.register("refused")
    body = event(orchard, asked)
    good = signed(orchard, body)
    for bad in (
        {name: value for name, value in good.items() if "Signature" not in name},
        {**good, "X-MLflow-Signature": good["X-MLflow-Signature"][:-4] + "AAA="},
        {**good, "X-MLflow-Delivery-Id": "another"},
        {**good, "X-MLflow-Timestamp": str(int(good["X-MLflow-Timestamp"]) + 1)},
        signed(orchard, body, at=time.time() - 301),
        signed(orchard, body, at=time.time() + 302),
        signed(orchard, body, delivery=""),
        signed(orchard, body, delivery="d" * 201),
    ):
        assert post(service, body, bad) == 401
    assert post(service, body.replace(b"champion", b"Champion"), good) == 401
    assert post(service, b"x" * (1 << 18), good) == 413
    assert waiting(orchard) == []
    assert post(service, body, good) == 202
    assert post(service, body, good) == 409
    assert post(service, body, signed(orchard, body, delivery="d-2")) == 202  # the same wish once more
    [request] = waiting(orchard)
    orchard.store.requests.handled(request.id, "refused: it was", orchard.now())
    for delivery in ("d-1", "d-2"):
        assert post(service, body, signed(orchard, body, delivery=delivery)) == 409
    assert waiting(orchard) == []


def test_what_makes_no_sense_writes_nothing(orchard: Orchard, service: Service) -> None:
    name = orchard.name.encode()
    for number, (body, status) in enumerate(
        [
            (b"[]", 400),
            (b"{", 400),
            (b'{"data": 1}', 204),
            (event(orchard, "9").replace(name, b"no_such_project"), 204),
            (event(orchard, "nine"), 204),
            (event(orchard, "9" * 30), 204),
            (event(orchard, "9", alias="favourite"), 204),
            (event(orchard, orchard.serving.version), 204),  # as every promotion of ours
        ]
    ):
        assert post(service, body, signed(orchard, body, delivery=f"d-{number}")) == status
    assert waiting(orchard) == []


def test_the_webhook_is_made_once_and_follows_the_service_to_another_port(orchard: Orchard) -> None:
    def ours(home: Orchard) -> list[str]:
        keeper = Orchestra().keeper(home)
        keeper.hook.attend()
        assert keeper.hook.problem == ""
        return [one.url for one in webhooks.all_of(home.models) if one.name in named]

    first = Orchestra().keeper(orchard)
    before = {one.name for one in webhooks.all_of(orchard.models)}
    first.hook.attend()
    named = {one.name for one in webhooks.all_of(orchard.models)} - before
    assert len(named) == 1
    assert ours(orchard) == [target(orchard.settings)]
    moved = replace(orchard, settings=orchard.settings.model_copy(update={"service_port": 8123}))
    assert ours(moved) == ["http://127.0.0.1:8123/v1/webhooks/mlflow"]
    [one] = [one for one in webhooks.all_of(moved.models) if one.name in named]
    moved.models.client.update_webhook(one.webhook_id, status="DISABLED")
    moved.models.client.create_webhook(one.name, one.url, list(webhooks.EVENTS), secret="another")
    assert ours(moved) == ["http://127.0.0.1:8123/v1/webhooks/mlflow"]
    moved.models.client.delete_webhook(webhooks.all_of(moved.models)[0].webhook_id)


def test_secrets_are_made_once_and_are_their_users_alone(tmp_path: Path) -> None:
    made = secret(tmp_path, WEBHOOK)
    assert secret(tmp_path, WEBHOOK) == made
    assert secret(tmp_path, ENCRYPTION) != made
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 2
