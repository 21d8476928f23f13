"""Prefect's automations of ours: made once, then a person's to edit, disable or delete.

None of them is needed for a promise to hold: the keeper sees every intent through, and a runner that starts ends
what a former one left behind. They make it quick, and visible.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from flows.api import Api
from flows.applied import Applied, merged
from flows.events import RETRAIN_REQUESTED, resource_of

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 30
"""Prefect's own lower bound."""
SILENCE_SECONDS = 90
ENDINGS = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")  # after these nothing beats
UNORDERED = {"after", "expect", "for_each"}
ZOMBIES = "holdfast: crash runs whose process is gone"


def retrain(project: str, deployment: str) -> dict[str, Any]:
    """Return the automation that turns an intent's event into one run of `train/<project>`, the intent as an int."""
    intent = {"__prefect_kind": "jinja", "template": "{{ event.payload.intent }}"}
    return {
        "name": f"retrain/{project}",
        "description": f"Starts train/{project} when the governor has allowed a retraining.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": resource_of(project)},
            "expect": [RETRAIN_REQUESTED],
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment,
                "parameters": {"intent": {"__prefect_kind": "json", "value": intent}},
            }
        ],
    }


def zombies(tag: str) -> dict[str, Any]:
    """Return the automation that ends a run whose heartbeat has stopped; only runs with our tag."""
    return {
        "name": ZOMBIES,
        "description": f"A run without a heartbeat for {SILENCE_SECONDS} seconds has lost its process.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": ["prefect.flow-run.*"]},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
            "for_each": ["prefect.resource.id"],
            "after": ["prefect.flow-run.heartbeat"],
            "expect": ["prefect.flow-run.heartbeat", *(f"prefect.flow-run.{ending}" for ending in ENDINGS)],
            "threshold": 1,
            "within": SILENCE_SECONDS,
        },
        "actions": [
            {
                "type": "change-flow-run-state",
                "state": "CRASHED",
                "message": f"No heartbeat for {SILENCE_SECONDS} seconds: its process is gone.",
            }
        ],
    }


def apply_automations(api: Api, applied: Applied, ids: Mapping[str, str]) -> None:
    """Make the automations that were never made, and update those that nobody touched."""
    from flows.deployments import TAG

    trains = {name.partition("/")[2]: known_as for name, known_as in ids.items() if name.startswith("train/")}
    for spec in [zombies(TAG), *(retrain(project, known_as) for project, known_as in trains.items())]:
        settle(api, applied.automations, spec)


def settle(api: Api, known: dict[str, dict[str, Any]], spec: dict[str, Any]) -> None:
    """Bring one automation to its spec, unless a person deleted or edited it."""
    name = str(spec["name"])
    record = known.get(name)
    now = find(api, name, record)
    if record is None:
        made = now or api.call("POST", "/automations/", spec)
        known[name] = {"id": made["id"], "spec": spec, "seen": essence(made)}
        return
    if now is None or record["spec"] == spec:
        return  # deleted by a person, or nothing of ours has changed
    target = merged(record["seen"], essence(now), spec)
    if target is not spec:
        target = {**target, "actions": redirected(target["actions"], spec["actions"])}
    api.call("PUT", f"/automations/{now['id']}", target)
    known[name] = {"id": now["id"], "spec": spec, "seen": essence(api.call("GET", f"/automations/{now['id']}"))}
    logger.info("automation %s is updated", name)


def redirected(actions: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Point a person's version of the actions at the deployment that is there now."""
    target = next((action["deployment_id"] for action in ours if "deployment_id" in action), None)
    return [{**action, "deployment_id": target} if action.get("deployment_id") else action for action in actions]


def find(api: Api, name: str, record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an automation as Prefect has it: by the id that we made, else by name."""
    if record is not None:
        known: dict[str, Any] | None = api.find(f"/automations/{record['id']}")
        return known
    found = api.call("POST", "/automations/filter", {"automations": {"name": {"any_": [name]}}})
    return found[0] if found else None


def essence(now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person can edit, without the ids that Prefect gives."""
    given = now["trigger"].items()
    trigger = {key: sorted(value) if key in UNORDERED else value for key, value in given if key != "id"}
    return {**{key: now[key] for key in ("name", "description", "enabled", "actions")}, "trigger": trigger}


def automation_differences(api: Api, applied: Applied) -> Iterable[str]:
    """Tell how automations differ from what we made."""
    for name, record in sorted(applied.automations.items()):
        now = find(api, name, record)
        if now is None:
            yield f"automation {name!r}: deleted in Prefect; the keeper still starts what it promised, only later"
        elif not now["enabled"] and record["seen"]["enabled"]:
            yield f"automation {name!r}: disabled in Prefect"
        elif essence(now) != record["seen"]:
            yield f"automation {name!r}: edited in Prefect"
