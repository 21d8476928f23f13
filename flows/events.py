"""Tell Prefect that something happened: one plain request that never waits long and never starts a server."""

import uuid
from datetime import UTC, datetime
from typing import Any

from data.errors import ServerUnavailable
from flows.api import Refused, opened

RETRAIN_REQUESTED = "holdfast.retrain.requested"


def resource_of(project: str) -> str:
    """Return the name under which automations match a project's events."""
    return f"holdfast.project.{project}"


def emit(api_url: str, event: str, payload: dict[str, Any], *, timeout: float = 3.0) -> str:
    """Record `event` about `payload["project"]` and return its id.

    The id follows from the event and its payload, so that sending it again is the same event to a reader.

    Raises: ServerUnavailable, when it is not known to be recorded.
    """
    project = str(payload["project"])
    known_as = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{event}?{sorted(payload.items())}"))
    body = {
        "id": known_as,
        "event": event,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": resource_of(project), "prefect.resource.name": project},
        "related": [],
        "payload": payload,
    }
    with opened(api_url, timeout=timeout, patience=0.0) as api:
        try:
            api.call("POST", "/events", [body])
        except Refused as refused:
            raise ServerUnavailable(f"Prefect did not take {event}: {refused}") from refused
    return known_as
