"""Candidate against champion, on the same rows: which rows, and what each scored."""

from pathlib import Path

import numpy as np

from data.schema import Rows, length, take
from models import metrics
from models.gates import MINIMUM_BLOCKS
from models.judging import Comparison, Judgement, Sample, judge, sample
from models.predictor import Predictor, read_version
from monitoring.records import Generation, Prediction
from projects.declaration import Project
from tasks.evaluation import baseline_values, blocks, latency_ms
from tasks.harvesting import rows_of
from tasks.observing import clock, judged_windows, predictor_of
from tasks.preparation import BATCH, read_role, roles_by_entity
from tasks.registration import snapshot_of
from tasks.resources import Resources


def judge_version(resources: Resources, project: Project, folder: Path, *, waived: tuple[str, ...] = ()) -> Judgement:
    """Judge the version in `folder`, beside its prepared rows, by its project's gates and against what serves now.

    Raises: TooFewRows.
    """
    candidate = read_version(folder / "model", features=project.features)
    serving = resources.store.ledger.generation(project.name)
    champion = predictor_of(resources, serving) if serving else None
    learned = champion_batches(resources, serving) if serving else frozenset()
    fresh = fresh_rows(resources, project, folder, serving, learned)
    anchor = anchor_rows(project, folder, learned)
    train = without_origin(read_role(folder, project.schema, "train"))
    compared = compare(project, candidate, champion, fresh, anchor, train, serving.version if serving else None)
    return judge(project.gates, compared, waived=waived)


def compare(
    project: Project,
    candidate: Predictor,
    champion: Predictor | None,
    fresh: Rows,
    anchor: Rows,
    train: Rows,
    serving: str | None,
) -> Comparison:
    """Score both on the same fresh and anchor rows; the trivial baseline on the fresh ones."""
    truth, answers = fresh[project.schema.target], candidate.predict(fresh)
    theirs = champion.predict(fresh) if champion else None
    scored = metrics.score(project.task, truth, answers.values, answers.levels)
    before = metrics.score(project.task, truth, theirs.values, theirs.levels) if theirs else {}
    return Comparison(
        metric=project.evaluation.metric,
        fresh=sampled(project, candidate, champion, fresh, baseline_values(project, train, fresh, candidate.levels)),
        anchor=sampled(project, candidate, champion, anchor) if champion and length(anchor) else None,
        metrics=scored,
        champion_metrics=before,
        champion=serving,
        latency_ms=latency_ms(candidate, fresh),
    )


def sampled(
    project: Project, candidate: Predictor, champion: Predictor | None, rows: Rows, baseline: np.ndarray | None = None
) -> Sample:
    """Return both models' answers to the same rows, as a gate compares them."""
    return sample(
        project.evaluation.metric,
        rows[project.schema.target],
        blocks(project, rows),
        candidate=candidate.predict(rows).values,
        champion=champion.predict(rows).values if champion else None,
        baseline=baseline,
        levels=candidate.levels,
        champion_levels=champion.levels if champion else None,
        unit="entities" if project.evaluation.exchangeable or project.schema.time is None else "days",
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
        if newest is not None and len(set(blocks(project, newest))) >= MINIMUM_BLOCKS:
            return newest
        unseen = take(judged, ~np.isin(judged[BATCH].astype(str), list(learned)))
    else:
        cut = np.datetime64(serving.cut.replace(tzinfo=None)) if serving.cut else np.datetime64(0, "us")
        unseen = take(judged, judged[project.schema.time] > cut) if project.schema.time else judged
    enough = len(unseen[BATCH]) and len(set(blocks(project, unseen))) >= MINIMUM_BLOCKS
    return without_origin(unseen if enough else judged)


def newest_window_rows(resources: Resources, project: Project, roles: tuple[str, ...]) -> Rows | None:
    """Return the labelled, mature rows of one of `roles` in the last `n` windows that have labels and no fault."""
    serving = resources.store.ledger.generation(project.name)
    horizon = clock(resources, project) - project.labels.delay
    windows = [
        window
        for window, verdict in judged_windows(resources, project)
        if serving and window.generation == serving.number and verdict.outcome not in ("fault", "failed")
    ]
    found: list[list[Prediction]] = []
    for window in reversed(windows):
        mature = [one for one in resources.store.predictions.rows(window, labelled=True) if one.row_time <= horizon]
        found += [mature] if mature else []
        if len(found) == project.monitors.n:
            break
    if not found:
        return None
    rows = rows_of(resources, [one for mature in reversed(found) for one in mature], project.schema)
    evaluation = project.evaluation
    role = roles_by_entity(rows[project.schema.entity_column], evaluation.judge, evaluation.anchor)
    return take(rows, np.isin(role.astype(str), roles))


def anchor_rows(project: Project, folder: Path, learned: frozenset[str]) -> Rows:
    """Return the anchor rows of the world the champion knew: those of the batches it was made from."""
    anchor = read_role(folder, project.schema, "anchor")
    return without_origin(take(anchor, np.isin(anchor[BATCH].astype(str), list(learned))))


def champion_batches(resources: Resources, serving: Generation) -> frozenset[str]:
    """Return the names of the batches in the champion's snapshot."""
    return frozenset(Path(file.name).stem for file in snapshot_of(resources, serving.run_id).files)


def without_origin(rows: Rows) -> Rows:
    """Drop the column that says which batch a row came from."""
    return {name: values for name, values in rows.items() if name != BATCH}
