"""What runs in a home, and what serves."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import HoldfastError
from holdfast.console import duration, say, table
from holdfast.processes import Identity
from holdfast.record import Stack, running
from tasks.settings import Settings

BEATING = ("runner", "keeper")  # they write HOME/run/<name>.ready again and again
SILENT = 60.0  # seconds without a heartbeat after which a process is called silent


@dataclass(frozen=True)
class Status:
    """A home at one moment. `broken` holds project files that fail to import, with the line and the reason."""

    home: str
    up: bool
    ready: bool
    uptime_seconds: float | None
    urls: dict[str, str]
    processes: list[dict[str, Any]] = field(default_factory=list)
    champions: list[dict[str, Any]] = field(default_factory=list)
    broken: dict[str, Any] = field(default_factory=dict)
    keys: str = ""


def look(settings: Settings) -> Status:
    """Gather the status of a home; nothing is started or made."""
    stack = running(settings.home)
    return Status(
        home=str(settings.home),
        up=stack is not None,
        ready=stack is not None and stack.ready,
        uptime_seconds=time.time() - stack.started if stack else None,
        urls=stack.urls if stack else {},
        processes=processes(stack) if stack else [],
        champions=champions(settings),
        broken=broken(settings.home) if stack else {},
        keys=who_may_ask(settings) if stack else "",
    )


def processes(stack: Stack) -> list[dict[str, Any]]:
    """Return one row a process; those of servers that the user runs are named, not counted."""
    rows = []
    for name, one in stack.processes.items():
        pid, created = one["pid"], one["created"]
        alive = bool(pid) and Identity(pid, created).alive
        state = one["state"] if alive or one["state"] in {"waiting", "failing"} else "died"
        if state == "ready" and name in BEATING and silent(Path(stack.home) / "run" / f"{name}.ready"):
            state = "silent"
        rows.append(
            {
                "process": name,
                "state": state,
                "pid": pid if alive else None,
                "uptime": duration(time.time() - created) if alive else None,
                "restarts": one["restarts"],
                "url": stack.urls.get(name),
                "reason": one["reason"] or None,
            }
        )
    external = [name for name in ("prefect", "mlflow") if name not in stack.processes]
    empty = dict.fromkeys(("pid", "uptime", "restarts"))
    return rows + [
        {"process": name, "state": "yours", **empty, "url": stack.urls[name], "reason": None} for name in external
    ]


def silent(heartbeat: Path) -> bool:
    """Tell whether a process that keeps a heartbeat has stopped doing so."""
    return heartbeat.exists() and time.time() - heartbeat.stat().st_mtime > SILENT


def champions(settings: Settings) -> list[dict[str, Any]]:
    """Return what serves, a row a project, if there is a store."""
    if not settings.database_url and not (settings.home / "holdfast.db").exists():
        return []
    from monitoring.store import open_store

    store = open_store(settings.store_url)
    rows = []
    for name in sorted({*store.ledger.projects(), *store.ledger.judged()}):
        serving = store.ledger.generation(name)
        waiting = [one.version for one in store.approvals.open_ones(name)]
        rows.append(
            {
                "project": name,
                "version": serving.version if serving else None,
                "generation": serving.number if serving else None,
                "since": f"{serving.at:%Y-%m-%d %H:%M} UTC" if serving else None,
                "open_incidents": len(store.incidents.open_ones(name)),
                "waits": f"version {', version '.join(waiting)}, for a person: `holdfast approvals`"
                if waiting
                else None,
            }
        )
    store.close()
    return rows


def who_may_ask(settings: Settings) -> str:
    """Say whether the stack's service needs an API key."""
    from monitoring.store import open_store
    from serving.keys import ADD, loopback

    try:
        store = open_store(settings.store_url)
        clients = store.clients.all()
        store.close()
    except HoldfastError as error:
        return f"not known: {error}"
    live = sum(one.revoked_at is None for one in clients)
    if live:
        return f"{live} in use: the service answers whoever has one"
    if clients or not loopback(settings.host):
        return f"none, so the service answers nobody: `{ADD}` makes one"
    return f"none, so the service answers anybody on this machine: `{ADD}` ends that"


def broken(home: Path) -> dict[str, Any]:
    """Return the project files that the runner could not import."""
    try:
        found = json.loads((home / "run" / "broken.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def show(status: Status) -> None:
    """Print a status for people."""
    if not status.up:
        say(f"{status.home}: not up; start it with `holdfast up`")
    else:
        word = "ready" if status.ready else "not ready"
        say(f"{status.home}: {word}, up for {duration(status.uptime_seconds or 0)}")
        table(status.processes)
        say(f"API keys: {status.keys}")
    table(status.champions)
    for name, why in status.broken.items():
        say(f"project {name} is disabled: {why.get('where')}: {why.get('why')}")
