"""How good answers are: scikit-learn's metrics for people, and their per-row parts for gates.

A gate resamples rows, so the metrics that can decide are written as functions of sums over rows; a test
holds them equal to scikit-learn's. scikit-learn is imported inside; the rest needs numpy only.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from data.errors import BadDeclaration, nearest
from models.resampling import TAIL, Interval, interval

Task = Literal["classification", "regression"]

HIGHER_IS_BETTER = {"accuracy": True, "f1": True, "log_loss": False, "mae": False, "rmse": False, "r2": True}
DIRECTIONS = {**HIGHER_IS_BETTER, "balanced_accuracy": True, "roc_auc": True, "median_error": False}
BOUNDED = frozenset({"accuracy", "f1"})  # between 0 and 1: shown to people in points
ROUNDING = 1e-12  # share of a sum of squares that sums of rounded numbers may be off by
TINY = float(np.finfo(float).eps)  # what scikit-learn clips a probability to


def class_codes(truth: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """Return the position of each true level; K, one past the last, for a level the model doesn't know."""
    known = {level: code for code, level in enumerate(levels)}
    return np.array([known.get(value, len(levels)) for value in truth.tolist()], dtype=np.int64)


def per_row(metric: str, truth: np.ndarray, values: np.ndarray, levels: Sequence[str] = ()) -> np.ndarray:
    """Return the parts (N, P) whose sums decide the metric; NaN in the rows whose answer is not finite.

    Args:
        metric: a name in `HIGHER_IS_BETTER`: only these can be resampled.
        truth: (N,) true levels, or numbers in the target's own unit.
        values: (N, K) probabilities, or (N, 1) numbers.
        levels: the K levels, in the order of `values`; none for a number.
    """
    if metric not in HIGHER_IS_BETTER:
        raise BadDeclaration(f"metric {metric!r} can't decide; {nearest(metric, HIGHER_IS_BETTER)}")
    values = np.asarray(values, dtype=float)
    if levels:
        parts = class_parts(metric, class_codes(truth, levels), values)
    else:
        parts = number_parts(metric, truth.astype(float), values[:, 0])
    parts[~np.isfinite(values).all(axis=1)] = np.nan
    return parts


def class_parts(metric: str, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Parts of a classification metric: (right, rows), (loss, rows), or hits, answers and truths by class."""
    classes = values.shape[1] + 1  # the last is "a level the model doesn't know"
    answers = np.where(np.isnan(values).any(axis=1), 0, values.argmax(axis=1))
    if metric == "accuracy":
        return with_count(answers == codes)
    if metric == "log_loss":
        return with_count(-np.log(np.clip(shares(values), TINY, 1 - TINY)[np.arange(len(codes)), codes]))
    answered, true = np.eye(classes)[answers], np.eye(classes)[codes]
    return np.hstack([answered * true, answered, true])


def number_parts(metric: str, truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Parts of a regression metric: (error, rows), and for r2 the sums that give the variance of the truth."""
    if metric == "mae":
        return with_count(np.abs(values - truth))
    squared = with_count((values - truth) ** 2)
    return squared if metric == "rmse" else np.column_stack([squared, truth, truth**2])


def with_count(scores: np.ndarray) -> np.ndarray:
    """Put a column of ones beside the scores: (N, 2)."""
    return np.column_stack([scores, np.ones(len(scores))]).astype(float)


def shares(values: np.ndarray) -> np.ndarray:
    """Normalise probabilities (N, K), and give a level the model doesn't know none: (N, K + 1)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.column_stack([values / values.sum(axis=1, keepdims=True), np.zeros(len(values))])


def value_of(metric: str, sums: np.ndarray) -> np.ndarray:
    """Return the metric (...) from sums of its parts (..., P). f1 is the mean over the classes that occur."""
    if metric == "f1":
        hits, answered, true = np.split(sums, 3, axis=-1)
        occurs = (answered + true) > 0
        each = np.divide(2 * hits, answered + true, out=np.zeros_like(hits), where=occurs)
        return np.asarray(each.sum(axis=-1) / occurs.sum(axis=-1))
    if metric == "r2":
        squared, rows, total, square = np.moveaxis(sums, -1, 0)
        spread = square - total**2 / rows
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(spread > ROUNDING * square, 1 - squared / spread, np.nan))
    mean = sums[..., 0] / sums[..., 1]
    return np.sqrt(mean) if metric == "rmse" else np.asarray(mean)


def bounds(metric: str, parts: np.ndarray, blocks: np.ndarray, tail: float = TAIL) -> Interval:
    """Bound one model's metric; an accuracy by Clopper and Pearson where blocks are rows."""
    worst, best = (np.array([0.0, 1.0]), np.array([1.0, 1.0])) if metric == "accuracy" else (None, None)
    return interval(lambda sums: value_of(metric, sums), parts, blocks, worst, best, tail)


def score(task: Task, truth: np.ndarray, values: np.ndarray, levels: Sequence[str] = ()) -> dict[str, float]:
    """Return every metric of the task by name; all are NaN when one answer is not finite.

    A metric that these rows leave undefined (the area under the curve with one class only) is absent.
    """
    values = np.asarray(values, dtype=float)
    if task == "classification":
        return class_scores(class_codes(truth, levels), values)
    return number_scores(truth.astype(float), values[:, 0])


def class_scores(codes: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Score probabilities (N, K) against class codes (N,)."""
    from sklearn import metrics as sk

    names = ("accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc")
    if not np.isfinite(values).all() or not len(values):
        return dict.fromkeys(names, float("nan"))
    answers, probabilities = values.argmax(axis=1), shares(values)
    every = range(probabilities.shape[1])
    scores = {
        "accuracy": sk.accuracy_score(codes, answers),
        "f1": sk.f1_score(codes, answers, average="macro", zero_division=0.0),
        "log_loss": sk.log_loss(codes, probabilities, labels=every),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that is answered but never true
        scores["balanced_accuracy"] = sk.balanced_accuracy_score(codes, answers)
    present = np.unique(codes)
    if values.shape[1] == 2 and set(present) == {0, 1}:
        scores["roc_auc"] = sk.roc_auc_score(codes, values[:, 1])
    elif values.shape[1] > 2 and set(present) == set(range(values.shape[1])):
        scores["roc_auc"] = sk.roc_auc_score(codes, probabilities[:, :-1], multi_class="ovr")
    return {name: float(value) for name, value in scores.items()}


def number_scores(truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Score numbers (N,) against the truth (N,), in its unit."""
    from sklearn import metrics as sk

    names = ("mae", "median_error", "r2", "rmse")
    if not (np.isfinite(values).all() and np.isfinite(truth).all()) or not len(values):
        return dict.fromkeys(names, float("nan"))
    scores = {
        "mae": sk.mean_absolute_error(truth, values),
        "rmse": sk.root_mean_squared_error(truth, values),
        "median_error": sk.median_absolute_error(truth, values),
    }
    if np.ptp(truth) > 0:
        scores["r2"] = sk.r2_score(truth, values)
    return {name: float(value) for name, value in scores.items()}


def confusion(truth: np.ndarray, values: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """Count (truth, answer) pairs: (K + 1, K) integers; the last row is levels the model doesn't know."""
    codes, answers = class_codes(truth, levels), np.asarray(values).argmax(axis=1)
    counts = np.zeros((len(levels) + 1, len(levels)), dtype=np.int64)
    np.add.at(counts, (codes, answers), 1)
    return counts
