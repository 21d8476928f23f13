"""Whether answers are worse than the champion's on rows held out from it: one test, with a known false-alarm rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.outputs import forecasts
from monitoring.budget import Rule, performance_rate, performance_rate_in_time, power_a_window
from monitoring.records import Prediction
from monitoring.reference import Reference, losses_of
from monitoring.statistics import SMALL

POWER = 0.8
WINDOWS = 3  # of history that are needed to say how much windows differ
PARTS = 12  # stretches of history that say it well: halves or quarters of windows where there are fewer windows


@dataclass(frozen=True)
class Degradation:
    """Mean losses of a window and of the held-out rows; `p`: how probable so bad a window is when nothing changed.

    `detectable`: the increase of the mean loss that opens an incident within N windows with 80 % power.
    """

    loss: float
    held_out: float
    p: float
    alpha: float
    detectable: float
    spread: float
    basis: str = ""

    @property
    def degraded(self) -> bool:
        """Whether the window is worse, beyond chance and beyond a small effect."""
        return self.p < self.alpha and self.loss - self.held_out >= SMALL * self.spread


def losses_in(predictions: Sequence[Prediction], task: str) -> np.ndarray:
    """Return the losses (N,) of labelled predictions, in their order."""
    if task == "forecast":
        found, _ = forecasts([prediction.output for prediction in predictions])
        return losses_of(np.array([prediction.label for prediction in predictions], dtype=np.float64), found, task)
    key = "class" if task == "classification" else "value"
    predicted = np.array([prediction.output[key] for prediction in predictions], dtype=object)
    truth = np.array([prediction.label for prediction in predictions], dtype=object)
    return losses_of(truth, predicted, task)


def compare(reference: Reference, losses: np.ndarray, rule: Rule) -> Degradation | None:
    """Test whether a window's losses (N,) are higher than the held-out ones; None where the history can't tell.

    Exchangeable rows: the hypergeometric test for classes (exact), Welch's for values. Rows in time order: the
    window's mean against a t-test on how much stretches of the history differ.
    """
    known, rows = reference.losses, len(losses)
    if reference.exchangeable:
        return _resampled(known, losses, reference.task, rule)
    windows = len(known) // rows
    if windows < WINDOWS:
        return None
    pieces = next(pieces for pieces in (1, 2, 4) if windows * pieces >= PARTS or pieces == 4)
    size = rows // pieces
    means = known[len(known) - size * pieces * windows :].reshape(-1, size).mean(1)
    apart = float(means.std(ddof=1)) * np.sqrt(size / rows)
    spread = max(apart, _spread(known) / np.sqrt(rows)) * np.sqrt(1 + 1 / windows)
    alpha, freedom = performance_rate_in_time(rule), len(means) - 1
    found = _judged(known, losses, alpha, spread=float(spread), freedom=freedom, sigmas=power_a_window(rule, POWER))
    return replace(found, basis=f"{len(means)} stretches of {size} rows of history")


def _resampled(known: np.ndarray, losses: np.ndarray, task: str, rule: Rule) -> Degradation:
    from scipy.stats import hypergeom

    rows, against = len(losses), len(known)
    spread = float(np.sqrt(_spread(known) ** 2 / against + _spread(losses, known) ** 2 / rows))
    alpha, freedom = performance_rate(rule, rows / against), min(rows, against) - 1
    found = _judged(known, losses, alpha, spread=spread, freedom=freedom, sigmas=power_a_window(rule, POWER))
    found = replace(found, basis=f"{against} held-out rows")
    if task != "classification":
        return found
    wrong, wrong_before = int(losses.sum()), int(known.sum())
    exact = float(hypergeom.sf(wrong - 1, rows + against, wrong + wrong_before, rows))
    return replace(found, p=exact)


def _judged(
    known: np.ndarray, losses: np.ndarray, alpha: float, *, spread: float, freedom: int, sigmas: float
) -> Degradation:
    """Test the difference of the means; `spread` is its own standard deviation, `sigmas` what seeing it takes."""
    from scipy.stats import t

    loss, held_out = float(losses.mean()), float(known.mean())
    p = float(t.sf((loss - held_out) / spread, freedom))
    visible = max(float(t.isf(alpha, freedom) + sigmas) * spread, SMALL * _spread(known))
    return Degradation(loss, held_out, p, alpha, visible, _spread(known))


def _spread(losses: np.ndarray, *more: np.ndarray) -> float:
    """Return the standard deviation of losses; of classes, never 0 however few errors were seen."""
    all_of = np.concatenate([losses, *more])
    if np.isin(all_of, (0.0, 1.0)).all():
        wrong = (all_of.sum() + 1) / (len(all_of) + 2)
        return float(np.sqrt(wrong * (1 - wrong)))
    return max(float(losses.std()), 1e-12)
