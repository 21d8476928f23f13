"""The reference of a version that is about to serve: the rows it was judged to fit, and the newest it learned from."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from data.descriptors import described
from data.schema import ArrayColumn, Rows, Schema, Text, length, take
from data.versions import Snapshot
from models.importance import importance
from models.predictor import Predictor
from monitoring import projections, reference, stored_reference
from monitoring.budget import QUARTER
from monitoring.calibration import calibration_for
from monitoring.held_out import keep
from monitoring.projections import Projection
from projects.declaration import Project
from tasks.auditing import representative
from tasks.comparison import newest_window_rows, without_origin
from tasks.evaluation import telling
from tasks.observing import embedded, utc
from tasks.preparation import SHARE_JUDGED, dealt, roles, roles_by_entity
from tasks.resources import Resources
from tasks.role_files import most_held
from tasks.snapshot_rows import SnapshotRows, among, gather

ENOUGH_ROWS = 1000
ENOUGH_WINDOWS = 12
ENOUGH_TIME = timedelta(weeks=8)


def build_reference(
    resources: Resources, project: Project, predictor: Predictor, snapshot: Snapshot, scratch: Path
) -> tuple[bytes, datetime | None]:
    """Return the reference as the store keeps it, and the newest row time the version learned from.

    Outputs are referenced on rows held out from it only: a network is surer of rows it has seen.
    """
    stored = gather(resources.batches, snapshot, project.schema, scratch / "snapshot")
    rows = stored.known
    role = roles_of(project, rows)
    cut = learned_until(project.schema, rows, role)
    # rows in time order have their roles by time: the snapshot's newest rows are the traffic's, and all held out
    exchangeable = project.evaluation.exchangeable
    traffic = newest_window_rows(resources, project, ("train", "judge", "anchor")) if exchangeable else None
    recent = traffic is not None and learned_from(project.schema, rows, traffic)
    unknown: list[str] = []  # columns that rows referred to came before
    if traffic is not None and recent and length(traffic) >= reference.MINIMUM:
        entities = traffic[project.schema.entity_column]
        share = project.evaluation
        held_out = np.isin(roles_by_entity(entities, share.judge, share.anchor).astype(str), ("judge", "anchor"))
        chosen, origin = traffic, f"the labelled rows of the newest {project.monitors.n} windows, which it learned from"
    else:
        which, unknown = referred(project, stored, role)
        chosen, held_out = without_origin(stored.take(which)), role[which] == "judge"
        judged = int(held_out.sum())
        origin = f"{judged:,} that judged it, and the newest {len(which) - judged:,} that it learned from"
        origin += f"; {', '.join(unknown)} not watched yet, since too many of them came before it" if unknown else ""
    outputs = predictor.predict(chosen)
    projection = projection_of(predictor, chosen, held_out)
    truth = chosen[project.schema.target][held_out]
    losses = reference.losses_of(truth, outputs.predictions[held_out], project.task)
    seen = {**predictor.observe(chosen, outputs), **embedded(predictor, chosen, projection)}
    built = reference.build(
        {**predictor.monitored, **(projection.columns if projection else {})},
        seen,
        held_out=held_out,
        losses=losses,
        task="classification" if outputs.levels else project.task,
        exchangeable=exchangeable,
        ignore=(*project.monitors.ignore, *unknown),
        seed=project.training.seed,
        origin=origin,
        window_rows=project.monitors.window.rows or rows_in_span(project, rows, project.monitors.window.span),
        rows_a_quarter=rows_in_span(project, rows, QUARTER),
        times=chosen[project.schema.time] if project.schema.time else None,
        importance=importance_of(project, predictor, telling(project, take(chosen, held_out)), projection),
        projection=projection,
    )
    if outputs.channels or outputs.anomaly:  # what these are worth is not estimated without labels
        return stored_reference.to_bytes(built), cut
    held = keep(
        take(seen, held_out),
        outputs.values[held_out],
        truth,
        losses,
        levels=outputs.levels,
        cutoff=outputs.cutoff,
        binnings=built.binnings,
        exchangeable=exchangeable,
        seed=project.training.seed,
    )
    return stored_reference.to_bytes(replace(built, held=held)), cut


def projection_of(predictor: Predictor, rows: Rows, held_out: np.ndarray) -> Projection | None:
    """Return how the network's embedding of such rows is watched; None where it is not."""
    watched = predictor.embeds and projections.wanted(predictor.encoder.columns)
    return projections.fit(predictor.embed(rows), held_out) if watched else None


def importance_of(
    project: Project, predictor: Predictor, held_out: Rows, projection: Projection | None
) -> dict[str, float]:
    """Return what the deciding metric loses on held-out rows without a column; an embedding stands for all it reads."""
    if not length(held_out):
        return {}
    found = importance(predictor, held_out, project.evaluation.metric, seed=project.training.seed)
    whole = {n: c for n, c in predictor.encoder.columns.items() if isinstance(c, ArrayColumn | Text)}
    seen = [found[name] for name in described(whole) if name in found]
    return {**found, **dict.fromkeys(projection.columns, max(seen))} if projection and seen else found


def budget_note(project: Project, payload: bytes) -> str:
    """Say which budget of false incidents holds, where it is not the one that was asked for; else nothing."""
    known = stored_reference.from_bytes(payload)
    rows = project.monitors.window.rows or known.window_rows
    if not rows or not known.watched:
        return ""
    found = calibration_for(known, rows, project.monitors)
    if not found.supported:
        return f"; its history is shorter than two windows of {rows:,} rows, so that drift is not judged yet"
    return "" if found.budget.met and not found.budget.contradicted else f"; {found.budget.sentence}"


def learned_from(schema: Schema, rows: Rows, traffic: Rows) -> bool:
    """Tell whether the newest traffic is part of what the version was made from."""
    return bool(among(traffic[schema.key], rows[schema.key]).mean() > 0.5)


def learned_until(schema: Schema, rows: Rows, role: np.ndarray) -> datetime | None:
    """Return the newest time among the training rows."""
    if schema.time is None or not (role == "train").any():
        return None
    return utc(rows[schema.time][role == "train"].max())


def roles_of(project: Project, rows: Rows) -> np.ndarray:
    """Return each row's role (N,): of rows in time order none is spared, for past windows are as full as new ones."""
    return np.asarray((roles if project.evaluation.exchangeable else dealt)(project, rows).astype(str))


def referred(project: Project, stored: SnapshotRows, role: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the positions of the rows to refer to, and the columns that some of them came before.

    Beside rows from before a column every window would have changed. So those since it are referred to, if they are
    enough: two windows of rows that are exchangeable, some of which judged; of others as many as of any history. Else
    all are, and the column is not watched.
    """
    fair = np.flatnonzero(representative(project, stored.known))
    which = fair[newest(project, take(stored.known, fair), role[fair])]
    unknown = sorted(stored.lacking(which))
    if not unknown:
        return which, unknown
    fair = fair[stored.complete[fair]]
    since = fair[newest(project, take(stored.known, fair), role[fair])] if len(fair) else fair
    rows = project.monitors.window.rows or rows_in_span(project, stored.known, project.monitors.window.span)
    needed = 2 * rows if project.evaluation.exchangeable else asked_for(project, stored.known)
    enough = (role[since] == "judge").sum() >= reference.MINIMUM and len(since) >= needed
    return (since, []) if enough else (which, unknown)


def newest(project: Project, rows: Rows, role: np.ndarray) -> np.ndarray:
    """Return positions of the rows to refer to, oldest first: all that judged, topped up with the newest learned.

    Of more than several models may answer in memory, the newest. Without a time column rows keep their order.
    """
    judged, learned = np.flatnonzero(role == "judge"), np.flatnonzero(role == "train")
    top_up = max(asked_for(project, rows) - len(judged), 0)
    found = np.sort(np.concatenate([judged, learned[len(learned) - min(top_up, len(learned)) :]]))
    return found[-max(1, most_held(project) // SHARE_JUDGED) :]


def asked_for(project: Project, rows: Rows) -> int:
    """Return how many rows a reference should have, of a history of these rows."""
    window = project.monitors.window
    enough = max(ENOUGH_ROWS, ENOUGH_WINDOWS * (window.rows or rows_in_span(project, rows, window.span)))
    if project.evaluation.exchangeable:
        return enough
    return max(enough, rows_in_span(project, rows, ENOUGH_TIME))  # past windows say what is usual at each hour


def rows_in_span(project: Project, rows: Rows, span: timedelta | None) -> int:
    """Return how many rows come in such a time on average, 0 where nobody knows."""
    schema = project.schema
    if schema.time is None or span is None or not length(rows):
        return 0
    times = rows[schema.time]
    whole = (times.max() - times.min()) / np.timedelta64(1, "s")
    return int(length(rows) * span.total_seconds() / whole) if whole > 0 else length(rows)
