"""What ROC, precision-recall and calibration plots are drawn from: few points, from which no single row can be told.

Needs numpy only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.confusions import class_codes

POINTS = 60  # of a curve
BINS = 10  # of a calibration plot, each with as many rows as the others
LEAST = 10  # rows of a bin
ENOUGH = 20  # rows: fewer give no curve


def curves(truth: np.ndarray, values: np.ndarray, levels: Sequence[str]) -> dict[str, Any]:
    """Return the points of the curves that probabilities (N, K) of N rows have; of two levels the last is looked for.

    Returns: `roc` [[false alarms, found], …] and `precision_recall` [[found, right], …], shares of rows, of two levels
        that both occur; `calibration` [[said, came true, rows], …], of the likeliest level where there are more;
        `share`, of rows that are of the level looked for, else None; `about`, that level.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < ENOUGH or not np.isfinite(values).all():
        return {}
    codes = class_codes(truth, levels)
    if len(levels) != 2:
        right = values.argmax(axis=1) == codes
        return {"calibration": calibration(values.max(axis=1), right), "share": None, "about": None}
    scores, belongs = values[:, 1], codes == 1
    found: dict[str, Any] = {"calibration": calibration(scores, belongs)}
    found |= {"share": float(belongs.mean()), "about": str(levels[1])}
    if 0 < belongs.sum() < len(belongs):
        caught, false = steps(scores, belongs)
        found["roc"] = thinned(np.column_stack([np.r_[0, false] / (~belongs).sum(), np.r_[0, caught] / belongs.sum()]))
        found["precision_recall"] = thinned(np.column_stack([caught / belongs.sum(), caught / (caught + false)]))
    return found


def steps(scores: np.ndarray, belongs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many rows of the level, and of the other, score as high as each distinct score or higher."""
    _, which = np.unique(-scores, return_inverse=True)
    caught = np.cumsum(np.bincount(which, weights=belongs))
    return caught, np.cumsum(np.bincount(which, weights=~belongs))


def thinned(points: np.ndarray) -> list[list[float]]:
    """Return at most `POINTS` of the points (M, 2) as they come, the ends among them, evenly along the curve."""
    if len(points) > POINTS:
        length = np.r_[0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))]
        places = np.searchsorted(length, np.linspace(0, length[-1], POINTS)).clip(0, len(points) - 1)
        points = points[np.unique(np.r_[0, places, len(points) - 1])]
    return [[round(float(x), 5), round(float(y), 5)] for x, y in points]


def calibration(said: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """Return mean probability, share that came true, and rows, for bins from low to high."""
    bins = min(BINS, len(said) // LEAST)
    parts = np.array_split(np.argsort(said, kind="stable"), bins) if bins else []
    return [[float(said[part].mean()), float(right[part].mean()), len(part)] for part in parts]
