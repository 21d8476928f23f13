"""Which of the training rows a network learns from, and whether it starts from the champion's weights."""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import numpy as np

from data.errors import Corrupt
from data.schema import Rows, length
from data.sources import TRAFFIC
from models.encoding import Encoder
from models.folder import PREDICTOR
from projects.declaration import Project
from tasks.plans import PARENT, Plan, wrong
from tasks.snapshot_rows import BATCH


def learned(project: Project, train: Rows, plan: Plan, *, warm: bool) -> tuple[np.ndarray, str]:
    """Tell which training rows, oldest first, are learned from, as a mask, and say so.

    `warm`: the weights are the champion's, and older rows are replayed, so that what was known is not forgotten
    (Robins 1995; Rolnick et al. 2019, Experience Replay for Continual Learning, arXiv:1811.11682).
    """
    training, count = project.training, length(train)
    if training.rows == "all":
        return np.ones(count, dtype=bool), f"all {count:,} rows"
    taken = np.arange(count) >= count - training.newest
    said = f"the newest {int(taken.sum()):,} of {count:,} rows"
    if training.rows == "since_drift":
        if plan.since is None:
            return np.ones(count, dtype=bool), f"all {count:,} rows: no drift is on record"
        since = came_since(project, train, plan.since)
        said = f"{int(since.sum()):,} of {count:,} rows, those since {plan.since:%Y-%m-%d %H:%M} UTC"
        if since.sum() < taken.sum():
            said += f", topped up to the newest {int(taken.sum()):,}"
        taken = since if since.sum() >= taken.sum() else taken
    if warm and training.replay:
        older = replayed(train[project.schema.key], ~taken, taken.sum() * training.replay / (1 - training.replay))
        said += f", and {int(older.sum()):,} older ones"
        taken = taken | older
    return taken, said


def came_since(project: Project, train: Rows, since: datetime) -> np.ndarray:
    """Tell which rows are of that time or later: by their own time, else by when their batch of traffic landed."""
    if project.schema.time:
        return np.asarray(train[project.schema.time] >= np.datetime64(since.replace(tzinfo=None)))
    first = f"{TRAFFIC}{since:%Y%m%dT%H%M%S}"
    return np.array([str(batch).startswith(TRAFFIC) and str(batch) >= first for batch in train[BATCH]], dtype=bool)


def replayed(keys: np.ndarray, among: np.ndarray, wanted: float) -> np.ndarray:
    """Draw about so many of the rows in a mask, by the hash of their keys, so that the same ones come each time."""
    places = np.flatnonzero(among)
    named = (hashlib.sha256(f"replay/{key}".encode()).digest()[:8] for key in keys[places].tolist())
    hashed = np.fromiter((int.from_bytes(one, "big") for one in named), np.uint64, len(places))
    found = np.zeros(len(keys), dtype=bool)
    found[places[np.argsort(hashed, kind="stable")[: round(wanted)]]] = True
    return found


def inherited(project: Project, plan: Plan, folder: Path) -> tuple[Encoder | None, str]:
    """Return the champion's encoder where its weights are started from; else none, and why.

    Weights mean something only with the encoder that they were learned with, so that one is kept as it is.

    Raises: Corrupt, the files beside the plan are not those on record.
    """
    if project.training.start != "champion":
        return None, ""
    if plan.parent is None:
        return None, plan.why or "no champion is on record"
    version = plan.parent.version
    if bad := wrong(plan.parent, folder / PARENT):
        what = f"{bad} of version {version}, whose weights this one starts from"
        raise Corrupt(what, plan.parent.sha256[bad], "something else")
    stored = json.loads((folder / PARENT / PREDICTOR).read_text())["encoder"]
    try:
        encoder = Encoder.from_json(stored, project.features)
    except Corrupt:
        return None, f"the feature code is not that of version {version}"
    code = project.features is not None
    if encoder.schema.to_json() != project.schema.to_json() or (encoder.code_sha256 is not None) != code:
        return None, f"the schema is not that of version {version}"
    return encoder, ""


def chosen(folder: Path) -> str:
    """Say what is not as usual: which of the training rows are learned from, and what the network starts from."""
    known = json.loads((folder / "prepared" / "summary.json").read_text())
    start, why = known["start"]["from"], known["start"]["why"]
    said = "" if known["learned"].startswith("all") else f"learns from {known['learned']}; "
    return said + (f"starts from {start}{f', for {why}' if why else ''}; " if start != "scratch" or why else "")
