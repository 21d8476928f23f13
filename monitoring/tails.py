"""How often a score as high as this comes, also where it was seldom seen: the tail of the highest score."""

from dataclasses import dataclass

import numpy as np

TAIL = 0.2  # of a reference's windows, above which the tail's own form takes over
BENT = 0.3  # the most that a tail's shape may differ from an exponential's


@dataclass(frozen=True)
class Tail:
    """The highest scores (R, W) of unchanged windows, by reference.

    Excesses over a high level follow a generalised Pareto distribution (Pickands 1975, Statistical inference using
    extreme order statistics; Coles 2001, An Introduction to Statistical Modeling of Extreme Values, ch. 4). Each
    reference has its own level, which is its luck; form and scale are common.
    """

    scores: np.ndarray
    levels: np.ndarray
    scale: float
    shape: float

    def exceeded(self, threshold: float) -> np.ndarray:
        """Return the probability (R,) that a window's highest score passes the threshold, given each reference."""
        above = np.maximum(threshold - self.levels, 0) / self.scale
        base = np.maximum(1 + self.shape * above, 1e-12)
        modelled = TAIL * (np.exp(-above) if abs(self.shape) < 1e-6 else base ** (-1 / self.shape))
        return np.where(threshold > self.levels, modelled, (self.scores > threshold).mean(1))


def tail_of(scores: np.ndarray) -> Tail:
    """Fit the tail of scores (R, W) by probability-weighted moments (Hosking & Wallis 1987, Technometrics 29)."""
    levels = np.quantile(scores, 1 - TAIL, axis=1)
    excesses = scores - levels[:, None]
    over = np.sort(excesses[excesses > 0])
    if len(over) < 20:  # scores that never move: no column has more than one bin
        return Tail(scores, levels, 1e-9, 0.0)
    ranks = (np.arange(1, len(over) + 1) - 0.35) / len(over)
    first, second = float(over.mean()), float((over * (1 - ranks)).mean())
    shape = float(np.clip(2 - first / (first - 2 * second), -BENT, BENT))
    return Tail(scores, levels, max(first * (1 - shape), 1e-9), shape)
