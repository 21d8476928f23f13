"""Whether answers are worse than the champion's on rows held out from it: one test, with a known false-alarm rate."""

from dataclasses import dataclass, replace

import numpy as np

from monitoring.answers import Answers
from monitoring.budget import (
    ASSUMED,
    Rule,
    performance_rate,
    performance_rate_in_time,
    performance_share,
    power_a_window,
)
from monitoring.reference import Reference, losses_of
from monitoring.statistics import SMALL

POWER = 0.8
WINDOWS = 3  # of history that are needed to say how much windows differ; days, likewise
ENOUGH = 8  # stretches of history, from which on they can contradict that rows are exchangeable
UNLIKELY = 1e-3
PARTS = 12  # stretches of history that say it well: halves or quarters where windows are fewer, and differ no more


@dataclass(frozen=True)
class Degradation:
    """Mean losses of a window and of the held-out rows; `p`: how probable so bad a window is when nothing changed.

    `detectable`: the increase of the mean loss that opens an incident within N windows with 80 % power; `level`: a mean
    loss that a degraded window passes as well, where past days call for one.
    """

    loss: float
    held_out: float
    p: float
    alpha: float
    detectable: float
    spread: float
    basis: str = ""
    level: float = -np.inf

    @property
    def degraded(self) -> bool:
        """Whether the window is worse, beyond chance and beyond a small effect."""
        beyond = self.p < self.alpha and self.loss > self.level
        return beyond and self.loss - self.held_out >= SMALL * self.spread


def losses_in(answers: Answers, task: str) -> np.ndarray:
    """Return the losses (N,) of labelled answers, in their order."""
    assert answers.labels is not None
    if answers.channels:
        return losses_of(np.array(answers.labels.tolist(), dtype=np.float64), answers.predicted, task)
    return losses_of(answers.labels, answers.predicted, task)


def together(known: np.ndarray, rows: int) -> bool:
    """Tell whether held-out losses (M,) hang together in time, as far as stretches of a window's rows show it.

    If any row could stand for any other, means of stretches would differ as chance lets them: a chi-square test.
    """
    from scipy.stats import chi2

    means, size = _stretches(known, rows)
    if len(means) < ENOUGH:
        return False
    apart = float(means.var()) * len(means) * size / _spread(known) ** 2
    return bool(chi2.sf(apart, len(means) - 1) < UNLIKELY)


def against_held_out(reference: Reference, losses: np.ndarray, rule: Rule) -> Degradation:
    """Test whether a window's losses (N,) are higher than held-out ones that any window could have had.

    The hypergeometric test for classes (exact), Welch's for values.
    """
    from scipy.stats import hypergeom

    known, rows, against = reference.losses, len(losses), len(reference.losses)
    spread = float(np.sqrt(_spread(known) ** 2 / against + _spread(losses, known) ** 2 / rows))
    alpha, freedom = performance_rate(rule, rows / against), min(rows, against) - 1
    found = _judged(known, losses, alpha, spread=spread, freedom=freedom, rule=rule)
    found = replace(found, basis=f"{against} held-out rows")
    if reference.task != "classification":
        return found
    wrong, wrong_before = int(losses.sum()), int(known.sum())
    exact = float(hypergeom.sf(wrong - 1, rows + against, wrong + wrong_before, rows))
    return replace(found, p=exact)


def against_past(reference: Reference, losses: np.ndarray, rule: Rule) -> Degradation | None:
    """Test whether a window's losses (N,), which hang together in time, are higher; None where history can't tell.

    Its mean against a t-test on how much stretches of the history differ, and windows shorter than a day against the
    worst hours of past days as well.
    """
    from scipy.stats import t

    known, rows = reference.losses, len(losses)
    windows = len(known) // rows
    if windows < WINDOWS:
        return None
    whole = known[len(known) - rows * windows :].reshape(-1, rows).mean(1)
    means, size = _stretches(known, rows)
    if whole.std(ddof=1) > means.std(ddof=1) * np.sqrt(size / rows):
        means, size = whole, rows  # parts of a window hang together, so they say too little of how much windows differ
    apart, freedom = float(means.std(ddof=1)) * np.sqrt(size / rows), len(means) - 1
    spread = float(max(apart, _spread(known) / np.sqrt(rows)) * np.sqrt(1 + 1 / windows))
    alpha = performance_rate_in_time(rule)
    found = _judged(known, losses, alpha, spread=spread, freedom=freedom, rule=rule)
    runs = np.lib.stride_tricks.sliding_window_view(whole, min(rule.n, windows))
    passed = np.sort(runs, axis=1)[:, -min(rule.k, windows)]
    level, days = _worst_of_days(whole, passed, rule)
    basis = f"{len(means)} stretches of {size} rows of history{days}"
    limit = max(found.held_out + float(t.isf(alpha, freedom)) * spread, level)
    # what past windows lacked: more wrong answers anywhere, or values that are off by more wherever they are off
    lacked = limit - passed
    if reference.task != "classification":
        lacked *= found.held_out / np.maximum(passed, np.finfo(float).tiny)
    visible = max(found.detectable, float(np.quantile(lacked, POWER)))
    return replace(found, basis=basis, level=level, detectable=visible)


def _stretches(known: np.ndarray, rows: int) -> tuple[np.ndarray, int]:
    """Return the mean losses of past windows, or of halves or quarters where these are few, and the rows of each."""
    windows = len(known) // rows
    pieces = next(pieces for pieces in (1, 2, 4) if windows * pieces >= PARTS or pieces == 4)
    size = max(rows // pieces, 1)
    return known[len(known) - size * pieces * windows :].reshape(-1, size).mean(1), size


def _worst_of_days(means: np.ndarray, passed: np.ndarray, rule: Rule) -> tuple[float, str]:
    """Return a mean loss that K of N windows hardly ever pass in a day, and the days behind it, in words.

    `means`: of past windows, none of which passes it; `passed`: what K of N of them did. Windows shorter than a day
    alarm together, and in the hours that are always worst. The highest of a day is Gumbel's (Coles 2001, ch. 3), fitted
    by its moments; these being estimates, it is taken to be as much wider as Student's quantile is than the normal's.
    """
    from scipy.stats import norm, t

    a_day = round(rule.windows / ASSUMED)
    if a_day < 2:
        return -np.inf, ""
    days, highest = len(passed) // a_day, float(means.max())
    if days < WINDOWS:
        return highest, ", too few days"
    tops, rare = passed[len(passed) - days * a_day :].reshape(days, a_day).max(1), performance_share(rule) / ASSUMED
    wider = np.sqrt(1 + 1 / days) * max(float(t.isf(rare, days - 1) / norm.isf(rare)), 1.0)
    standard = (-np.log(-np.log1p(-rare)) - np.euler_gamma) * np.sqrt(6) / np.pi  # Gumbel's quantile
    return max(highest, float(tops.mean() + standard * wider * tops.std(ddof=1))), f", {days} days"


def _judged(
    known: np.ndarray, losses: np.ndarray, alpha: float, *, spread: float, freedom: int, rule: Rule
) -> Degradation:
    """Test the difference of the means; `spread` is its own standard deviation."""
    from scipy.stats import t

    loss, held_out = float(losses.mean()), float(known.mean())
    p = float(t.sf((loss - held_out) / spread, freedom))
    sigmas = power_a_window(rule, POWER, len(losses) / len(known))
    visible = max(float(t.isf(alpha, freedom) + sigmas) * spread, SMALL * _spread(known))
    return Degradation(loss, held_out, p, alpha, visible, _spread(known))


def _spread(losses: np.ndarray, *more: np.ndarray) -> float:
    """Return the standard deviation of losses; of classes, never 0 however few errors were seen."""
    all_of = np.concatenate([losses, *more])
    if np.isin(all_of, (0.0, 1.0)).all():
        wrong = (all_of.sum() + 1) / (len(all_of) + 2)
        return float(np.sqrt(wrong * (1 - wrong)))
    return max(float(losses.std()), 1e-12)
