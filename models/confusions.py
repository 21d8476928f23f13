"""What classes are told apart well, as functions of sums over rows: shares of right answers, losses, calibration.

Of two levels, precision and recall are of the last one, which is what is looked for; of more, and always for f1, the
mean over the levels that occur. Needs numpy only.
"""

from collections.abc import Sequence

import numpy as np

from models.outputs import Cutoff, decided

TINY = float(np.finfo(float).eps)  # what scikit-learn clips a probability to
BINS = 15  # equal widths of confidence, as in Guo, Pleiss, Sun & Weinberger 2017, arXiv:1706.04599
CONFUSED = frozenset({"f1", "f1_weighted", "precision", "recall", "balanced_accuracy"})
"""Metrics of how often which level is answered, right or not."""


def class_codes(truth: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """Return the position of each true level; K, one past the last, for a level the model doesn't know."""
    known = {level: code for code, level in enumerate(levels)}
    return np.array([known.get(value, len(levels)) for value in truth.tolist()], dtype=np.int64)


def class_parts(metric: str, codes: np.ndarray, values: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Parts (N, P) of a metric: (right, rows), (loss, rows), calibration by bin, or hits, answers, truths by class.

    Args:
        metric: of the additive ones.
        codes: (N,) true classes, K for one the model doesn't know.
        values: (N, K) probabilities.
        answers: (N,) classes that are answered.
    """
    if metric == "accuracy":
        return with_count(answers == codes)
    if metric == "log_loss":
        return with_count(-np.log(np.clip(shares(values), TINY, 1 - TINY)[np.arange(len(codes)), codes]))
    if metric == "calibration_error":
        return calibration_parts(codes, values)
    classes = values.shape[1] + 1  # the last is "a level the model doesn't know"
    answered, true = np.eye(classes)[answers], np.eye(classes)[codes]
    return np.hstack([answered * true, answered, true])


def calibration_parts(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return, for each of the bins of confidence, how much surer than right a row was, and ones: (N, BINS + 1)."""
    sure, right = values.max(axis=1), values.argmax(axis=1) == codes
    places = np.clip((np.nan_to_num(sure) * BINS).astype(int), 0, BINS - 1)
    parts = np.zeros((len(codes), BINS + 1))
    parts[np.arange(len(codes)), places] = sure - right
    parts[:, -1] = 1
    return parts


def class_value(metric: str, sums: np.ndarray) -> np.ndarray:
    """Return a metric of classes (...) from sums of its parts (..., P)."""
    if metric == "calibration_error":
        return np.asarray(np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1])
    if metric not in CONFUSED:
        return np.asarray(sums[..., 0] / sums[..., 1])
    hits, answered, true = np.split(sums, 3, axis=-1)
    parts, whole = {
        "precision": (hits, answered),
        "recall": (hits, true),
        "balanced_accuracy": (hits, true),
        "f1": (2 * hits, answered + true),
        "f1_weighted": (2 * hits, answered + true),
    }[metric]
    each = np.divide(parts, whole, out=np.zeros_like(hits), where=whole > 0)
    if metric in ("precision", "recall") and hits.shape[-1] == 3:
        return np.asarray(each[..., 1])  # two levels, and the one that is not known
    weights = {"f1_weighted": true, "balanced_accuracy": true > 0}.get(metric, (answered + true) > 0)
    return np.asarray((each * weights).sum(axis=-1) / weights.sum(axis=-1))


def shares(values: np.ndarray) -> np.ndarray:
    """Normalise probabilities (N, K), and give a level the model doesn't know none: (N, K + 1)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.column_stack([values / values.sum(axis=1, keepdims=True), np.zeros(len(values))])


def with_count(scores: np.ndarray) -> np.ndarray:
    """Put a column of ones beside the scores: (N, 2)."""
    return np.column_stack([scores, np.ones(len(scores))]).astype(float)


def confusion(truth: np.ndarray, values: np.ndarray, levels: Sequence[str], cutoff: Cutoff | None = None) -> np.ndarray:
    """Count (truth, answer) pairs: (K + 1, K) integers; the last row is levels the model doesn't know."""
    codes, answers = class_codes(truth, levels), decided(np.asarray(values), levels, cutoff)
    counts = np.zeros((len(levels) + 1, len(levels)), dtype=np.int64)
    np.add.at(counts, (codes, answers), 1)
    return counts
