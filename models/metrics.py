"""How good answers are: metrics as functions of sums over rows, so that a gate can resample the rows.

A test holds each equal to scikit-learn's where that has it. Areas and average precision take one step more
(models/ranking.py). Needs numpy only.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data.errors import BadDeclaration, nearest
from models.confusions import CONFUSED, class_codes, class_parts, class_value, confusion, shares, with_count
from models.lists import LIST_METRICS
from models.outputs import Cutoff, Task, decided
from models.ranking import RANKED, extremes, linear, raw_parts
from models.resampling import TAIL, Interval, interval

__all__ = [
    "BOUNDED",
    "CONFUSED",
    "DECIDING",
    "DIRECTIONS",
    "ERROR",
    "HIGHER_IS_BETTER",
    "RANKED",
    "bounds",
    "class_codes",
    "confusion",
    "labelled",
    "per_row",
    "ranked_bounds",
    "score",
    "summable",
    "value",
    "value_of",
]

CLASS_METRICS = {
    "accuracy": True,
    "balanced_accuracy": True,
    "f1": True,
    "f1_weighted": True,
    "precision": True,
    "recall": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "calibration_error": False,
}
NUMBER_METRICS = {"mae": False, "rmse": False, "r2": True}
LISTS = dict.fromkeys(LIST_METRICS, True)  # of users, not of rows: models/lists.py
ERROR = "reconstruction"
"""The mean error of reconstructed series, in units: what is known of anomalies without any label."""
HIGHER_IS_BETTER = {**CLASS_METRICS, **NUMBER_METRICS, **LISTS, ERROR: False}
"""The metrics that have an interval; whether more is better."""
DIRECTIONS = {**HIGHER_IS_BETTER, "median_error": False}
DECIDING = {
    "classification": tuple(name for name in CLASS_METRICS if name != "calibration_error"),
    "regression": tuple(NUMBER_METRICS),
    "forecast": tuple(NUMBER_METRICS),
    "anomaly": (ERROR, *(name for name in CLASS_METRICS if name not in ("calibration_error", "log_loss"))),
}
"""By which of its metrics a task may decide between two models, the usual one first."""
BOUNDED = frozenset({**CLASS_METRICS, **LISTS}) - {"log_loss"}  # between 0 and 1: shown to people in points
ROUNDING = 1e-12  # share of a sum of squares that sums of rounded numbers may be off by


def per_row(
    metric: str, truth: np.ndarray, values: np.ndarray, levels: Sequence[str] = (), cutoff: Cutoff | None = None
) -> np.ndarray:
    """Return the parts (N, P) that decide the metric; NaN in the rows whose answer is not finite.

    Args:
        metric: a name in `HIGHER_IS_BETTER`: only these can be resampled.
        truth: (N,) true levels, or numbers in the target's own unit; of a forecast (N, steps, channels).
        values: (N, K) probabilities, (N, 1) numbers, or forecasts (N, steps * channels).
        levels: the K levels, in the order of `values`; none for a number.
        cutoff: what decides between the levels, where that is not the likeliest.
    """
    if metric not in HIGHER_IS_BETTER or metric in LISTS:
        raise BadDeclaration(f"metric {metric!r} can't decide; {nearest(metric, HIGHER_IS_BETTER)}")
    values = np.asarray(values, dtype=float)
    if metric == ERROR:
        parts = with_count(values[:, -1] / values[:, 0])
    elif not levels:
        parts = number_parts(metric, truth.astype(float).reshape(values.shape), values)
    elif metric in RANKED:
        parts = raw_parts(class_codes(truth, levels), values if values.shape[1] == 2 else shares(values)[:, :-1])
    else:
        answers = decided(np.where(np.isnan(values), 0, values), levels, cutoff)
        parts = class_parts(metric, class_codes(truth, levels), values, answers)
    parts[~np.isfinite(values).all(axis=1)] = np.nan
    return parts


def number_parts(metric: str, truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Parts of a regression metric: (error, rows), and for r2 the sums that give the variance of the truth.

    A row's numbers, (N, K) of both, count as its mean.
    """
    if metric == "mae":
        return with_count(np.abs(values - truth).mean(axis=1))
    squared = with_count(((values - truth) ** 2).mean(axis=1))
    return squared if metric == "rmse" else np.column_stack([squared, truth.mean(axis=1), (truth**2).mean(axis=1)])


def summable(metric: str, parts: np.ndarray) -> np.ndarray:
    """Return parts (N, Q) whose sums decide the metric: the parts themselves, but for what ranks the rows."""
    return linear(metric, parts) if metric in RANKED else parts


def value(metric: str, parts: np.ndarray) -> float:
    """Return the metric of rows from their parts (N, P); NaN where they leave it undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(value_of(metric, summable(metric, parts).sum(axis=0)))


def value_of(metric: str, sums: np.ndarray) -> np.ndarray:
    """Return the metric (...) from sums of its summable parts (..., Q)."""
    if metric in CLASS_METRICS:
        return class_value(metric, sums)
    if metric == "r2":
        squared, rows, total, square = np.moveaxis(sums, -1, 0)
        spread = square - total**2 / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(spread > ROUNDING * square, 1 - squared / spread, np.nan))
    mean = sums[..., 0] / sums[..., 1]
    return np.sqrt(mean) if metric == "rmse" else np.asarray(mean)


def bounds(metric: str, parts: np.ndarray, blocks: np.ndarray, tail: float = TAIL) -> Interval:
    """Bound one model's metric; an accuracy by Clopper and Pearson where blocks are rows."""
    if metric in RANKED:
        return ranked_bounds(metric, parts, summable(metric, parts), blocks, tail)
    worst, best = (np.array([0.0, 1.0]), np.array([1.0, 1.0])) if metric == "accuracy" else (None, None)
    found = interval(lambda sums: value_of(metric, sums), parts, blocks, worst, best, tail)
    if metric == "calibration_error":  # distances of noise add up, so that resampled ones are too large
        found = replace(found, low=min(found.low, found.estimate))
    return found.within(0.0, 1.0) if metric in BOUNDED else found


def ranked_bounds(
    metric: str, raw: np.ndarray, linear_parts: np.ndarray, blocks: np.ndarray, tail: float = TAIL
) -> Interval:
    """Bound what ranks rows, from its parts (N, P) and their pseudo-values (N, 2), which several rankings may give."""
    middle = float(value_of(metric, linear_parts.sum(axis=0)))
    found = interval(lambda sums: value_of(metric, sums), linear_parts, blocks, *extremes(raw, middle), tail)
    return found.within(0.0, 1.0)


def score(
    task: Task, truth: np.ndarray, values: np.ndarray, levels: Sequence[str] = (), cutoff: Cutoff | None = None
) -> dict[str, float]:
    """Return every metric of the task by name; all are NaN when one answer is not finite.

    A metric that these rows leave undefined (the area under the curve with one class only) is absent.
    """
    values = np.asarray(values, dtype=float)
    if task == "anomaly":
        return anomaly_scores(truth, values, levels, cutoff)
    names = list(CLASS_METRICS if task == "classification" else NUMBER_METRICS)
    known = np.isfinite(values).all() and (task == "classification" or np.isfinite(truth.astype(float)).all())
    if not known or not len(values):
        return dict.fromkeys(names if task == "classification" else [*names, "median_error"], float("nan"))
    found = {name: value(name, per_row(name, truth, values, levels, cutoff)) for name in names}
    if task != "classification":
        found["median_error"] = float(np.median(np.abs(values - truth.astype(float).reshape(values.shape))))
    return {name: each for name, each in found.items() if np.isfinite(each)}


def anomaly_scores(
    truth: np.ndarray, values: np.ndarray, levels: Sequence[str], cutoff: Cutoff | None
) -> dict[str, float]:
    """Return the error of all rows, and what the labelled ones say of the alarms."""
    found = {ERROR: value(ERROR, per_row(ERROR, truth, values, levels))} if len(values) else {ERROR: float("nan")}
    which = labelled(truth)
    for name in DECIDING["anomaly"][1:] if which.any() else ():
        found[name] = value(name, per_row(name, truth[which], values[which], levels, cutoff))
    return {name: each for name, each in found.items() if name == ERROR or np.isfinite(each)}


def labelled(truth: np.ndarray) -> np.ndarray:
    """Tell of each row (N,) whether its truth is known."""
    return np.array([one is not None for one in truth.tolist()], dtype=bool)
