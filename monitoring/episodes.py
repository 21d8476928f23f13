"""From past windows' highest scores to a threshold: how often windows alarm, and how many incidents that opens.

Neighbouring windows alarm together, so alarms are taken as a Markov chain of two states, as persistent as past windows
were; and what the chain expects is held against the incidents that past windows would have opened. Above all scores
that were seen, excesses are taken as exponential (the generalised Pareto tail with shape 0, declustered: Coles 2001,
An Introduction to Statistical Modeling of Extreme Values, ch. 4 and 5.3; scores are standardised to a normal's, whose
own tail is lighter). With `c` clusters and the sum S of their excesses the next is higher by more than x with
probability (1 + x / S) ** -c: a prediction, which counts that S is itself an estimate.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from monitoring.budget import Rule, incidents, rate_for

BEYOND = 4.0  # times rarer than one alarm in all past windows: further the tail is not extrapolated
BASES = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7)  # shares of past windows under the level from which on a tail is looked at
CLUSTERS = 20  # that such a level should leave, since a tail is the more exponential the further out it is
FOLLOWED = (0.2, 30)  # share of past windows, but no more of them, by which it is seen how alarms follow each other
STRANGE = 2.0  # standard deviations by which more incidents than expected contradict the chain


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

    @cached_property
    def persistence(self) -> float:
        """The correlation of an alarm with the window before, and a standard error more, since it is an estimate."""
        share, most = FOLLOWED
        alarms = self.scores > np.quantile(self.scores, 1 - min(share, most / len(self.scores)))
        if len(alarms) < 3 or alarms[1:].all() or alarms[:-1].all() or not (alarms[1:].any() and alarms[:-1].any()):
            return 0.95
        seen = float(np.corrcoef(alarms[:-1], alarms[1:])[0, 1])
        return round(float(np.clip(seen + 1 / np.sqrt(len(alarms)), 0, 0.95)), 2)

    @cached_property
    def _tail(self) -> tuple[float, np.ndarray]:
        """Return a level, and by how much each cluster of alarms passes it; nothing where none does."""
        clusters = Episodes(self.scores, 1, self.n)
        for base in np.quantile(self.scores, BASES).tolist():
            excesses = clusters.heights(base) - base
            if len(excesses) >= CLUSTERS:
                break
        return base, excesses if excesses.sum() > 0 else np.empty(0)

    @property
    def rarest(self) -> float:
        """The smallest probability of an alarm that so short a history supports."""
        return self._unseen / (len(self.scores) + 1) / (BEYOND if len(self._tail[1]) else 1.0)

    @property
    def _unseen(self) -> float:
        """How many alarms one more cluster would have, which is counted for what was not seen."""
        return 1 / (1 - self.persistence)

    def passed(self, rate: float) -> float:
        """Return the score that a window passes with this probability; one more cluster is counted than was seen."""
        ordered, many = np.sort(self.scores)[::-1], len(self.scores) + 1
        allowed = rate * many * (1 + 1e-9) - self._unseen
        if allowed >= 0:
            return float(np.interp(allowed, np.arange(len(ordered)), ordered))
        base, excesses = self._tail
        if not len(excesses):
            return float(ordered[0])
        further = excesses.sum() * ((rate * many / (self._unseen + (ordered > base).sum())) ** (-1 / len(excesses)) - 1)
        return max(float(ordered[0]), base + float(further))

    def threshold(self, asked: float, rule: Rule) -> tuple[float, float]:
        """Return the lowest threshold that opens at most `asked` incidents a quarter, and how many it stands for."""
        wanted = rate_for(asked, rule.windows, rule.k, rule.n, self.persistence)
        rate = max(wanted, self.rarest)
        level = self.passed(rate)
        stated = max(asked, float(incidents(np.array(rate), rule, self.persistence))) if rate > wanted else asked
        expected = stated / rule.windows * len(self.scores)
        while len(self.heights(level)) > expected + STRANGE * np.sqrt(expected):
            level = float(np.min(self.scores[self.scores > level]))
        return level, stated
