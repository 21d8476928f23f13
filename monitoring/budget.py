"""How many false incidents a quarter are bearable, and how often a single window may then alarm.

An incident opens when K of the last N windows alarm, and closes after N quiet ones; while it is open no other opens.
All checks share one budget: a window alarms when its data or its performance does.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np

from monitoring.declarations import Monitors

NORMAL = NormalDist()
QUARTER = timedelta(days=365.25 / 4)
ASSUMED = QUARTER / timedelta(days=1)  # windows a quarter where nobody knows how fast rows come: one a day
PERFORMANCE = 0.1  # of the alarms a window that may be false; the columns have the rest
RISE = 0.05  # of the incidents that may be false, for rises of errors that no single window shows; taken off first
ROUNDING = 0.05  # of a budget, within which it counts as met
MOST = 0.1  # false alarms a window, however large the budget: a verdict of drift should mean something


@dataclass(frozen=True)
class Rule:
    """When windows make an incident, and how many false ones are asked for at most.

    `asked`: false incidents a quarter; `windows`: windows a quarter, which may be less than one; `span`: seconds of a
    window, 0 where it is counted in rows; `known` is false where `windows` is assumed.
    """

    asked: float
    windows: float
    k: int
    n: int
    span: float = 0.0
    known: bool = True

    @property
    def by_windows(self) -> float:
        """False incidents a quarter that K of N windows may open; the rest is for rises over many windows."""
        return (1 - RISE) * self.asked

    @property
    def rate(self) -> float:
        """Probability of a false alarm of one window, of either check, if all windows had the same."""
        return rate_for(self.by_windows, self.windows, self.k, self.n)

    @property
    def within(self) -> str:
        """How soon an incident opens at the latest for whom it would open at all, for people."""
        if not self.span:
            return f"{self.n} windows" if self.n > 1 else "a window"
        return duration(timedelta(seconds=self.n * self.span))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Rule":
        """Read what `to_json` returned, in whatever else."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__})


def rule_of(monitors: Monitors, rows_a_quarter: float) -> Rule:
    """Return the rule that a project declares; `rows_a_quarter`: how many rows come, 0 where nobody knows."""
    window, k, n = monitors.window, monitors.k, monitors.n
    if window.span is not None:
        return Rule(monitors.false_incidents, QUARTER / window.span, k, n, window.span.total_seconds())
    if window.rows and rows_a_quarter:
        return Rule(monitors.false_incidents, rows_a_quarter / window.rows, k, n)
    return Rule(monitors.false_incidents, ASSUMED, k, n, known=False)


def performance_rate(rule: Rule, ratio: float) -> float:
    """Return the probability of a false alarm that one window's performance may have; the columns have the rest.

    All windows are compared with the same held-out rows, and share their luck: `ratio` is a window's rows over those.
    Independent only given that luck, windows of an unlucky sample alarm together; incidents are averaged over it.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    own, shared = 1 / np.sqrt(1 + ratio), np.sqrt(ratio / (1 + ratio))
    bearable = float(incidents(np.array(PERFORMANCE * rule.rate), rule))
    low, high = 0.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        given_luck = np.array([NORMAL.cdf((shared * luck - middle) / own) for luck in nodes])
        kept = incidents(given_luck, rule) @ weights / weights.sum() <= bearable
        low, high = (low, middle) if kept else (middle, high)
    return min(NORMAL.cdf(-high), PERFORMANCE * rule.rate)


def performance_rate_in_time(rule: Rule) -> float:
    """Return the same where rows hang together in time: as if a window's neighbours always alarmed with it."""
    return min(performance_share(rule) / rule.windows, PERFORMANCE * rule.rate)


def performance_share(rule: Rule) -> float:
    """Return the false incidents a quarter that performance may have a part in where rows hang together in time."""
    return (1 - data_share(rule)) * rule.asked


def data_share(rule: Rule) -> float:
    """Return the part of the incidents that is the columns' own: one needs K alarms."""
    return float((1 - PERFORMANCE) ** rule.k)


@lru_cache(maxsize=256)
def power_a_window(rule: Rule, power: float, ratio: float) -> float:
    """Return how many standard deviations beyond the threshold a change must lie for K of N windows to alarm.

    Of the difference between a window and the held-out rows, whose luck N windows share; `ratio` as above.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    own, shared = 1 / np.sqrt(1 + ratio), np.sqrt(ratio / (1 + ratio))
    low, high = -4.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        rates = np.array([NORMAL.cdf((middle + shared * luck) / own) for luck in nodes])
        seen = power_of_windows(rates, rule) @ weights / weights.sum() >= power
        low, high = (low, middle) if seen else (middle, high)
    return high


@dataclass(frozen=True)
class Budget:
    """What was asked and what holds: false incidents a quarter, over all columns and checks together.

    `supported` is what the thresholds are set for; more than `asked` where the history is too short for that.
    `history`: past windows behind it, 0 where rows were resampled; `contradicted`: whether they stand in because they
    differ more than the project's exchangeable rows could.
    """

    rule: Rule
    supported: float
    history: int = 0
    contradicted: bool = False

    @property
    def asked(self) -> float:
        """False incidents a quarter that are bearable."""
        return self.rule.asked

    @property
    def windows(self) -> float:
        """Windows a quarter."""
        return self.rule.windows

    @property
    def met(self) -> bool:
        """Whether no more than was asked for is to be expected."""
        return self.supported <= self.asked * (1 + ROUNDING)

    @property
    def sentence(self) -> str:
        """The budget in force, for people."""
        said = f"{incidents_in_words(self.supported)} a quarter"
        if not self.met:
            least = f"the least that {self.history} windows of history support"
            said = f"{said}, {least} ({figure(self.asked)} was asked)"
        if self.contradicted:
            said += f" (rows are not exchangeable: {self.history} past windows differ too much)"
        return said

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**self.rule.to_json(), "supported": self.supported, "history": self.history}


def incidents(rates: np.ndarray, rule: Rule, persistence: float = 0.0) -> np.ndarray:
    """Return false incidents a quarter for windows that alarm with these probabilities.

    `persistence`: correlation of an alarm with the window before, 0 where windows are independent. Incidents never
    fall with the rate: windows that alarm all the time make one long incident, which is no better than many.
    """
    known, openings = _openings(rule.k, rule.n, persistence)
    log = np.log(np.clip(np.asarray(rates, float), 1e-12, known[-1]))
    found = np.interp(log, np.log(known), np.log(openings))
    steepest = 1 if persistence else rule.k  # K alarms for one incident
    found += steepest * np.minimum(log - np.log(known[0]), 0)
    return np.asarray(rule.windows * np.exp(found))


def rate_for(asked: float, windows: float, k: int, n: int, persistence: float = 0.0) -> float:
    """Return the probability of a false alarm of one window that leads to `asked` incidents in `windows` windows."""
    rates = np.geomspace(1e-9, MOST, 400)
    found = incidents(rates, Rule(asked, windows, k, n), persistence)
    return float(np.exp(np.interp(np.log(asked), np.log(found), np.log(rates))))


def until_incident(rate: float, rule: Rule) -> float:
    """Return how many windows it takes on average until an incident opens, where windows alarm with this rate."""
    steps = _waiting(rule.k, rule.n, min(max(rate, 1e-3), 1.0))
    return steps if rate >= 1e-3 else float("inf")


def power_of_windows(rates: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the probability that at least K of N windows alarm, each with these probabilities."""
    from scipy.stats import binom

    return np.asarray(binom.sf(rule.k - 1, rule.n, rates))


@lru_cache(maxsize=256)
def _openings(k: int, n: int, persistence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rates of alarms and, for each, incidents a window: one over the windows from one opening to the next.

    Alarms are a Markov chain of two states; an open incident waits for N quiet windows in a row.
    """
    rates = np.concatenate([np.geomspace(max(1e-5, 10 ** (-10 / k)), 0.3, 60), np.linspace(0.32, 0.98, 34)])
    found = []
    for rate in rates:
        ends, stays = (1 - rate) * (1 - persistence), 1 - rate * (1 - persistence)  # quiet after an alarm; after quiet
        run = stays ** (n - 1)
        closing = (1 / ends + (1 - run) / (1 - stays)) / run
        found.append(1 / (_waiting(k, n, rate, persistence) + closing))
    return rates, np.asarray(np.maximum.accumulate(found))


def _waiting(k: int, n: int, rate: float, persistence: float = 0.0) -> float:
    """Return the mean number of windows, from N quiet ones on, until K of the last N have alarmed."""
    states = [bits for bits in product((0, 1), repeat=max(n - 1, 1)) if sum(bits) < k]
    place = {bits: index for index, bits in enumerate(states)}
    left = np.eye(len(states))
    for bits, index in place.items():
        alarm = rate * (1 - persistence) + persistence * bits[-1]
        left[index, place[(*bits, 0)[1:]]] -= 1 - alarm
        if sum(bits[len(bits) - n + 1 :]) + 1 < k:
            left[index, place[(*bits, 1)[1:]]] -= alarm
    return float(np.linalg.solve(left, np.ones(len(states)))[place[(0,) * max(n - 1, 1)]])


def incidents_in_words(count: float) -> str:
    """Write a number of false incidents for people."""
    return f"{figure(count)} false incident{'' if figure(count) == '1' else 's'}"


def figure(count: float) -> str:
    """Write a rate with two digits, whole numbers as such."""
    return f"{count:.0f}" if count >= 9.95 else f"{float(f'{count:.2g}'):g}"


def duration(time: timedelta) -> str:
    """Write a time in the largest unit that fits."""
    seconds = time.total_seconds()
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit:
            many = figure(seconds / unit)
            return f"{many} {name}{'' if many == '1' else 's'}"
    return f"{seconds:g} seconds"
