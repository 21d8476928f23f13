"""What a training adds to its project file: since when the world is another, whose weights it starts from, who won.

`plan.json` stands beside `snapshot.json` and is an input of the steps like it; its hash, and that of the weights, are
on record, so that a version can be made again. Weights wait in `.parent/`, proved by the hash in the plan, as data does
in `.snapshot/`.
"""

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from data.errors import Corrupt, HoldfastError, ServerUnavailable
from models.folder import PREDICTOR, WEIGHTS, file_sha256, read_manifest, verified
from monitoring.records import Generation, Incident
from projects.declaration import Project
from tasks.resources import Resources

logger = logging.getLogger(__name__)

PLAN, PARENT = "plan.json", ".parent"
PARTS = (WEIGHTS, PREDICTOR)  # of the parent's version: what it knows, and how it encodes
RECENT = 50  # incidents looked through for the newest drift


@dataclass(frozen=True)
class Parent:
    """The version that a training starts from. `sha256`: of its weights and of its predictor.json, by name."""

    version: str
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """What a training does beside what its project declares.

    `since`: the start of the first drifted window, UTC; `parent`: none, and `why`, where it starts from scratch;
    `changes`: to the declared settings, by the tournament whose contestants stand in `tournament`.
    """

    since: datetime | None = None
    parent: Parent | None = None
    why: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    tournament: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> str:
        """Return the text of `plan.json`."""
        since = self.since.isoformat() if self.since else None
        return json.dumps({**dataclasses.asdict(self), "since": since}, indent=1, sort_keys=True) + "\n"


def read(folder: Path) -> Plan:
    """Return the plan in a folder; without one, an empty plan.

    Raises: Corrupt.
    """
    path = folder / PLAN
    if not path.exists():
        return Plan()
    try:
        found = json.loads(path.read_text())
        parent = found["parent"] and Parent(found["parent"]["version"], found["parent"]["sha256"])
        since = datetime.fromisoformat(found["since"]) if found["since"] else None
        return Plan(since, parent, found["why"], found["changes"], tuple(found["tournament"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(str(path), "a plan", f"{type(error).__name__} {error}") from error


def write(folder: Path, plan: Plan) -> None:
    """Replace the plan in a folder as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{PLAN}.part"
    half.write_text(plan.to_json())
    half.replace(folder / PLAN)


def ensure(folder: Path) -> None:
    """Give a folder an empty plan unless it has one: what a pipeline starts from by itself."""
    if not (folder / PLAN).exists():
        write(folder, Plan())


def applied(project: Project, plan: Plan) -> Project:
    """Return a project as a plan trains it."""
    if not plan.changes:
        return project
    return dataclasses.replace(project, training=project.training.changed(plan.changes))


def lay(resources: Resources, project: Project, folder: Path, intent: int | None, *, warm: bool | None = None) -> Plan:
    """Write a run's plan unless it stands, with the weights it starts from beside it; return it.

    `warm`: whether the champion's weights are asked for; as the project says, unless given.

    Raises: ServerUnavailable.
    """
    if not (folder / PLAN).exists():
        serving = resources.store.ledger.generation(project.name)
        parent, why = None, "" if serving else "nothing serves yet"
        if serving and (project.training.start == "champion" if warm is None else warm):
            parent, why = parent_of(resources, serving, folder)
        write(folder, Plan(drifted_since(resources, project.name, intent), parent, why))
    plan = read(folder)
    furnish(resources, project.name, plan, folder)
    return plan


def parent_of(resources: Resources, serving: Generation, folder: Path) -> tuple[Parent | None, str]:
    """Return the champion as a parent; where it can't be had, none, and why.

    Raises: ServerUnavailable.
    """
    try:
        with whole(resources, serving, folder) as found:
            hashes = read_manifest(found, serving.manifest_sha256)
    except ServerUnavailable:
        raise
    except HoldfastError as error:
        return None, f"version {serving.version} can't be had: {' '.join(str(error).split())}"
    return Parent(serving.version, {name: hashes[name]["sha256"] for name in PARTS}), ""


@contextmanager
def whole(resources: Resources, served: Generation, folder: Path) -> Iterator[Path]:
    """Give the verified files of a version that served: the keeper's, else the registry's while this lasts.

    Raises: Corrupt, NoSuchVersion, ServerUnavailable.
    """
    kept = resources.settings.home / "generations" / served.project / str(served.number)
    try:
        verified(kept, served.manifest_sha256)
    except (Corrupt, OSError):
        scratch = folder / f"{PARENT}-whole"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            found = resources.models.download(served.project, served.version, scratch)
            verified(found, served.manifest_sha256)
            yield found
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    else:
        yield kept


def furnish(resources: Resources, name: str, plan: Plan, folder: Path) -> None:
    """Put the parent's files in place, each with the hash on record; those that are right stay.

    Raises: Corrupt, naming the version; NoSuchVersion, ServerUnavailable.
    """
    parent, target = plan.parent, folder / PARENT
    if parent is None or not wrong(parent, target):
        return
    past = resources.store.ledger.generations(name)
    served = next((one for one in reversed(past) if one.version == parent.version), None)
    if served is None:
        raise Corrupt(f"version {parent.version}, whose weights this one started from", "a version that served", "none")
    with whole(resources, served, folder) as found:
        place(parent, found, target)


def place(parent: Parent, found: Path, target: Path) -> None:
    """Copy what a training starts from out of a version's folder.

    Raises: Corrupt, naming the version.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        if (found / name).exists():
            shutil.copy2(found / name, target / name)
    if bad := wrong(parent, target):
        what = f"{bad} of version {parent.version}, whose weights this one started from"
        here = file_sha256(target / bad) if (target / bad).exists() else "nothing"
        raise Corrupt(what, parent.sha256[bad], here)


def wrong(parent: Parent, target: Path) -> str:
    """Name the first of the parent's files that is not there as recorded; nothing where all are."""
    for name in PARTS:
        if not (target / name).exists() or file_sha256(target / name) != parent.sha256[name]:
            return name
    return ""


def drifted_since(resources: Resources, name: str, intent: int | None) -> datetime | None:
    """Return when the first drifted window began of the drift that a run answers, else of the newest there was."""
    promise = resources.store.intents.get(intent) if intent is not None else None
    incident = resources.store.incidents.get(promise.incident_id) if promise and promise.incident_id else None
    if incident is None or incident.kind not in ("drift", "degraded"):
        known = resources.store.incidents.recent(name, RECENT)
        drifts = [one for one in known if one.kind in ("drift", "degraded") and one.declared_by is None]
        incident = max(drifts, key=lambda one: one.id, default=None)
    return None if incident is None else first_window(resources, incident)


def first_window(resources: Resources, incident: Incident) -> datetime:
    """Return the start of an incident's first bad window; when it was opened, where none is known."""
    windows = incident.detail.get("windows") or []
    index = incident.first_window if incident.first_window is not None else min(windows, default=None)
    if index is None:
        return incident.opened_at
    judged = resources.store.verdicts.windows(incident.project, incident.generation, first=index)
    return min([window.start for window in judged if window.index == index], default=incident.opened_at)
