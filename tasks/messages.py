"""Alerts as they go to the outbox: one message a channel, ids that stay the same in every copy."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from data.errors import DeliveryFailed
from monitoring.alerts import Channels, Sender, deliver
from monitoring.records import Message
from tasks.settings import Settings


def channels(settings: Settings) -> tuple[str, ...]:
    """Return the channels that are set up; the log always is."""
    wanted = {
        "webhook": bool(settings.webhook_url),
        "email": bool(settings.smtp_url and settings.email_to),
        "apprise": bool(settings.alert_urls),
    }
    return ("log", *(name for name, there in wanted.items() if there))


def alerts(
    settings: Settings,
    project: str,
    key: str,
    kind: str,
    text: str,
    *,
    links: dict[str, str] | None = None,
    **facts: Any,
) -> tuple[Message, ...]:
    """Return one alert for every channel; `key` makes their ids."""
    payload = {"project": project, "kind": kind, "text": text, "links": links or {}, **facts}
    now = datetime.now(UTC)
    return tuple(
        Message(f"{project}.{key}.{channel}", channel, "alert", payload, now) for channel in channels(settings)
    )


def ways(settings: Settings, senders: Mapping[str, Sender]) -> Channels:
    """Return where messages go, from the settings; `senders` adds channels of the caller's own."""
    return Channels(
        webhook_url=settings.webhook_url,
        webhook_secret=settings.webhook_secret,
        smtp_url=settings.smtp_url,
        email_to=settings.email_to,
        email_from=settings.email_from,
        apprise_urls=settings.alert_urls,
        senders=senders,
    )


def try_out(settings: Settings) -> dict[str, str]:
    """Send a test message to each channel now, past the outbox; return why each did not take it, empty where it did."""
    found, ways_out, id_ = {}, ways(settings, {}), f"holdfast.test-{uuid.uuid4()}"
    text = "this is a test: alerts arrive here"
    payload = {"project": "holdfast", "kind": "test", "text": text, "links": {}}
    for channel in channels(settings):
        try:
            deliver(Message(f"{id_}.{channel}", channel, "alert", payload, datetime.now(UTC)), ways_out)
            found[channel] = ""
        except DeliveryFailed as error:
            found[channel] = str(error)
    return found
