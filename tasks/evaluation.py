"""What a trained version can do on rows it has not seen, before any comparison with a champion."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.schema import Rows, take
from models import baselines, metrics
from models.predictor import Outputs, Predictor, read_version
from projects.declaration import Project
from tasks.preparation import BATCH, read_role

LATENCY_ROWS = 200


@dataclass(frozen=True)
class Scored:
    """Rows with their truth and one predictor's outputs."""

    rows: Rows
    truth: np.ndarray
    outputs: Outputs


def scored(project: Project, predictor: Predictor, rows: Rows) -> Scored:
    """Predict `rows` and keep their truth beside it."""
    plain = {name: values for name, values in rows.items() if name != BATCH}
    return Scored(plain, plain[project.schema.target], predictor.predict(plain))


def evaluate(project: Project, folder: Path) -> dict[str, Any]:
    """Score `model/` on the judge and anchor rows; write `evaluation/metrics.json` and return it.

    Each metric stands with its bootstrap interval; the trivial baseline stands beside the network.
    """
    predictor = read_version(folder / "model", features=project.features)
    judged = scored(project, predictor, read_role(folder, project.schema, "judge"))
    train = read_role(folder, project.schema, "train")
    found: dict[str, Any] = {
        "metric": project.evaluation.metric,
        "judge": summary(project, judged),
        "baseline": baseline_score(project, train, judged),
        "rows": {"judge": len(judged.truth), "train": len(train[project.schema.target])},
    }
    anchored = read_role(folder, project.schema, "anchor")
    if len(anchored[BATCH]):
        anchor = scored(project, predictor, anchored)
        found["anchor"] = summary(project, anchor)
        found["rows"]["anchor"] = len(anchor.truth)
    if project.task == "classification":
        found["confusion"] = metrics.confusion(judged.truth, judged.outputs.values, predictor.levels).tolist()
        found["levels"] = list(predictor.levels)
    target = folder / "evaluation"
    target.mkdir(parents=True, exist_ok=True)
    (target / "metrics.json").write_text(json.dumps(found, indent=1, sort_keys=True, allow_nan=True))
    return found


def summary(project: Project, scored_rows: Scored) -> dict[str, dict[str, float]]:
    """Return every metric of the task with its value, and the bounds of those that gates can use."""
    outputs = scored_rows.outputs
    found = {}
    row_blocks = blocks(project, scored_rows.rows)
    for name, value in metrics.score(project.task, scored_rows.truth, outputs.values, outputs.levels).items():
        found[name] = {"value": value}
        if name in metrics.HIGHER_IS_BETTER:
            parts = metrics.per_row(name, scored_rows.truth, outputs.values, outputs.levels)
            bounds = metrics.bounds(name, parts, row_blocks)
            found[name] |= {"low": bounds.low, "high": bounds.high}
    return found


def blocks(project: Project, rows: Rows) -> np.ndarray:
    """Return what must not be split in a bootstrap: the entity where rows are exchangeable, else the day."""
    schema = project.schema
    if project.evaluation.exchangeable or schema.time is None:
        return rows[schema.entity_column].astype(str)
    return rows[schema.time].astype("datetime64[D]").astype(str)


def baseline_score(project: Project, train: Rows, judged: Scored) -> float:
    """Return the trivial baseline's metric on the judge rows."""
    metric, levels = project.evaluation.metric, judged.outputs.levels
    values = baseline_values(project, train, judged.rows, levels)
    return float(metrics.value_of(metric, metrics.per_row(metric, judged.truth, values, levels).sum(axis=0)))


def baseline_values(project: Project, train: Rows, rows: Rows, levels: tuple[str, ...]) -> np.ndarray:
    """Return the trivial baseline's answers (N, K) or (N, 1) to `rows`, from labels that had arrived by then.

    The last label that had arrived where rows come in time order; else the majority or the mean.
    """
    schema = project.schema
    if project.evaluation.exchangeable or schema.time is None:
        return baselines.constant(train[schema.target], len(rows[schema.target]), levels)
    times = np.concatenate([train[schema.time], rows[schema.time]])
    known = np.concatenate([train[schema.target], rows[schema.target]])
    return baselines.last_arrived(times, known, rows[schema.time], project.labels.delay, levels)


def latency_ms(predictor: Predictor, rows: Rows) -> float:
    """Return the 95th percentile of answering one row in this process, milliseconds."""
    seconds = []
    for i in range(min(LATENCY_ROWS, len(next(iter(rows.values()))))):
        one = take(rows, np.array([i]))
        started = time.perf_counter()
        predictor.predict(one)
        seconds.append(time.perf_counter() - started)
    return float(np.percentile(seconds, 95) * 1000)
