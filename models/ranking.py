"""How well scores put the rows of a class before all others: the area under the ROC curve, and average precision.

Neither is a sum over rows, but each is one to first order: the metric plus N times a row's influence on it is the
row's pseudo-value, whose mean is the metric itself and whose spread, over rows or over blocks of them, says how sure it
is. For the area this is the method of DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44) and, with blocks, Obuchowski
1997 (Biometrics 53); for average precision the infinitesimal jackknife (Jaeckel 1972; Efron 1982, The Jackknife,
the Bootstrap and Other Resampling Plans, chapter 6). Needs numpy only.
"""

from collections.abc import Callable

import numpy as np

Influence = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]
"""Scores (N,) and whether each row is of the class (N,) -> the metric, and what each row's weight moves it by."""


def area(scores: np.ndarray, belongs: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the area under the ROC curve and each row's influence; NaN without rows of both kinds."""
    inside, outside = np.sort(scores[belongs]), np.sort(scores[~belongs])
    if not len(inside) or not len(outside):
        return np.nan, np.full(len(scores), np.nan)
    won = np.where(belongs, share_below(outside, scores), 1 - share_below(inside, scores))
    value = float(won[belongs].mean())
    return value, (won - value) / np.where(belongs, len(inside), len(outside))


def share_below(others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the share of sorted `others` below each score; an equal one counts half."""
    ends = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
    return np.asarray(ends / (2 * len(others)))


def precision_averaged(scores: np.ndarray, belongs: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the average precision and each row's influence; NaN without a row of the class."""
    count = int(belongs.sum())
    if not count:
        return np.nan, np.full(len(scores), np.nan)
    order, inside = np.sort(scores), np.sort(scores[belongs])
    first = np.searchsorted(order, inside, "left")
    above = len(order) - first  # rows that score as high as this one of the class, or higher
    found = count - np.searchsorted(inside, inside, "left")  # those of them that are of the class
    value = float((found / above).mean())
    upto = np.searchsorted(inside, scores, "right")  # rows of the class that score as low as this row, or lower
    gained = np.r_[0.0, np.cumsum(1 / above)][upto]
    diluted = np.r_[0.0, np.cumsum(found / above**2)][upto]
    own = np.zeros(len(scores))
    place = np.searchsorted(inside, scores[belongs], "left")
    own[belongs] = (found / above)[place] - value
    return value, (own + belongs * gained - diluted) / count


RANKED: dict[str, Influence] = {"roc_auc": area, "average_precision": precision_averaged}


def raw_parts(codes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what is ranked, (N, 2C): scores for C classes, then whether the row is of each.

    Of two classes the last one is looked for; of more, each against the rest.
    """
    wanted = range(probabilities.shape[1]) if probabilities.shape[1] != 2 else [1]
    belongs = np.column_stack([codes == place for place in wanted])
    return np.hstack([probabilities[:, list(wanted)], belongs.astype(float)])


def linear(metric: str, parts: np.ndarray) -> np.ndarray:
    """Return pseudo-values and ones (N, 2), whose sums decide the metric, from `raw_parts`; the classes' mean.

    NaN where a class has no rows, or an answer is not finite.
    """
    if not np.isfinite(parts).all():
        return np.full((len(parts), 2), np.nan)
    scores, belongs = np.split(parts, 2, axis=1)
    found = [RANKED[metric](one, its > 0) for one, its in zip(scores.T, belongs.T, strict=True)]
    value = np.mean([each for each, _ in found])
    influence = np.mean([each for _, each in found], axis=0)
    return np.column_stack([value + len(parts) * influence, np.ones(len(parts))])


def extremes(parts: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the linear parts (2,) of the worst and of the best row that can be imagined, of the rarest kind there is.

    A row that is ranked as badly as can be takes the whole value from its share of that kind.
    """
    belongs = np.split(parts, 2, axis=1)[1]
    counts = belongs.sum(axis=0)
    rarest = max(float(min(counts.min(), (len(parts) - counts).min())), 1.0)
    weight = len(parts) / rarest
    return np.array([value - value * weight, 1.0]), np.array([value + (1 - value) * weight, 1.0])
