"""Start a deployment's run and wait for its end, for the command line and for the demo."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from data.errors import HoldfastError, NoSuchProject
from flows.api import Api, opened, run_url
from tasks.settings import Settings

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
POLL = 0.5
"""Seconds between two looks at a run."""
TRIES, SETTLED = 3, 1.0
"""Times that a schedule is changed, and seconds after each until runs of the old one would be seen."""


class StillRunning(HoldfastError):
    """A run has not ended in the time it was given; it goes on."""


@dataclass(frozen=True)
class FlowRun:
    """A run as people see it. `state` is Prefect's type of it in title case: Completed, Failed, Running and so on."""

    id: str
    name: str
    deployment: str
    state: str
    message: str
    url: str
    started_at: datetime | None
    seconds: float

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state.upper() in ENDED

    @property
    def good(self) -> bool:
        """Whether it did what it should, or had nothing to do."""
        return self.state == "Completed"


def start(
    settings: Settings, deployment: str, parameters: Mapping[str, Any] | None = None, *, key: str | None = None
) -> FlowRun:
    """Ask for a run of `deployment` ("train/digits"); with the same `key` there is one run, however often asked.

    Raises:
        NoSuchProject: Prefect has no such deployment.
        ServerUnavailable: Prefect does not answer.
    """
    with opened(settings.prefect_url) as api:
        found = api.find(f"/deployments/name/{deployment}")
        if found is None:
            raise NoSuchProject(deployment.partition("/")[2], known_projects(api))
        body = {"parameters": dict(parameters or {}), "idempotency_key": key}
        made = api.call("POST", f"/deployments/{found['id']}/create_flow_run", body)
    return seen(settings, made, deployment)


def run(
    settings: Settings,
    deployment: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout: float = 600.0,
    progress: Callable[[FlowRun], None] = lambda _: None,
) -> FlowRun:
    """Start a run and wait for its end; each change of its state or message is told to `progress`.

    Raises: StillRunning after `timeout` seconds, and what `start` raises.
    """
    begun = start(settings, deployment, parameters)
    return wait(settings, begun, timeout=timeout, progress=progress)


def wait(
    settings: Settings, begun: FlowRun, *, timeout: float = 600.0, progress: Callable[[FlowRun], None] = lambda _: None
) -> FlowRun:
    """Follow a run until it ends.

    Raises: StillRunning, ServerUnavailable.
    """
    deadline = time.monotonic() + timeout
    last = begun
    progress(last)
    with opened(settings.prefect_url) as api:
        while not last.ended:
            if time.monotonic() > deadline:
                raise StillRunning(f"{begun.deployment} is still {last.state} after {timeout:.0f} s: {last.url}")
            time.sleep(POLL)
            now = seen(settings, api.call("GET", f"/flow_runs/{begun.id}"), begun.deployment)
            if (now.state, now.message) != (last.state, last.message):
                progress(now)
            last = now
    return last


def reschedule(settings: Settings, deployment: str, every: timedelta) -> None:
    """Change how often a deployment starts, as a person does in the UI; the change survives a restart.

    Raises:
        NoSuchProject: Prefect has no such deployment, or it has no schedule.
        ServerUnavailable: Prefect does not answer.
    """
    with opened(settings.prefect_url) as api:
        found = api.find(f"/deployments/name/{deployment}")
        if found is None or not found["schedules"]:
            raise NoSuchProject(deployment.partition("/")[2], known_projects(api))
        timing = {"interval": every.total_seconds(), "anchor_date": datetime.now(UTC).isoformat(), "timezone": "UTC"}
        path = f"/deployments/{found['id']}/schedules/{found['schedules'][0]['id']}"
        for _ in range(TRIES):
            api.call("PATCH", path, {"schedule": timing, "active": True})
            time.sleep(SETTLED)
            first = next_start(api, found["id"])
            if first is None or first <= datetime.now(UTC) + every:
                return


def next_start(api: Api, deployment: str) -> datetime | None:
    """Return when a deployment's next run is due, if one is planned.

    The server's scheduler may have written runs of an old schedule just after it was changed, and while those are
    ahead it plans none of the new one.
    """
    runs = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    body = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": runs, "sort": "EXPECTED_START_TIME_ASC"}
    planned = api.call("POST", "/flow_runs/filter", {**body, "limit": 1})
    return datetime.fromisoformat(planned[0]["expected_start_time"]) if planned else None


def run_state(settings: Settings, run: str) -> str:
    """Return a run's state type in title case; a run that Prefect doesn't know is `Missing`.

    Raises: ServerUnavailable.
    """
    with opened(settings.prefect_url) as api:
        found = api.find(f"/flow_runs/{run}")
    return "Missing" if found is None else str(found["state_type"]).title()


def end(settings: Settings, run: str, name: str, why: str) -> bool:
    """End a run that waits for people, in a state of this name, and tell whether it has ended; one at work is left.

    Raises: ServerUnavailable.
    """
    with opened(settings.prefect_url) as api:
        found = api.find(f"/flow_runs/{run}")
        if found is None or found["state_type"] in ENDED:
            return True
        if found["state_type"] not in {"PAUSED", "SCHEDULED"}:
            return False
        kind = "COMPLETED" if name == "Answered" else "CANCELLED"
        state = {"type": kind, "name": name, "message": why}
        api.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})
    return True


def steps(settings: Settings, run: str) -> list[tuple[str, str]]:
    """Return the steps that a run has begun, in their order, each with its state in title case.

    Raises: ServerUnavailable.
    """
    body = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 50}
    with opened(settings.prefect_url) as api:
        found = api.call("POST", "/task_runs/filter", body)
    return [(str(each["name"]).rpartition("-")[0], str(each["state_type"]).title()) for each in found]


def seen(settings: Settings, found: Mapping[str, Any], deployment: str) -> FlowRun:
    """Return Prefect's answer in our words."""
    begun = found.get("start_time")
    return FlowRun(
        id=str(found["id"]),
        name=str(found["name"]),
        deployment=deployment,
        state=str(found["state_type"]).title(),
        message=str((found.get("state") or {}).get("message") or ""),
        url=run_url(settings.prefect_url, str(found["id"])),
        started_at=None if begun is None else datetime.fromisoformat(begun),
        seconds=float(found.get("total_run_time") or 0.0),
    )


def known_projects(api: Api) -> set[str]:
    """Return the projects that have deployments."""
    found = api.call("POST", "/deployments/filter", {"deployments": {"tags": {"all_": ["holdfast"]}}, "limit": 200})
    return {str(each["name"]) for each in found}
