"""Several ways to learn, tried on earlier rows: the best one trains, and it alone meets the rows that judge.

The best of several equal models on the rows that judge looks better than it is: of 8, it passes for better than the
champion in 1 of 5 to 1 of 3 cases, as alike as they are, where 1 of 20 is promised. So a part is cut off the training
rows, each contestant learns from the rest, and is scored on that part; the winner then learns from all of them (Cawley
and Talbot 2010, On Over-fitting in Model Selection, JMLR 11).
"""

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import BadDeclaration, OutOfMemory, TooFewRows
from data.schema import Rows, take
from data.versions import Snapshot
from models.declarations import Device, Training
from models.metrics import HIGHER_IS_BETTER
from models.metrics import value as metric_value
from models.predictor import read_version
from projects.declaration import Project
from projects.discovery import file_of
from tasks import plans
from tasks.comparison import unlearned
from tasks.evaluation import scored
from tasks.fitting import fit
from tasks.lineage import lineage_of
from tasks.preparation import deal, newest_of_each, place, roles, spared
from tasks.reports import Report
from tasks.resources import Resources
from tasks.role_files import read_role
from tasks.snapshot_rows import SnapshotRows, gather

logger = logging.getLogger(__name__)

SHARE = 0.2  # of the training rows, on which contestants are scored
FEWEST = 20  # of them
STANDARD: tuple[Mapping[str, Any], ...] = (
    {"rows": "sliding"},
    {"rows": "since_drift"},
    {"start": "champion"},
    {"rows": "since_drift", "start": "champion"},
)
"""What is tried where a project names no contestants."""
DECLARED = "as declared"
SCORE = "score.json"
Progress = Callable[[float, str], None]


def entered(project: Project) -> Project:
    """Return a project with contestants: its own, or the standard ones."""
    if project.training.tournament:
        return project
    return dataclasses.replace(project, training=dataclasses.replace(project.training, tournament=STANDARD))


def hold(
    resources: Resources, project: Project, folder: Path, intent: int | None, *, device: Device, progress: Progress
) -> Report:
    """Try every contestant on the snapshot in `folder`, and write the winner's changes into the plan there.

    Killed and called again it goes on with the contestant it was at. Where there are too few rows to select by, the
    declared settings train.

    Raises: as a training does; BadDeclaration when no contestant could be trained.
    """
    contestants = [project.training, *(project.training.changed(changes) for changes in project.training.tournament)]
    plan = plans.lay(resources, project, folder, intent, warm=any(one.start == "champion" for one in contestants))
    if plan.tournament:
        return told(plan, project.evaluation.metric)
    snapshot = Snapshot.from_json((folder / "snapshot.json").read_text())
    rows = gather(resources.batches, snapshot, project.schema, folder / ".snapshot")
    found, unfair = contested(resources, project, plan, rows.known)
    every = ({}, *project.training.tournament)
    table = []
    for number, changes in enumerate(every):
        own = dataclasses.replace(plan, changes=changes)
        where = folder.parent / f"contestant-{number}"

        def tell(share: float, what: str, number: int = number) -> None:
            progress((number + share) / len(every), f"contestant {number + 1} of {len(every)}: {what}")

        try:
            entry = barred(project, own, unfair) or tried(
                resources, project, own, rows, found, where, device=device, progress=tell, parent=folder
            )
        except TooFewRows as error:
            plans.write(folder, dataclasses.replace(plan, parent=parent_for(project.training, plan)))
            return Report(f"no tournament: {error}; the declared settings train")
        table.append(entry)
    won = best(project.evaluation.metric, [entry["value"] for entry in table])
    table[won]["won"] = True
    chosen = project.training.changed(every[won])
    parent = parent_for(chosen, plan)
    plan = dataclasses.replace(plan, changes=dict(every[won]), parent=parent, tournament=tuple(table))
    plans.write(folder, plan)
    return told(plan, project.evaluation.metric)


def parent_for(training: Training, plan: plans.Plan) -> plans.Parent | None:
    """Return the parent of a plan where the training starts from one."""
    return plan.parent if training.start == "champion" else None


def tried(
    resources: Resources,
    project: Project,
    plan: plans.Plan,
    rows: SnapshotRows,
    found: np.ndarray,
    folder: Path,
    *,
    device: Device,
    progress: Progress,
    parent: Path,
) -> dict[str, Any]:
    """Train one contestant and score it on the selection rows; one that can't be trained has no value, and says why.

    Raises: TooFewRows.
    """
    score = folder / SCORE
    if score.exists():
        return dict(json.loads(score.read_text()))
    started = time.monotonic()
    entry, changed = blank(plan), plans.applied(project, plan)
    plans.write(folder, plan)
    if plan.parent is not None:
        shutil.copytree(parent / plans.PARENT, folder / plans.PARENT, dirs_exist_ok=True)
    entry["rows"] = deal(changed, plan, rows, found, folder, "")["judge"]
    try:
        fit(changed, folder, device=device, progress=progress, threads=resources.settings.threads)
        predictor = read_version(folder / "model", features=project.features, project=file_of(project))
    except (BadDeclaration, OutOfMemory) as error:
        entry["why"] = str(error)
    else:
        metric = project.evaluation.metric
        parts = scored(project, predictor, read_role(folder, project.schema, "judge")).parts(metric)
        value = metric_value(metric, parts)
        entry["value"] = value if np.isfinite(value) else None
    entry["seconds"] = round(time.monotonic() - started, 1)
    score.write_text(json.dumps(entry))
    return entry


def contested(resources: Resources, project: Project, plan: plans.Plan, rows: Rows) -> tuple[np.ndarray, int | None]:
    """Return the roles of a tournament, and what `fair` says of them; no more rows select than may judge."""
    found, unfair = fair(resources, project, plan, rows, selection(project, rows, roles(project, rows)))
    return spared(project, rows, found), unfair


def selection(project: Project, rows: Rows, found: np.ndarray) -> np.ndarray:
    """Return other roles: of the rows that train, some judge instead; those that judge, or are the anchor, have none.

    By the hash of their entity where rows are exchangeable, but another hash than that which deals out the roles; else
    the newest, with the label delay before them left out.
    """
    schema, places = project.schema, np.flatnonzero(found == "train")
    dealt = np.empty(len(found), dtype=object)
    dealt[:] = ""
    dealt[places] = "train"
    if schema.ranking is not None:
        dealt[places[newest_of_each(schema, take(rows, places), SHARE)]] = "judge"
        return dealt
    if project.evaluation.exchangeable:
        entities = rows[schema.entity_column][places]
        known = {entity: place(f"select/{entity}") < SHARE for entity in set(entities.tolist())}
        dealt[places[[known[entity] for entity in entities.tolist()]]] = "judge"
        return dealt
    times = rows[schema.time][places] if schema.time else np.arange(len(places)).astype("datetime64[us]")
    if not len(times):
        return dealt
    first = np.sort(times)[int(len(times) * (1 - SHARE))]
    delay = project.labels.delay.total_seconds() if schema.time else 0.0
    dealt[places[times >= first - np.timedelta64(round(delay * 1e6), "us")]] = ""
    dealt[places[times >= first]] = "judge"
    return dealt


def fair(
    resources: Resources, project: Project, plan: plans.Plan, rows: Rows, dealt: np.ndarray
) -> tuple[np.ndarray, int | None]:
    """Leave those rows out of the selection that the parent learned from, which its weights know already.

    Returns the roles; and where too few would be left, the roles as they were and how many, so that nothing that
    starts from its weights may compete.
    """
    if plan.parent is None:
        return dealt, None
    past = resources.store.ledger.generations(project.name)
    served = next(one for one in reversed(past) if one.version == plan.parent.version)
    lineage = partial(lineage_of, resources, project, served)
    if project.evaluation.exchangeable:
        new = ~lineage().knew(rows[project.schema.key])
    else:
        new = unlearned(project, served, rows, lineage)
    left = np.where((dealt == "judge") & ~new, "", dealt).astype(object)
    count = int((left == "judge").sum())
    return (dealt, count) if count < FEWEST else (left, None)


def barred(project: Project, plan: plans.Plan, unfair: int | None) -> dict[str, Any] | None:
    """Return the entry of a contestant that may not compete, since the rows that select are known to its weights.

    Raises: TooFewRows, the declared settings are that contestant.
    """
    if unfair is None or plan.parent is None or plans.applied(project, plan).training.start != "champion":
        return None
    what = f"rows of {project.name} that select and that version {plan.parent.version} did not learn from"
    if not plan.changes:
        raise TooFewRows(what, unfair, FEWEST)
    return {**blank(plan), "why": str(TooFewRows(what, unfair, FEWEST))}


def blank(plan: plans.Plan) -> dict[str, Any]:
    """Return a contestant's line of the table before it has competed."""
    return {"contestant": named(plan.changes), "value": None, "rows": 0, "seconds": 0.0, "won": False}


def best(metric: str, values: Sequence[float | None]) -> int:
    """Return the place of the best value, the first of equal ones; a contestant without a value never wins.

    Raises: BadDeclaration, none has one.
    """
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    known = {place: sign * value for place, value in enumerate(values) if value is not None}
    if not known:
        raise BadDeclaration("no contestant of the tournament could be trained")
    return max(known, key=lambda place: (known[place], -place))


def named(changes: Mapping[str, Any]) -> str:
    """Name a contestant by what it changes."""
    return ", ".join(f"{name}={value}" for name, value in changes.items()) or DECLARED


def told(plan: plans.Plan, metric: str) -> Report:
    """Say who won, by how much over the declared settings."""
    won = next(entry for entry in plan.tournament if entry["won"])
    declared = plan.tournament[0]["value"]
    beside = "" if won is plan.tournament[0] or declared is None else f", {DECLARED} {declared:.4g}"
    said = (
        f"of {len(plan.tournament)} contestants '{won['contestant']}' is best: {metric} {won['value']:.4g}{beside}, "
        f"on {won['rows']:,} earlier rows; it alone meets the rows that judge"
    )
    return Report(said, table=[dict(entry) for entry in plan.tournament])
