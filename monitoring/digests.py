"""Many alerts at once become one message a channel, which lists them: the same words as one alert, for a storm."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from monitoring.records import ORDER, Message

ABOVE = 5  # alerts at once that still go out one by one
GATHER = timedelta(minutes=1)  # so long what comes after a digest is gathered for the next
LISTED = 1_000  # alerts in a digest's data; the store and the overview have all
SHOWN = 20  # of them in its text
WIDTH = 110  # characters of a line
KIND = "digest"


def digest(alerts: Sequence[Message], now: datetime) -> Message:
    """Return the message that stands for many of one channel; its id follows from theirs."""
    channel = alerts[0].channel
    mark = hashlib.sha256("\n".join(sorted(one.id for one in alerts)).encode()).hexdigest()[:16]
    lines = [line(one) for one in sorted(alerts, key=_urgency)]
    projects = {str(one.payload.get("project", "")) for one in alerts}
    payload = {
        "project": projects.pop() if len(projects) == 1 else "holdfast",
        "kind": KIND,
        "count": len(alerts),
        "text": text_of(alerts, lines),
        "links": {name: url for name, url in links_of(alerts[-1]).items() if name in ("overview", "tunnel")},
        "alerts": lines[:LISTED],
    }
    return Message(f"digest-{mark}.{channel}", channel, "alert", payload, now)


def text_of(alerts: Sequence[Message], lines: Sequence[dict[str, Any]]) -> str:
    """Return the first line, which counts, and the most urgent lines below it."""
    kinds = Counter(str(one.payload.get("kind", "alert")) for one in alerts)
    projects = {one.payload.get("project") for one in alerts}
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
    head = f"{len(alerts)} alerts at once, of {len(projects)} project{'s' if len(projects) > 1 else ''}: {counted}"
    shown = [f"- {one['text']}" + (f" {one['link']}" if one["link"] else "") for one in lines[:SHOWN]]
    more = [f"- and {len(lines) - SHOWN} more: the overview and `holdfast incidents` have all"] * (len(lines) > SHOWN)
    return "\n".join([head, *shown, *more])


def line(alert: Message) -> dict[str, Any]:
    """Return one alert of a digest: its own id, what it tells in a line, and its first link."""
    said = " ".join(str(alert.payload.get("text", "")).split())
    return {
        "id": alert.id,
        "incident": alert.payload.get("incident"),
        "project": alert.payload.get("project"),
        "kind": alert.payload.get("kind"),
        "severity": alert.payload.get("severity"),
        "text": said if len(said) <= WIDTH else f"{said[: WIDTH - 1]}…",
        "link": next(iter(links_of(alert).values()), None),
    }


def links_of(alert: Message) -> dict[str, str]:
    """Return an alert's links, in their order."""
    return dict(alert.payload.get("links") or {})


def _urgency(alert: Message) -> tuple[int, datetime, str]:
    said = alert.payload.get("severity")
    return -(ORDER.index(said) if said in ORDER else 1), alert.created_at, alert.id
