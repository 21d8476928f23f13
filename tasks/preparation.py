"""From a snapshot to the three roles of its rows: train, judge, anchor."""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np

from data.errors import BadDeclaration, OneClass, TooFewRows
from data.schema import Rows, Schema, length, take
from data.versions import DataRegistry, Snapshot
from models import metrics
from models.encoding import Encoder
from models.folder import WEIGHTS
from projects.declaration import Project
from tasks import plans
from tasks.choosing import inherited, learned
from tasks.role_files import ROLES, most_held, write_labels, write_role
from tasks.snapshot_rows import TEXT, SnapshotRows, gather

MOST_JUDGED = 200_000  # rows: an accuracy is known to a fifth of a point by then
TOGETHER = 2**16  # rows whose entities are known by name at once
SHARE_JUDGED = 4  # of the rows that may be in memory at once, one part: several models answer them at once
JUDGED_DAYS = timedelta(days=28)  # more than a bootstrap over days needs, and each day of the week alike
JUDGED_WINDOWS = 8
FEWEST = 20  # rows that train, and that judge
START = "start.safetensors"  # the weights that a network starts from, where it doesn't start from scratch


def roles(project: Project, rows: Rows) -> np.ndarray:
    """Return each row's role, as an array of the words in ROLES; "" marks an embargoed row that has none.

    Where rows are exchangeable the hash of the entity decides, so an entity keeps its role for ever. Else
    time does: the newest rows judge, as many as `judge_since` says, the label delay before them is embargoed (their
    labels weren't known when the judged period began), and whole days before that are drawn by hash as the anchor.
    Where items are ranked, the newest rows of each user judge, and the anchor is drawn from the others.
    An anchor row older than `anchor_days` has no role any more, nor has a judge or anchor row beyond those that are
    needed (`spared`); nothing ever learns from either.
    """
    return spared(project, rows, without_expired(project, rows, dealt(project, rows)))


def dealt(project: Project, rows: Rows) -> np.ndarray:
    """Return the roles by entity, by time, or by user where items are ranked, too old and too many rows among them."""
    evaluation, schema = project.evaluation, project.schema
    if schema.ranking is not None:
        found = roles_by_entity(rows[schema.key], 0.0, evaluation.anchor)
        found[newest_of_each(schema, rows, evaluation.judge)] = "judge"
        return found
    if evaluation.exchangeable:
        return roles_by_entity(rows[schema.entity_column], evaluation.judge, evaluation.anchor)
    times = rows[schema.time] if schema.time else np.arange(length(rows)).astype("datetime64[us]")
    first_judge = judge_since(project, np.sort(times))
    days, which = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    by_day = roles_by_entity(days.astype(str), 0.0, evaluation.anchor)[which]
    found = by_day if schema.time else roles_by_entity(rows[schema.entity_column], 0.0, evaluation.anchor)
    delay = project.labels.delay.total_seconds() if schema.time else 0.0  # without times nothing is known of delays
    embargo = first_judge - np.timedelta64(round(delay * 1e6), "us")
    found[(times >= embargo) & (times < first_judge)] = ""
    found[times >= first_judge] = "judge"
    return found


def newest_of_each(schema: Schema, rows: Rows, share: float) -> np.ndarray:
    """Tell which rows (N,) are the newest `share` of their user's, or, where nothing is ranked, of their entity's.

    Of each at least one is older, and rows of one time are in the order of their keys.

    Raises: BadDeclaration, without a time column.
    """
    if schema.time is None:
        raise BadDeclaration("without a time column nothing says which rows of an entity are its newest")
    owners = rows[schema.ranking.user if schema.ranking else schema.entity_column].astype(TEXT)
    order = np.lexsort((rows[schema.key].astype(TEXT), rows[schema.time], owners))
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


def spared(project: Project, rows: Rows, found: np.ndarray) -> np.ndarray:
    """Take their role from judge and anchor rows beyond the most that judging needs, or that memory holds.

    Of exchangeable rows the newest judge, which no champion has learned from. Else those stay whose entity, or key
    where time dealt the roles out, has the smallest place, of one entity the oldest: of more rows later on, those that
    stayed before are the last to go. Where labels judge, and few rows have one, these stay first. Rows of items that
    are ranked are small, and a user's belong together.
    """
    most, schema, found = min(MOST_JUDGED, max(1, most_held(project) // SHARE_JUDGED)), project.schema, found.copy()
    exchangeable = project.evaluation.exchangeable
    for role in () if schema.ranking else ("judge", "anchor"):
        of_role = np.flatnonzero(found == role)
        if len(of_role) <= most:
            continue
        newest = exchangeable and role == "judge"
        last = -of_role if newest else places_of(rows[schema.entity_column if exchangeable else schema.key][of_role])
        unlabelled = np.zeros(len(of_role), dtype=bool)
        if project.task == "anomaly" and project.evaluation.metric != metrics.ERROR:
            unlabelled = ~metrics.labelled(rows[schema.target][of_role])
        found[of_role[np.lexsort((last, unlabelled))[most:]]] = ""
    return found


def roles_by_entity(entities: np.ndarray, judge: float, anchor: float) -> np.ndarray:
    """Return roles from the SHA-256 of each entity, read as a number in [0, 1)."""
    places = places_of(entities)
    found = np.empty(len(places), dtype=object)
    found[:] = "train"  # one text: np.full makes one for each row
    found[places < anchor + judge] = "judge"
    found[places < anchor] = "anchor"
    return found


def places_of(entities: np.ndarray) -> np.ndarray:
    """Return the fixed place (N,) of each entity, hashed once for the rows of it that stand together."""
    found = np.empty(len(entities))
    for start in range(0, len(found), TOGETHER):
        named = entities[start : start + TOGETHER].tolist()
        known = {entity: place(str(entity)) for entity in set(named)}
        found[start : start + TOGETHER] = [known[entity] for entity in named]
    return found


def place(entity: str) -> float:
    """Return the entity's fixed place in [0, 1)."""
    return int.from_bytes(hashlib.sha256(entity.encode()).digest()[:8], "big") / 2**64


def prepare(
    project: Project,
    registry: DataRegistry,
    folder: Path,
    progress: Callable[[float, str], None] = lambda _share, _what: None,
) -> dict[str, int]:
    """Read `snapshot.json` and `plan.json` in `folder`, and write `prepared/`, as `deal` does.

    Returns the rows of each role.

    Raises: TooFewRows; Corrupt, without the weights that the plan names.
    """
    plan = plans.read(folder)
    project = plans.applied(project, plan)
    snapshot = Snapshot.from_json((folder / "snapshot.json").read_text())
    progress(0.0, f"{snapshot.rows:,} rows in {len(snapshot.files)} batches are restored")
    rows = gather(registry, snapshot, project.schema, folder / ".snapshot")
    return deal(project, plan, rows, roles(project, rows.known), folder, snapshot.hash, progress)


def deal(
    project: Project,
    plan: plans.Plan,
    rows: SnapshotRows,
    found: np.ndarray,
    folder: Path,
    snapshot: str,
    progress: Callable[[float, str], None] = lambda _share, _what: None,
) -> dict[str, int]:
    """Write one Parquet file a role, the encoder, and the weights to start from; return the rows of each role.

    `found`: the role of each row; of those that train only what the project's policy chooses is written. `snapshot`:
    its hash. An encoder learns from all of them that may be in memory at once, or from evenly so many.

    Raises: TooFewRows, also of a column that is newer than the batches; OneClass, Corrupt.
    """
    target = folder / "prepared"
    target.mkdir(parents=True, exist_ok=True)
    encoder, why = inherited(project, plan, folder)
    places = np.flatnonzero(found == "train")
    check_newer_columns(project, rows, places)
    kept, said = learned(project, take(rows.known, places), plan, warm=encoder is not None)
    found = found.copy()
    found[places[~kept]] = ""
    of_role = {role: np.flatnonzero(found == role) for role in ROLES}
    check(project, rows.known, of_role)
    proofs = dict[str, str]()
    for role, which in of_role.items():
        progress(len(proofs) / len(ROLES), f"{role}: {len(which):,} rows")
        proofs[role] = write_role(folder, project.schema, role, rows.pieces(which), len(which))
    write_labels(project, folder, rows.known)
    (target / START).unlink(missing_ok=True)
    start = {"from": "scratch", "why": why}
    if encoder is not None and plan.parent is not None:
        shutil.copy2(folder / plans.PARENT / WEIGHTS, target / START)
        start = {"from": f"version {plan.parent.version}", "why": ""}
    if encoder is None:
        some = rows.sample(of_role["train"], most_held(project))
        encoder = Encoder.fit(project.schema, project.features, some, project.model)
    (target / "encoder.json").write_text(json.dumps(encoder.to_json()))  # columns keep their declared order
    counts = {role: len(which) for role, which in of_role.items()}
    summary = {"snapshot": snapshot, "rows": counts, "sha256": proofs, "learned": said, "start": start}
    (target / "summary.json").write_text(json.dumps(summary, sort_keys=True))
    progress(1.0, f"{sum(counts.values()):,} rows are dealt out")
    return counts


def check_newer_columns(project: Project, rows: SnapshotRows, places: np.ndarray) -> None:
    """Refuse a column that some batch came before, where too few of the rows that may train (N,) have a value.

    Raises: TooFewRows.
    """
    for name in sorted(frozenset[str]().union(*rows.missing) & project.schema.optional):
        if (count := int(rows.given(name)[places].sum())) < FEWEST:
            raise TooFewRows(f"train rows of {project.name} with a value in {name!r}, a newer column", count, FEWEST)


def check(project: Project, known: Rows, of_role: dict[str, np.ndarray]) -> None:
    """Refuse roles that nothing can be learned from, or judged by.

    Raises: TooFewRows, OneClass.
    """
    for role in ("train", "judge"):
        if len(of_role[role]) < FEWEST:
            raise TooFewRows(f"{role} rows of {project.name}", len(of_role[role]), FEWEST)
    if project.task == "classification":
        classes = set(known[project.schema.target][of_role["train"]].tolist())
        if len(classes) < 2:
            raise OneClass(f"the rows that train {project.name}", classes)
