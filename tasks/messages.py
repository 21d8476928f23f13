"""Alerts as they go to the outbox: one message a channel, ids that stay the same in every copy."""

from datetime import UTC, datetime
from typing import Any

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
