"""From a snapshot to the three roles of its rows: train, judge, anchor."""

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np

from data.batches import digests, read_batch, write_batch
from data.errors import BadDeclaration, OneClass, TooFewRows
from data.schema import Rows, Schema, concatenate, length, take
from data.versions import DataRegistry, Snapshot
from models.encoding import Encoder
from models.folder import WEIGHTS
from projects.declaration import Project
from tasks import plans
from tasks.choosing import BATCH, inherited, learned

__all__ = ["BATCH", "START", "prepare", "roles"]

ROLES = ("train", "judge", "anchor")
JUDGED_DAYS = timedelta(days=28)  # more than a bootstrap over days needs, and each day of the week alike
JUDGED_WINDOWS = 8
START = "start.safetensors"  # the weights that a network starts from, where it doesn't start from scratch


def roles(project: Project, rows: Rows) -> np.ndarray:
    """Return each row's role, as an array of the words in ROLES; "" marks an embargoed row that has none.

    Where rows are exchangeable the hash of the entity decides, so an entity keeps its role for ever. Else
    time does: the newest rows judge, as many as `judge_since` says, the label delay before them is embargoed (their
    labels weren't known when the judged period began), and whole days before that are drawn by hash as the anchor.
    Where items are ranked, the newest rows of each user judge, and the anchor is drawn from the others.
    An anchor row older than `anchor_days` has no role any more; nothing ever learns from it.
    """
    evaluation, schema = project.evaluation, project.schema
    if schema.ranking is not None:
        found = roles_by_entity(rows[schema.key], 0.0, evaluation.anchor)
        found[newest_of_each(schema, rows, evaluation.judge)] = "judge"
        return without_expired(project, rows, found)
    if evaluation.exchangeable:
        found = roles_by_entity(rows[schema.entity_column], evaluation.judge, evaluation.anchor)
        return without_expired(project, rows, found)
    times = rows[schema.time] if schema.time else np.arange(length(rows)).astype("datetime64[us]")
    first_judge = judge_since(project, np.sort(times))
    days = times.astype("datetime64[D]").astype(str)
    found = roles_by_entity(days if schema.time else rows[schema.entity_column], 0.0, evaluation.anchor)
    delay = project.labels.delay.total_seconds() if schema.time else 0.0  # without times nothing is known of delays
    embargo = first_judge - np.timedelta64(round(delay * 1e6), "us")
    found[(times >= embargo) & (times < first_judge)] = ""
    found[times >= first_judge] = "judge"
    return without_expired(project, rows, found)


def newest_of_each(schema: Schema, rows: Rows, share: float) -> np.ndarray:
    """Tell which rows (N,) are the newest `share` of their user's, or, where nothing is ranked, of their entity's.

    Of each at least one is older, and rows of one time are in the order of their keys.

    Raises: BadDeclaration, without a time column.
    """
    if schema.time is None:
        raise BadDeclaration("without a time column nothing says which rows of an entity are its newest")
    owners = rows[schema.ranking.user if schema.ranking else schema.entity_column].astype(str)
    order = np.lexsort((rows[schema.key].astype(str), rows[schema.time], owners))
    _, first, counts = np.unique(owners[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, counts)
    found = np.zeros(len(order), dtype=bool)
    found[order] = place >= np.ceil(np.repeat(counts, counts) * (1 - share))
    return found


def judge_since(project: Project, times: np.ndarray) -> np.datetime64:
    """Return from when on rows judge, of sorted times (N,): the share's, but no longer ago than judging needs.

    Judging needs `judge_rows` to show a gain, `JUDGED_DAYS` to say how much days differ, and `JUDGED_WINDOWS` to say
    how much a monitor's windows do; the longest of the three is left of a long history.
    """
    evaluation, window, newest = project.evaluation, project.monitors.window, times[-1]
    shared: np.datetime64 = times[int(len(times) * (1 - evaluation.judge))]
    if project.schema.time is None:
        return shared
    rows = max(evaluation.judge_rows, JUDGED_WINDOWS * (window.rows or 0))
    span = max(JUDGED_DAYS, JUDGED_WINDOWS * (window.span or timedelta(0)))
    needed = min(times[max(len(times) - rows, 0)], newest - np.timedelta64(span))
    since: np.datetime64 = max(shared, needed)
    return since


def without_expired(project: Project, rows: Rows, found: np.ndarray) -> np.ndarray:
    """Take their role from anchor rows that are too old, by the newest row's time."""
    days, time = project.evaluation.anchor_days, project.schema.time
    if days is None or time is None or not len(found):
        return found
    expired = rows[time] < rows[time].max() - np.timedelta64(days, "D")
    return np.where((found == "anchor") & expired, "", found).astype(object)


def roles_by_entity(entities: np.ndarray, judge: float, anchor: float) -> np.ndarray:
    """Return roles from the SHA-256 of each entity, read as a number in [0, 1)."""
    known = {entity: place(str(entity)) for entity in set(entities.tolist())}
    places = np.array([known[entity] for entity in entities.tolist()])
    return np.select([places < anchor, places < anchor + judge], ["anchor", "judge"], "train").astype(object)


def place(entity: str) -> float:
    """Return the entity's fixed place in [0, 1)."""
    return int.from_bytes(hashlib.sha256(entity.encode()).digest()[:8], "big") / 2**64


def gather(registry: DataRegistry, snapshot: Snapshot, schema: Schema, cache: Path) -> Rows:
    """Restore a snapshot, each file checked by its hash, and return its rows with the batch each came from.

    A key that stands in several batches counts once, as its newest batch (by name) has it.
    """
    paths = registry.restore(snapshot, cache)
    parts = []
    for path in sorted(paths):
        part = read_batch(path, schema)
        parts.append({**part, BATCH: np.full(length(part), path.stem, dtype=object)})
    return newest_of_each_key(concatenate(parts), schema)


def newest_of_each_key(rows: Rows, schema: Schema) -> Rows:
    """Return rows without those whose key comes again later on, oldest first where they have a time."""
    keys = rows[schema.key]
    _, last = np.unique(keys[::-1].astype(str), return_index=True)
    kept = take(rows, np.sort(len(keys) - 1 - last))
    if schema.time is None:
        return kept
    return take(kept, np.lexsort((kept[schema.key].astype(str), kept[schema.time])))


def prepare(project: Project, registry: DataRegistry, folder: Path) -> dict[str, int]:
    """Read `snapshot.json` and `plan.json` in `folder`, and write `prepared/`, as `deal` does.

    Returns the rows of each role.

    Raises: TooFewRows; Corrupt, without the weights that the plan names.
    """
    plan = plans.read(folder)
    project = plans.applied(project, plan)
    snapshot = Snapshot.from_json((folder / "snapshot.json").read_text())
    rows = gather(registry, snapshot, project.schema, folder / ".snapshot")
    return deal(project, plan, rows, roles(project, rows), folder, snapshot.hash)


def deal(
    project: Project, plan: plans.Plan, rows: Rows, found: np.ndarray, folder: Path, snapshot: str
) -> dict[str, int]:
    """Write one Parquet file a role, the encoder, and the weights to start from; return the rows of each role.

    `found`: the role of each row; of those that train only what the project's policy chooses is written. `snapshot`:
    its hash.

    Raises: TooFewRows, OneClass, Corrupt.
    """
    target = folder / "prepared"
    target.mkdir(parents=True, exist_ok=True)
    encoder, why = inherited(project, plan, folder)
    places = np.flatnonzero(found == "train")
    kept, said = learned(project, take(rows, places), plan, warm=encoder is not None)
    found = found.copy()
    found[places[~kept]] = ""
    counts = {role: int((found == role).sum()) for role in ROLES}
    for role, minimum in (("train", 20), ("judge", 20)):
        if counts[role] < minimum:
            raise TooFewRows(f"{role} rows of {project.name}", counts[role], minimum)
    known = set(rows[project.schema.target][found == "train"].tolist()) if project.task == "classification" else None
    if known is not None and len(known) < 2:
        raise OneClass(f"the rows that train {project.name}", known)
    for role in ROLES:
        write_role(folder, project.schema, role, take(rows, found == role))
    train = take(rows, found == "train")
    (target / START).unlink(missing_ok=True)
    start = {"from": "scratch", "why": why}
    if encoder is not None and plan.parent is not None:
        shutil.copy2(folder / plans.PARENT / WEIGHTS, target / START)
        start = {"from": f"version {plan.parent.version}", "why": ""}
    encoder = encoder or Encoder.fit(project.schema, project.features, train, project.model)
    (target / "encoder.json").write_text(json.dumps(encoder.to_json()))  # columns keep their declared order
    proofs = {role: rows_sha256(take(rows, found == role), project.schema) for role in ROLES}
    summary = {"snapshot": snapshot, "rows": counts, "sha256": proofs, "learned": said, "start": start}
    (target / "summary.json").write_text(json.dumps(summary, sort_keys=True))
    return counts


def rows_sha256(rows: Rows, schema: Schema) -> str:
    """Hash rows as they are learned from, in their order; the same in every file format."""
    return hashlib.sha256(json.dumps(digests(rows, schema)).encode()).hexdigest()


def write_role(folder: Path, schema: Schema, role: str, rows: Rows) -> None:
    """Write a role's rows and, beside them, the batch each came from."""
    write_batch(folder / "prepared" / f"{role}.parquet", rows, schema)
    (folder / "prepared" / f"{role}.origins.json").write_text(json.dumps(rows[BATCH].tolist()))


def read_role(folder: Path, schema: Schema, role: str) -> Rows:
    """Return a prepared role's rows, with the batch each came from under `BATCH`."""
    rows = read_batch(folder / "prepared" / f"{role}.parquet", schema)
    origins = json.loads((folder / "prepared" / f"{role}.origins.json").read_text())
    return {**rows, BATCH: np.array(origins, dtype=object)}
