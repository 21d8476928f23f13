"""How sure a metric, or the difference of two models on the same rows, is: a Bayesian bootstrap over blocks of rows.

Each block's rows get one random weight (Dirichlet; Rubin 1981, The Bayesian Bootstrap), and the metric is
recomputed from the weighted sums. Each end of an interval also counts one imagined block that speaks against it,
so that a handful of wins without a loss proves nothing: where blocks are rows that are right or wrong, the
ends are exactly McNemar's exact test (a difference) and Clopper and Pearson's bounds (a share). Needs numpy only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

RESAMPLES = (4_000, 20_000)  # the 5 % quantile is then good to 0.35, where few blocks differ to 0.15 points
BEYOND = 20  # resamples beyond an end, at least
DRAWS = 4_000_000  # about so many random numbers make an interval
DISTINCT = 1000  # more distinct blocks than this are dealt at random into as many groups: same answer, less time
TAIL = 0.05
SEED = 20261101

Value = Callable[[np.ndarray], np.ndarray]
"""Sums of per-row parts (..., P) -> metric (...)."""


@dataclass(frozen=True)
class Interval:
    """An estimate with two one-sided bounds, of 95 % unless asked otherwise. NaN where a score is not finite."""

    estimate: float
    low: float
    high: float
    rows: int
    blocks: int

    @property
    def finite(self) -> bool:
        """Whether all three numbers exist."""
        return bool(np.isfinite([self.estimate, self.low, self.high]).all())

    def within(self, least: float, most: float) -> "Interval":
        """Return the same with no bound beyond what the metric can be."""
        return replace(self, low=float(np.maximum(self.low, least)), high=float(np.minimum(self.high, most)))


def block_sums(parts: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Add up the parts (N, P) of the rows of each block: (B, P)."""
    _, codes = np.unique(blocks.astype(str) if blocks.dtype == object else blocks, return_inverse=True)
    return np.stack([np.bincount(codes, weights=column) for column in parts.T.astype(float)], axis=1)


def paired_interval(
    value: Value, candidate: np.ndarray, champion: np.ndarray, blocks: np.ndarray, tail: float = TAIL
) -> Interval:
    """Bound value(candidate) - value(champion), from both models' parts (N, P) on the same rows; each end at `tail`."""
    width = candidate.shape[1]
    both = np.hstack([candidate, champion])

    def difference(sums: np.ndarray) -> np.ndarray:
        return np.asarray(value(sums[..., :width]) - value(sums[..., width:]))

    if not np.isfinite(both).all():
        return Interval(math.nan, math.nan, math.nan, len(both), len(np.unique(blocks.astype(str))))
    sums = block_sums(both, blocks)
    if np.array_equal(sums[:, :width], sums[:, width:]):
        return Interval(0.0, 0.0, 0.0, len(both), len(sums))
    with np.errstate(invalid="ignore", divide="ignore"):  # one block: nothing is left without it
        against, in_favour = imagined(difference, sums, width)
        low, high = ends(difference, sums, against, in_favour, tail)
    return Interval(float(difference(sums.sum(axis=0))), low, high, len(both), len(sums))


def interval(
    value: Value,
    parts: np.ndarray,
    blocks: np.ndarray,
    worst: np.ndarray | None = None,
    best: np.ndarray | None = None,
    tail: float = TAIL,
) -> Interval:
    """Bound one model's metric; `worst` and `best` are the parts (P,) of the imagined row, where a metric has one."""
    if not np.isfinite(parts).all():
        return Interval(math.nan, math.nan, math.nan, len(parts), len(np.unique(blocks.astype(str))))
    sums = block_sums(parts, blocks)
    nothing = np.zeros(parts.shape[1])
    low, high = ends(value, sums, nothing if worst is None else worst, nothing if best is None else best, tail)
    return Interval(float(value(sums.sum(axis=0))), low, high, len(parts), len(sums))


def imagined(difference: Value, sums: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the imagined blocks: the block of median influence, and the same with the two models' answers swapped.

    Returns:
        The one that speaks against the candidate, then the one that speaks for it, each (2P,).
    """
    total = sums.sum(axis=0)
    influence = difference(total) - difference(total - sums)
    differing = np.flatnonzero((sums[:, :width] != sums[:, width:]).any(axis=1))
    order = differing[np.argsort(np.abs(influence[differing]), kind="stable")]
    typical = order[len(order) // 2]
    block, swapped = sums[typical], np.roll(sums[typical], width)
    return (swapped, block) if influence[typical] > 0 else (block, swapped)


def ends(
    value: Value, sums: np.ndarray, against: np.ndarray, in_favour: np.ndarray, tail: float = TAIL
) -> tuple[float, float]:
    """Return the lower and the upper one-sided bound of `value` over resampled block sums (B, P)."""
    rng = np.random.default_rng(SEED)
    # equal blocks have equal projections; two that differ have, with probability 1, not
    _, first, repeats = np.unique(sums @ rng.random(sums.shape[1]), return_index=True, return_counts=True)
    distinct, counts = sums[first], repeats.astype(float)
    if len(distinct) > DISTINCT:
        groups = rng.permutation(np.arange(len(sums)) % DISTINCT)
        distinct, counts = block_sums(sums, groups), np.ones(DISTINCT)
    fewest, most = RESAMPLES
    resamples = int(np.clip(DRAWS // max(distinct.shape), max(fewest, min(most, BEYOND / tail)), most))
    # the weight of c equal blocks is the sum of c exponentials; every metric is a ratio, so no normalising
    totals = rng.standard_gamma(counts, size=(resamples, len(counts))) @ distinct
    extra = rng.standard_exponential((resamples, 1))
    low = np.quantile(value(totals + extra * against), tail)
    high = np.quantile(value(totals + extra * in_favour), 1 - tail)
    return float(low), float(high)
