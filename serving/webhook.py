"""What MLflow tells of its registry: signed, recent, told once, and only ever a row that the keeper looks at.

Neither the sender nor the body is believed beyond that: before the keeper acts, it asks the registry itself.
"""

import base64
import hashlib
import hmac
import logging
import time
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from monitoring.store.requests import ALIAS, TAG
from serving.bodies import Bodies, parsed
from serving.refusals import Refused
from serving.state import State
from tasks.secret_files import WEBHOOK, secret

log = logging.getLogger(__name__)

LIMIT = 128 << 10  # bytes; a tag's value is the longest thing told, and MLflow cuts it
PATIENCE = 300.0  # seconds; what is older, or as much ahead, is not believed
DELIVERY = 200  # characters of a delivery's id


def add_webhook(app: FastAPI, state: State) -> None:
    """Route for MLflow's registry; no key opens it, a signature does."""
    bodies = Bodies(limit=LIMIT, room=8 * LIMIT)

    @app.post("/v1/webhooks/mlflow", status_code=202)
    async def mlflow(request: Request) -> Response:
        headers = dict(request.scope["headers"])
        body = await bodies.read(headers, request.receive)
        try:
            delivery = checked(secret(state.settings.home, WEBHOOK), headers, body, time.time())
            told = parsed(body)
        finally:
            bodies.release(len(body))
        return Response(status_code=await run_in_threadpool(recorded, state, delivery, told))


def checked(key: str, headers: dict[bytes, bytes], body: bytes, now: float) -> str:
    """Return the id of a delivery that MLflow has signed lately.

    Raises: Refused 401.
    """
    delivery, sent = headers.get(b"x-mlflow-delivery-id", b""), headers.get(b"x-mlflow-timestamp", b"")
    mac = hmac.new(key.encode(), b".".join((delivery, sent, body)), hashlib.sha256).digest()
    given = headers.get(b"x-mlflow-signature", b"")
    if not hmac.compare_digest(b"v1," + base64.b64encode(mac), given):
        raise Refused(401, "the signature is not MLflow's", "x-mlflow-signature", reason="signature")
    if not (sent.isdigit() and len(sent) < 20 and abs(now - int(sent)) <= PATIENCE):
        raise Refused(401, f"sent more than {PATIENCE:g} seconds from now", "x-mlflow-timestamp", reason="signature")
    if not 0 < len(delivery) <= DELIVERY:
        raise Refused(401, "a delivery needs an id", "x-mlflow-delivery-id", reason="signature")
    return delivery.decode("latin-1")


def recorded(state: State, delivery: str, told: dict[str, Any]) -> int:
    """Write the request that an event is, if it is one, and return the status: 202, or 204 where it is none.

    Raises: Refused 409, the delivery was told before; ServerUnavailable.
    """
    wanted = request_in(state, told)
    if wanted is None:
        return 204
    project, version = wanted
    found, made = state.store.requests.add(project, version, "webhook", datetime.now(UTC), delivery=delivery)
    if not made and found.delivery == delivery:
        raise Refused(409, "this delivery was told before", "x-mlflow-delivery-id", reason="replay")
    log.info("%s: version %s is asked for in MLflow", project, version)
    return 202


def request_in(state: State, told: dict[str, Any]) -> tuple[str, str] | None:
    """Return the project and the version that an event asks for; None where it asks for nothing, as our own do.

    An alias that was taken away asks for what serves, which gets it back.
    """
    data = told.get("data")
    if not isinstance(data, dict):
        return None
    project, version, event = data.get("name"), data.get("version"), (told.get("entity"), told.get("action"))
    if not isinstance(project, str) or project not in state.generations.known:
        return None
    by_alias = event[0] == "model_version_alias" and data.get("alias") == ALIAS
    by_tag = event == ("model_version_tag", "set") and data.get("key") == TAG
    if not by_alias and not (by_tag and str(data.get("value")).strip().lower() == "true"):
        return None
    serving = state.store.ledger.generation(project)
    if event == ("model_version_alias", "deleted"):
        return (project, serving.version) if serving else None
    if not isinstance(version, str) or not version.isdecimal() or len(version) > 20:
        return None
    return None if by_alias and serving and serving.version == version else (project, version)
