"""What a team's own automations can listen to: each event waits in the outbox, written with what it tells of.

docs/events.md lists the names and their fields.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.records import Decision, Message

CHANNEL = "prefect"
RETRAIN = "holdfast.retrain.requested"
STARTED = "holdfast.retrain.started"
ENDED = "holdfast.retrain.ended"
OPENED = "holdfast.incident.opened"
UPDATED = "holdfast.incident.updated"
RECOVERED = "holdfast.incident.recovered"
ACCEPTED = "holdfast.incident.accepted"
OF_DECISIONS = {
    "acknowledge": "holdfast.incident.acknowledged",
    "snooze": "holdfast.incident.snoozed",
    "declare-fault": "holdfast.incident.declared",
    "promote": "holdfast.promoted",
    "rollback": "holdfast.rolled-back",
    "keep": "holdfast.kept",
    "refuse": "holdfast.refused",
    "ask": "holdfast.asked",
}
FACTS = ("incident", "intent", "version", "generation", "replaces", "approval", "request", "actor")


def event(name: str, project: str, key: str, now: datetime, **facts: Any) -> Message:
    """Return an event; `key` makes its id. The store adds the ids that its transaction gives out."""
    return Message(f"{project}.{key}.event", CHANNEL, "event", payload(name, project, facts), now)


def payload(name: str, project: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event says; facts that are unknown are left out."""
    known = {key: value for key, value in facts.items() if value is not None}
    return {"event": name, "payload": {"project": project, **known}}


def of_decision(line: Decision) -> Message | None:
    """Return the event of a line of the ledger, if such lines have one."""
    if line.kind not in OF_DECISIONS:
        return None
    facts = {"subject": line.subject, "reason": line.reason, "decision": line.id}
    facts |= {name: line.inputs.get(name) for name in FACTS}
    return event(OF_DECISIONS[line.kind], line.project, f"decision-{line.id}", line.at, **facts)
