"""What a runner that was killed left behind: runs whose process is gone, and processes that nobody watches."""

import logging
import os
from collections.abc import Iterable

import psutil

from flows.api import Api

logger = logging.getLogger(__name__)

OPEN_STATES = ("PENDING", "RUNNING", "CANCELLING")


def living() -> dict[str, int]:
    """Return the flow runs that have a process on this machine: run id -> process id."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if not any("prefect" in word for word in process.cmdline()):
                continue
            run = process.environ().get("PREFECT__FLOW_RUN_ID")
        except psutil.Error:
            continue
        if run:
            found[run] = process.pid
    return found


def left_open(api: Api, deployments: Iterable[str], states: Iterable[str] = OPEN_STATES) -> list[dict[str, str]]:
    """Return the runs of these deployments that Prefect believes to be under way, in any of `states`."""
    flow_runs = {"deployment_id": {"any_": list(deployments)}, "state": {"type": {"any_": list(states)}}}
    found = api.call("POST", "/flow_runs/filter", {"flow_runs": flow_runs, "limit": 200})
    return [{"id": str(run["id"]), "state": str(run["state_type"]), "name": str(run["name"])} for run in found]


def tidy(api: Api, suspects: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Bring each suspect without a process to its end, or to a new start if it had none; return those still alive.

    A process that outlived its runner goes on; only when a person cancels it is it ended from here.
    """
    alive = living()
    remaining = []
    for run in suspects:
        process = alive.get(run["id"])
        if process is None:
            end(api, run)
            continue
        if run["state"] == "CANCELLING":
            logger.info("run %s: cancelled by a person", run["name"])
            terminate(process)
        remaining.append(run)
    return remaining


def end(api: Api, run: dict[str, str]) -> None:
    """Write the end of a run whose process is gone; one that never began is scheduled again."""
    to = {
        "PENDING": {"type": "SCHEDULED", "message": "Its runner was gone before it began."},
        "RUNNING": {"type": "CRASHED", "message": "Its runner and its process are gone."},
        "CANCELLING": {"type": "CANCELLED", "message": "Its process is gone."},
    }[run["state"]]
    logger.warning("run %s: %s -> %s", run["name"], run["state"], to["type"])
    api.call("POST", f"/flow_runs/{run['id']}/set_state", {"state": to, "force": True})


def terminate(pid: int) -> None:
    """Ask a process to end; it may have done so already."""
    try:
        psutil.Process(pid).terminate()
    except psutil.Error:
        logger.debug("process %d is gone", pid)
