"""How many incidents a sequence of past windows would have opened, and how many a higher threshold would leave.

Neighbouring windows alarm together, so not alarms are counted but incidents, by the rule in force. Above all that
past windows showed, an incident's height is taken as an exponential excess (the generalised Pareto tail with shape
0, declustered: Coles 2001, An Introduction to Statistical Modeling of Extreme Values, ch. 4 and 5.3; scores are
standardised to a normal's, whose own tail is lighter). With `c` incidents and the sum S of their excesses the next is
higher by more than x with probability (1 + x / S) ** -c: a prediction, which counts that S is itself an estimate.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

BEYOND = 4.0  # times rarer than one incident in all past windows: further the tail is not extrapolated
BASES = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7)  # shares of past windows under the level from which on heights are looked at
HEIGHTS = 20  # incidents that such a level should leave, since a tail is the more exponential the further out it is


@dataclass(frozen=True)
class Episodes:
    """What past windows' highest scores (blocks,), in order of time, say of thresholds, K and N being the rule."""

    scores: np.ndarray
    k: int
    n: int

    @cached_property
    def _levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return, at each window, the level that K of the last N pass, and the one that none passes."""
        before = np.full(self.n - 1, -np.inf)
        last = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, self.scores]), self.n)
        ordered = np.sort(last, axis=1)
        return ordered[:, -self.k], ordered[:, -1]

    def heights(self, threshold: float) -> np.ndarray:
        """Return, of each incident that this threshold opens, the highest level at which it would still open."""
        passed, most = self._levels
        opening, closing = np.flatnonzero(passed > threshold), np.flatnonzero(most <= threshold)
        found, at = [], -1
        while (place := int(np.searchsorted(opening, at, side="right"))) < len(opening):
            start = opening[place]
            ends = closing[np.searchsorted(closing, start) :]
            at = int(ends[0]) if len(ends) else len(self.scores)
            found.append(float(passed[start:at].max()))
        return np.array(found)

    def rate(self, threshold: float) -> float:
        """Return incidents a window at this threshold; one more than was seen is counted, for what was not."""
        seen = len(self.heights(threshold))
        known = (seen + 1) / (len(self.scores) + 1)
        base, excesses = self._tail
        if seen or not len(excesses) or threshold <= base:
            return known
        modelled = (1 + (threshold - base) / excesses.sum()) ** -len(excesses)
        return min(known, (len(excesses) + 1) / (len(self.scores) + 1) * float(modelled))

    @cached_property
    def _tail(self) -> tuple[float, np.ndarray]:
        """Return a level that some incidents pass, and by how much each does; nothing where none passes any."""
        for base in np.quantile(self.scores, BASES).tolist():
            excesses = self.heights(base) - base
            if len(excesses) >= HEIGHTS:
                break
        return base, excesses if excesses.sum() > 0 else np.empty(0)

    @property
    def least(self) -> float:
        """The fewest incidents a window that so short a history supports."""
        return 1 / (len(self.scores) + 1) / (BEYOND if len(self._tail[1]) else 1.0)

    def threshold(self, rate: float) -> float:
        """Return the lowest threshold from which on no higher one opens more incidents a window than `rate`."""
        levels = np.unique(self._levels[0])
        levels = levels[np.isfinite(levels)]
        if not len(levels):
            return float(self.scores.max())
        low = high = float(levels[-1])
        if self.rate(high) <= rate * (1 + 1e-9):
            for level in levels[-2::-1]:
                if self.rate(float(level)) > rate * (1 + 1e-9):
                    break
                high = float(level)
            return high
        while self.rate(high) > rate * (1 + 1e-9):
            low, high = high, high + 1 + (high - low) * 2
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate(middle) > rate * (1 + 1e-9) else (low, middle)
        return high
