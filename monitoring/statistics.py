"""The one drift statistic, on binned counts: how unlike the reference a window's column is.

Two numbers are computed on the counts of reference and window:

* shares: the chi-square of homogeneity over all bins. It sees any change, nulls and new levels included.
* order: Anderson-Darling's squared distance of the cumulative counts. It sees a shift with fewer rows.

Each is standardised by its null distribution (Wilson & Hilferty 1931, The distribution of chi-square), and the
larger is the column's score, in standard deviations of a normal: so columns can share one threshold.
"""

from dataclasses import dataclass

import numpy as np

SMALL = 0.1  # Cohen 1988: less is not even a small effect, however many rows show it
FLOOR = 0.5  # of a null's mean and shape, so that a column without variation has a scale at all


def tally(codes: np.ndarray, bins: int) -> np.ndarray:
    """Count the bins of each row of codes (windows, rows) -> (windows, bins)."""
    offsets = np.arange(len(codes), dtype=np.int64)[:, None] * bins
    return np.bincount((codes + offsets).ravel(), minlength=len(codes) * bins).reshape(len(codes), bins)


def components(reference: np.ndarray, window: np.ndarray, ordered: int) -> np.ndarray:
    """Return (shares, order) on the last axis, from counts (..., bins) whose first `ordered` bins have an order.

    Both have a mean near their degrees of freedom when nothing changed, whatever the sizes. A bin that
    holds less than one row in expectation counts as if it held one: a single odd row is no alarm.
    """
    reference, window = _floats(reference), _floats(window)
    shares = _chi_square(reference, window)
    order = _anderson_darling(reference[..., :ordered], window[..., :ordered]) if ordered > 1 else np.zeros_like(shares)
    return np.stack([shares, order], axis=-1)


def _floats(counts: np.ndarray) -> np.ndarray:
    """Return counts as floats, single precision where they have it already."""
    return np.asarray(counts, dtype=np.float32 if np.asarray(counts).dtype == np.float32 else np.float64)


def _sizes(reference: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return differences of shares, pooled shares, the effective size, and the least share that counts."""
    rows, against = window.sum(-1, keepdims=True), reference.sum(-1, keepdims=True)
    size = rows * against / np.maximum(rows + against, 1)
    difference = window / np.maximum(rows, 1) - reference / np.maximum(against, 1)
    pooled = (window + reference) / np.maximum(rows + against, 1)
    return difference, pooled, size, 1 / np.maximum(size, 1)


def _chi_square(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    difference, pooled, size, least = _sizes(reference, window)
    np.square(difference, out=difference)
    np.maximum(pooled, least, out=pooled)
    np.divide(difference, pooled, out=difference)
    return np.asarray(difference.sum(-1) * size[..., 0])


def _anderson_darling(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    difference, pooled, size, least = _sizes(reference, window)
    apart = np.cumsum(difference, axis=-1)[..., :-1]
    below = np.cumsum(pooled, axis=-1)[..., :-1]
    weight = pooled[..., 1:] + pooled[..., :-1]
    np.square(apart, out=apart)
    np.multiply(apart, weight, out=apart)
    np.divide(apart, np.maximum(below * (1 - below), least), out=apart)
    return np.asarray(apart.sum(-1) * size[..., 0] / 2)


def effect(reference: np.ndarray, window: np.ndarray, ordered: int) -> np.ndarray:
    """Return the largest change of the share of a bin, or below a cut, in its own standard deviations.

    A shift of a normal column by d of its standard deviations gives about 0.8 d.
    """
    reference, window = _floats(reference), _floats(window)
    difference, pooled, _, least = _sizes(reference, window)
    strongest = (np.abs(difference) / np.sqrt(np.maximum(pooled * (1 - pooled), least))).max(-1)
    if ordered > 1:
        apart, below, _, least = _sizes(reference[..., :ordered], window[..., :ordered])
        apart, below = np.cumsum(apart, axis=-1)[..., :-1], np.cumsum(below, axis=-1)[..., :-1]
        strongest = np.maximum(strongest, (np.abs(apart) / np.sqrt(np.maximum(below * (1 - below), least))).max(-1))
    return np.asarray(strongest)


@dataclass(frozen=True)
class Null:
    """How a column's components spread when nothing changed: means and gamma shapes of (shares, order)."""

    mean: tuple[float, float]
    shape: tuple[float, float]


def null_of(draws: np.ndarray) -> Null:
    """Fit a null to components (draws, 2) of windows in which nothing changed."""
    mean = np.maximum(draws.mean(0), FLOOR)
    shape = np.clip(mean**2 / np.maximum(draws.var(0), 1e-9), FLOOR, 2 * mean)
    return Null((float(mean[0]), float(mean[1])), (float(shape[0]), float(shape[1])))


def score(parts: np.ndarray, null: Null) -> np.ndarray:
    """Standardise components (..., 2) and return the larger, in standard deviations."""
    return standardised(parts, np.asarray(null.mean), np.asarray(null.shape))


def standardised(parts: np.ndarray, mean: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return the larger of components (..., 2) by nulls with these means and gamma shapes (..., 2)."""
    nine = 9 * shape
    return np.asarray(((np.cbrt(parts / mean) - (1 - 1 / nine)) * np.sqrt(nine)).max(-1))
