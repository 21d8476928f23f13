"""Keep schedules from piling up: a run that waits while another does the same work is skipped."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.api import Api

logger = logging.getLogger(__name__)

HUNG = timedelta(minutes=15)
"""A run that has been under way for longer no longer keeps others from starting."""
BULK = 50
"""The most runs whose state Prefect changes in one request."""


def collapse(api: Api, deployments: Iterable[str]) -> int:
    """Skip scheduled runs that are due and have nothing to add, and return how many.

    One run at a time, and one waiting, does all that is due, for every flow of ours. What a person or an
    automation asked for is never skipped.
    """
    now = datetime.now(UTC)
    flow_runs = {
        "deployment_id": {"any_": list(deployments)},
        "state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}},
        "expected_start_time": {"before_": now.isoformat()},
    }
    body = {"flow_runs": flow_runs, "sort": "EXPECTED_START_TIME_ASC", "limit": 200}
    by_deployment: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in api.call("POST", "/flow_runs/filter", body):
        by_deployment[run["deployment_id"]].append(run)
    doomed = [run for runs in by_deployment.values() for run in superfluous(runs, now)]
    for first in range(0, len(doomed), BULK):
        skip(api, doomed[first : first + BULK])
    return len(doomed)


def superfluous(runs: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return which of one deployment's due and open runs, oldest first, can be left out."""
    waiting = [run for run in runs if run["state_type"] == "SCHEDULED" and run["auto_scheduled"]]
    others = [run for run in runs if run not in waiting and not hung(run, now)]
    return waiting if others else waiting[:-1]


def hung(run: Mapping[str, Any], now: datetime) -> bool:
    """Whether a run has been under way for too long to be waited for."""
    begun = run.get("start_time")
    return begun is not None and now - datetime.fromisoformat(begun) > HUNG


def skip(api: Api, runs: list[dict[str, Any]]) -> None:
    """Write that these runs are left out; Prefect keeps them, with the reason."""
    state = {"type": "CANCELLED", "name": "Skipped", "message": "Another run of this deployment does what was due."}
    flow_runs = {"id": {"any_": [run["id"] for run in runs]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
    api.call("POST", "/flow_runs/bulk_set_state", {"flow_runs": flow_runs, "state": state, "limit": BULK})
    logger.info("%d scheduled runs skipped: another does what was due", len(runs))
