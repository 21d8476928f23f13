"""What people are told of an incident after its opening: that it is over, that it goes on, what its retraining came to.

Each goes to the channels that were told before, under an id that follows from what it tells, so that it is told once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from data.wording import moment
from monitoring.evidence import WORLD
from monitoring.records import Incident, Intent, Message

RECOVERED, REMINDER, ESCALATED, FOLLOW_UP = "recovered", "reminder", "escalated", "follow-up"  # kinds of messages
ENDS = {
    "promoted": "it was promoted",
    "kept": "the champion was kept",
    "refused": "it was refused",
    "challenger": "it waits for a person",
    "abandoned": "it failed",
    "blocked": "it was stopped",
    "cancelled": "it was cancelled",
    "unneeded": "there was nothing new to learn",
}
FRUITLESS = ("refused", "kept")  # what serves goes on meeting the change


def about(message: Message, incident_id: int) -> Message:
    """Return an alert as one about an incident, whose page is the first of its links."""
    links = dict(message.payload.get("links") or {})
    if "overview" in links:
        links = {"incident": f"{links['overview']}incidents/{incident_id}", **links}
    return replace(message, payload={**message.payload, "links": links}, incident_id=incident_id)


def recovered(incident: Incident, told: Sequence[Message], why: str, now: datetime) -> list[Message]:
    """Return the news that an incident is over; a channel that heard of it by a promotion hears no more."""
    windows = incident.detail.get("count")
    lasted = f" after {windows} window{'s' if windows != 1 else ''}" if windows else ""
    over = "recovered" if why.startswith(("recovered", "quiet")) else "closed"
    text = f"{incident.kind.upper()} {incident.project}: incident {incident.id} {over}{lasted}: {why}"
    heard = {one.channel for one in told if one.payload.get("outcome") == "promoted"}
    facts = {"kind": RECOVERED, "what": f"incident {incident.id} {over}{lasted}", "done": why}
    return _again(incident, [one for one in told if one.channel not in heard], "closed", text, facts, now)


def reminder(incident: Incident, told: Sequence[Message], number: int, now: datetime) -> list[Message]:
    """Return what is told of an incident that goes on and that nobody has acknowledged."""
    latest = incident.detail.get("latest") or {}
    since = f"open since {moment(incident.opened_at)}, and nobody has acknowledged it"
    what = f"{latest.get('reason', incident.reason)}; {since}"
    ways = "or snooze, or fault" if incident.kind in WORLD else "or snooze"
    done = f"holdfast acknowledge {incident.id} ({ways}) ends these reminders"
    text = f"{incident.kind.upper()} {incident.project}: incident {incident.id}: {what}; {done}"
    facts = {"kind": REMINDER, "what": what, "so_what": incident.detail.get("so_what"), "done": done}
    return _again(incident, told, f"again-{number}", text, facts, now)


def escalated(incident: Incident, told: Sequence[Message], why: str, now: datetime) -> list[Message]:
    """Return what is told of an incident that has become critical."""
    text = f"{incident.kind.upper()} {incident.project}: incident {incident.id} has become critical: {why}"
    facts = {"kind": ESCALATED, "what": why, "so_what": incident.detail.get("so_what")}
    return _again(incident, told, "critical", text, facts, now)


def followed_up(intent: Intent, told: Sequence[Message], outcome: str, why: str, now: datetime) -> list[Message]:
    """Return what a retraining came to, for those who were told of its incident."""
    came_to = f"the retraining of {intent.project} has ended, {ENDS.get(outcome, outcome)}"
    offer = f"if the change is harmless: holdfast accept {intent.incident_id} --reason '…', or Accept on its page"
    offer = offer if outcome in FRUITLESS and intent.incident_id is not None else ""
    text = f"RETRAINED {intent.project}: {came_to}" + (f": {why}" if why else "") + (f"; {offer}" if offer else "")
    facts = {"what": came_to, "done": why, "intent": intent.id, "outcome": outcome, "kind": FOLLOW_UP}
    facts |= {"project": intent.project, "incident": intent.incident_id, "offer": offer or None}
    return [_like(one, f"{intent.project}.intent-{intent.id}.ended", text, facts, now) for one in told]


def _again(
    incident: Incident, told: Sequence[Message], key: str, text: str, facts: Mapping[str, Any], now: datetime
) -> list[Message]:
    about_it = {"project": incident.project, "incident": incident.id, "about": incident.kind}
    about_it |= {"severity": incident.severity, **facts}
    return [_like(one, f"{incident.project}.incident-{incident.id}.{key}", text, about_it, now) for one in told]


def _like(told: Message, key: str, text: str, facts: Mapping[str, Any], now: datetime) -> Message:
    """Return a message to the channel of another, with its links."""
    known = {name: value for name, value in facts.items() if value is not None}
    payload = {"text": text, "links": told.payload.get("links") or {}, **known}
    return Message(f"{key}.{told.channel}", told.channel, "alert", payload, now, incident_id=told.incident_id)
