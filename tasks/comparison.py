"""Candidate against champion, on the same rows: which rows, and what each scored."""

import json
from pathlib import Path

import numpy as np

from data.schema import Rows, length, take
from models import metrics
from models.judging import Comparison, Judgement, judge
from models.predictor import Predictor, read_version
from monitoring.records import Generation
from projects.declaration import Project
from tasks.evaluation import baseline_parts, blocks, latency_ms
from tasks.harvesting import rows_of
from tasks.observing import clock, judged_windows, predictor_of
from tasks.preparation import BATCH, read_role, roles_by_entity
from tasks.resources import Resources

MINIMUM_FRESH = 20  # fewer entities or days than that show nothing either way


def judge_version(resources: Resources, project: Project, folder: Path, version: str) -> Judgement:
    """Judge the version in `folder` by its project's gates, against what serves now."""
    candidate = read_version(folder / "model", features=project.features)
    serving = resources.store.ledger.generation(project.name)
    champion = predictor_of(resources, serving) if serving else None
    learned = champion_batches(resources, serving) if serving else frozenset()
    fresh = fresh_rows(resources, project, folder, serving, learned)
    anchor = anchor_rows(project, folder, learned)
    train = without_origin(read_role(folder, project.schema, "train"))
    return judge(project.gates, compare(project, candidate, champion, fresh, anchor, train))


def compare(
    project: Project, candidate: Predictor, champion: Predictor | None, fresh: Rows, anchor: Rows, train: Rows
) -> Comparison:
    """Score both on the same fresh and anchor rows, row by row."""
    schema, metric = project.schema, project.evaluation.metric
    truth = fresh[schema.target]
    outputs = candidate.predict(fresh)
    summary = metrics.scores(project.task, truth, outputs, candidate.levels)

    def rows_scored(predictor: Predictor, rows: Rows) -> np.ndarray:
        answers = predictor.predict(rows)
        return metrics.per_row(project.task, metric, rows[schema.target], answers, predictor.levels)

    has_anchor = champion is not None and length(anchor) > 0
    return Comparison(
        metric=metric,
        scores=summary,
        fresh_candidate=metrics.per_row(project.task, metric, truth, outputs, candidate.levels),
        fresh_champion=rows_scored(champion, fresh) if champion else None,
        fresh_baseline=metrics.per_row_of_answers(project.task, metric, truth, baseline_guesses(project, train, fresh)),
        fresh_blocks=blocks(project, fresh),
        anchor_candidate=rows_scored(candidate, anchor) if has_anchor else None,
        anchor_champion=rows_scored(champion, anchor) if champion and has_anchor else None,
        anchor_blocks=blocks(project, anchor) if has_anchor else None,
        latency_ms=latency_ms(candidate, fresh),
    )


def fresh_rows(
    resources: Resources, project: Project, folder: Path, serving: Generation | None, learned: frozenset[str]
) -> Rows:
    """Return labelled rows that neither model learned from, the newest there are enough of.

    First the judge rows of the newest mature windows; else the judge rows of batches that the champion never
    saw; else, and without a champion, all judge rows of the snapshot.
    """
    judged = read_role(folder, project.schema, "judge")
    if serving is None:
        return without_origin(judged)
    if project.evaluation.exchangeable:
        newest = newest_window_rows(resources, project, ("judge",))
        if newest is not None and len(set(blocks(project, newest))) >= MINIMUM_FRESH:
            return newest
        unseen = take(judged, ~np.isin(judged[BATCH].astype(str), list(learned)))
    else:
        cut = np.datetime64(serving.cut.replace(tzinfo=None)) if serving.cut else np.datetime64(0, "us")
        unseen = take(judged, judged[project.schema.time] > cut) if project.schema.time else judged
    enough = len(unseen[BATCH]) and len(set(blocks(project, unseen))) >= MINIMUM_FRESH
    return without_origin(unseen if enough else judged)


def newest_window_rows(resources: Resources, project: Project, roles: tuple[str, ...]) -> Rows | None:
    """Return the labelled, mature rows of the last `n` judged windows without fault that have one of `roles`."""
    serving = resources.store.ledger.generation(project.name)
    horizon = clock(resources, project) - project.labels.delay
    windows = [
        window
        for window, verdict in judged_windows(resources, project)
        if serving and window.generation == serving.number and verdict.outcome not in ("fault", "failed")
    ]
    found = [
        prediction
        for window in windows[-project.monitors.n :]
        for prediction in resources.store.predictions.rows(window, labelled=True)
        if prediction.label is not None and prediction.row_time <= horizon
    ]
    if not found:
        return None
    rows = rows_of(found, project.schema)
    evaluation = project.evaluation
    role = roles_by_entity(rows[project.schema.entity_column], evaluation.judge, evaluation.anchor)
    return take(rows, np.isin(role.astype(str), roles))


def anchor_rows(project: Project, folder: Path, learned: frozenset[str]) -> Rows:
    """Return the anchor rows of the world the champion knew: those of the batches it was made from."""
    anchor = read_role(folder, project.schema, "anchor")
    return without_origin(take(anchor, np.isin(anchor[BATCH].astype(str), list(learned))))


def champion_batches(resources: Resources, serving: Generation) -> frozenset[str]:
    """Return the names of the batches in the champion's snapshot."""
    snapshot = json.loads(resources.models.read_artifact(serving.run_id, "snapshot.json"))
    return frozenset(Path(file["name"]).stem for file in snapshot["files"])


def without_origin(rows: Rows) -> Rows:
    """Drop the column that says which batch a row came from."""
    return {name: values for name, values in rows.items() if name != BATCH}
