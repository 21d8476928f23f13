"""What a trained version can do on rows it has not seen, before any comparison with a champion."""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.descriptors import describe, described
from data.errors import TooFewRows
from data.schema import Anomaly, Id, Rows, Series, length, take
from models import baselines, metrics
from models.comparison import Sample, gain
from models.curves import curves
from models.folder import size_mb
from models.learners import Learned, learned_answers
from models.lists import Asked, Rated
from models.outputs import Outputs
from models.power import detectable
from models.predictor import Predictor, read_version
from models.residuals import residuals
from models.slicing import cut
from projects.declaration import Project
from projects.discovery import file_of
from tasks.role_files import follows, labels, read_role, some_of, stored_role
from tasks.snapshot_rows import BATCH

LATENCY_ROWS = 200
ANCHOR_LENGTH = 12  # hexadecimal digits


@dataclass(frozen=True)
class Scored:
    """Rows with their truth and one predictor's outputs."""

    rows: Rows
    truth: np.ndarray
    outputs: Outputs

    @property
    def labelled(self) -> "Scored":
        """Those rows of which the truth is known; all but of anomalies."""
        which = metrics.labelled(self.truth)
        outputs = replace(self.outputs, values=self.outputs.values[which])
        return self if which.all() else Scored(take(self.rows, which), self.truth[which], outputs)

    def parts(self, metric: str) -> np.ndarray:
        """Return the parts (N, P) of a metric."""
        outputs = self.outputs
        return metrics.per_row(metric, self.truth, outputs.values, outputs.levels, outputs.cutoff)


def telling(project: Project, rows: Rows) -> Rows:
    """Return the rows that the deciding metric can judge: of anomalies those with a label, where it needs one.

    Raises: TooFewRows.
    """
    if project.task != "anomaly" or project.evaluation.metric == metrics.ERROR or not length(rows):
        return rows
    found = take(rows, metrics.labelled(rows[project.schema.target]))
    if not length(found):
        raise TooFewRows(f"labelled rows of {project.name}, which metric={project.evaluation.metric!r} needs", 0, 1)
    return found


def scored(project: Project, predictor: Predictor, rows: Rows) -> Scored:
    """Predict `rows` and keep their truth beside it."""
    plain = {name: values for name, values in rows.items() if name != BATCH}
    return Scored(plain, plain[project.schema.target], predictor.predict(plain))


def evaluate(project: Project, folder: Path) -> dict[str, Any]:
    """Score `model/` on the judge and anchor rows; write `evaluation/metrics.json` and return it.

    Each metric stands with its bootstrap interval; baselines stand beside the network, and the slices that the
    project names, over all rows that were held out.
    """
    predictor = read_version(folder / "model", features=project.features, project=file_of(project))
    judged = scored(project, predictor, telling(project, read_role(folder, project.schema, "judge")))
    anchored = scored(project, predictor, telling(project, read_role(folder, project.schema, "anchor")))
    train = some_of(project, folder, "train")
    metric = project.evaluation.metric
    simple = simpler(project, predictor, train, labels(project, folder, train), judged)
    beside = {name: parts_of(metric, judged, one) for name, one in simple.items()}
    compared = {name: against(metric, judged, blocks(project, judged.rows), beside[name]) for name in simple}
    found_beside = {name: {**compared[name], "seconds": one.seconds, "mb": one.mb} for name, one in simple.items()}
    found: dict[str, Any] = {
        "metric": metric,
        "judge": summary(project, judged) | listed(project, predictor, train, judged),
        "baseline": compared["trivial"]["value"],
        "baselines": {name: one["value"] for name, one in compared.items()},
        "beside": found_beside,
        "rows": {"judge": len(judged.truth), "train": stored_role(folder, project.schema, "train").rows},
        "slices": by_slice(project, predictor, (judged, anchored)),
        "latency_ms": latency_ms(predictor, judged.rows),
        "size_mb": size_mb(folder / "model"),
        "detectable": detectable(
            metric, judged.parts(metric), beside[pilot(project)], blocks(project, judged.rows), unit=unit(project)
        ).to_json(),
    }
    if len(anchored.truth):
        found["anchor"] = summary(project, anchored)
        found["anchor_version"] = anchor_version(project, anchored.rows)
        found["rows"]["anchor"] = len(anchored.truth)
    if predictor.levels:
        judged = judged.labelled
        answers = judged.outputs
        found["confusion"] = metrics.confusion(judged.truth, answers.values, answers.levels, answers.cutoff).tolist()
        found["levels"] = list(predictor.levels)
        found["curves"] = curves(judged.truth, answers.values, answers.levels)
    else:
        found["residuals"] = residuals(judged.truth.ravel(), judged.outputs.values.ravel())
    target = folder / "evaluation"
    target.mkdir(parents=True, exist_ok=True)
    (target / "metrics.json").write_text(json.dumps(found, indent=1, sort_keys=True, allow_nan=True))
    return found


def summary(project: Project, scored_rows: Scored) -> dict[str, dict[str, float]]:
    """Return every metric of the task with its value, and the bounds of those that gates can use."""
    found = {}
    for name, value in scores(project, scored_rows.truth, scored_rows.outputs).items():
        found[name] = {"value": value}
        if name in metrics.HIGHER_IS_BETTER:
            seen = scored_rows if name == metrics.ERROR else scored_rows.labelled
            bounds = metrics.bounds(name, seen.parts(name), blocks(project, seen.rows))
            found[name] |= {"low": bounds.low, "high": bounds.high}
    return found


def listed(project: Project, predictor: Predictor, train: Rows, judged: Scored) -> dict[str, dict[str, float]]:
    """Return how good lists of new items are, where a project ranks, with bounds clustered by user."""
    if project.schema.ranking is None:
        return {}
    asked = Asked.of(predictor.encoder, judged.rows)
    found = asked.by_network(predictor, Rated.of(predictor.encoder, train))
    bounds = {name: metrics.bounds(name, parts, asked.users) for name, parts in found.items() if len(parts)}
    return {name: {"value": one.estimate, "low": one.low, "high": one.high} for name, one in bounds.items()}


def scores(project: Project, truth: np.ndarray, outputs: Outputs) -> dict[str, float]:
    """Return every metric of the task that these answers have."""
    return metrics.score(project.task, truth, outputs.values, outputs.levels, outputs.cutoff)


def by_slice(project: Project, predictor: Predictor, held_out: tuple[Scored, ...]) -> list[dict[str, Any]]:
    """Return the deciding metric with its bounds on each slice that the project names."""
    columns, names = predictor.encoder.columns, project.gates.slices
    if not names:
        return []
    seen = [describe(columns, predictor.encoder.derive(part.rows)) for part in held_out]
    rows = {name: np.concatenate([one[name] for one in seen]) for name in names}
    metric = project.evaluation.metric
    parts = np.concatenate([part.parts(metric) for part in held_out])
    together = np.concatenate([blocks(project, part.rows) for part in held_out])
    found = []
    for one in cut(described(columns), rows, names):
        bounds = metrics.bounds(metric, parts[one.which], together[one.which])
        line = {"slice": one.name, "about": one.about, "rows": bounds.rows, "value": bounds.estimate}
        found.append({**line, "low": bounds.low, "high": bounds.high})
    return found


def anchor_version(project: Project, anchor: Rows) -> str | None:
    """Return the name of an anchor set: a prefix of the SHA-256 of its keys, sorted. None for no rows."""
    keys = sorted(anchor[project.schema.key].astype(str).tolist())
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:ANCHOR_LENGTH] if keys else None


def unit(project: Project) -> str:
    """Name what `blocks` returns, in the plural."""
    if project.schema.ranking:
        return "users"
    return "entities" if project.evaluation.exchangeable or project.schema.time is None else "days"


def blocks(project: Project, rows: Rows) -> np.ndarray:
    """Return what must not be split in a bootstrap: the user, the entity where rows are exchangeable, else the day."""
    schema = project.schema
    if schema.ranking:
        return rows[schema.ranking.user].astype(str)
    if project.evaluation.exchangeable or schema.time is None:
        return rows[schema.entity_column].astype(str)
    return rows[schema.time].astype("datetime64[D]").astype(str)


def simpler(project: Project, predictor: Predictor, train: Rows, known: Rows, judged: Scored) -> dict[str, Learned]:
    """Return what the trivial rule and the simple learners answer to the judge rows; a tree always, as a pilot."""
    values = baseline_values(project, known, judged.rows, judged.outputs.levels)
    names = tuple(dict.fromkeys((*project.evaluation.baselines, pilot(project))))
    seed = project.training.seed
    return {"trivial": Learned(values)} | learned_answers(names, predictor.encoder, train, judged.rows, seed=seed)


def parts_of(metric: str, judged: Scored, simple: Learned) -> np.ndarray:
    """Return the parts (N, P) of a metric of a simple model's answers to the judge rows."""
    return metrics.per_row(metric, judged.truth, simple.values, judged.outputs.levels)


def against(metric: str, judged: Scored, together: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return a simple model's metric, and how much better the network's is, with bounds: above 0 it is better."""
    found = gain(metric, Sample(together, judged.parts(metric)), other)
    return {"value": metrics.value(metric, other), "gain": found.estimate, "low": found.low, "high": found.high}


def baseline_values(project: Project, known: Rows, rows: Rows, levels: tuple[str, ...]) -> np.ndarray:
    """Return the trivial baseline's answers (N, K) or (N, 1) to `rows`, from labels that had arrived by then.

    The last label that had arrived where rows come in time order; else the majority or the mean; a forecast repeats
    the last season of the row's own past; a series is reconstructed as flat.

    `known`: rows with their labels, those that train or, in time order, all that there are, `rows` among them or later.
    """
    schema = project.schema
    target = schema.columns[schema.target]
    if isinstance(target, Anomaly):
        series = {name: column for name, column in schema.features.items() if isinstance(column, Series)}
        width = sum(len(column.channels) for column in series.values())
        windows = np.concatenate([rows[name] for name in series], axis=2)
        return baselines.flat(windows, np.resize(target.unit, width), target.newest)
    if isinstance(target, Series):
        return repeated_past(project, target, rows)
    if schema.time is None or not follows(project):
        return baselines.constant(known[schema.target], len(rows[schema.target]), levels)
    later = take(rows, rows[schema.time] > known[schema.time].max())  # came after the snapshot
    times, truth = (np.concatenate([known[name], later[name]]) for name in (schema.time, schema.target))
    return baselines.last_arrived(times, truth, rows[schema.time], project.labels.delay, levels)


def repeated_past(project: Project, target: Series, rows: Rows) -> np.ndarray:
    """Return forecasts (N, steps * channels) that repeat each channel's last season, 0 where its past is not given."""
    found = np.zeros((length(rows), *target.shape))
    for name, column in project.schema.features.items():
        if isinstance(column, Series) and (shared := [one for one in target.channels if one in column.channels]):
            past = rows[name][:, :, [column.channels.index(one) for one in shared]]
            repeated = baselines.repeated(past, target.length, project.evaluation.season)
            found[:, :, [target.channels.index(one) for one in shared]] = repeated.reshape(*found.shape[:2], -1)
    return found.reshape(length(rows), -1)


def pilot(project: Project) -> str:
    """Return the learner that says how far another model's answers differ: models.power."""
    ids = any(isinstance(column, Id) for column in project.schema.features.values())
    return "linear" if project.task in ("forecast", "anomaly") or ids else "tree"


def latency_ms(predictor: Predictor, rows: Rows) -> float:
    """Return the 95th percentile of answering one row in this process, milliseconds."""
    seconds = []
    for i in range(min(LATENCY_ROWS, len(next(iter(rows.values()))))):
        one = take(rows, np.array([i]))
        started = time.perf_counter()
        predictor.predict(one)
        seconds.append(time.perf_counter() - started)
    return float(np.percentile(seconds, 95) * 1000)
