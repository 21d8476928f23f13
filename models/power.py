"""How small a gain so many labels can show: what a training can hope for, said before it starts. Needs numpy only.

`better` shows a gain when the one-sided 95 % bound of a paired difference is above 0. A true gain g is found with
80 % power when g = (z_0.95 + z_0.80) * s, where s is the standard error of the paired difference (Connor 1987, Sample
Size for Testing Differences in Proportions for the Paired-Sample Design, Biometrics 43; for comparing models on one
test set: Card et al. 2020, With Little Power Comes Great Responsibility, arXiv:2010.06595). There is no candidate yet,
so s is that of a pilot: a known model and a simple learner on the very rows that will judge.
"""

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from models.comparison import Sample, amount, gain
from models.gates import MINIMUM_BLOCKS
from models.resampling import TAIL, Interval

Z_BOUND = 1.6449  # normal quantile of 95 %: the gate's
Z_POWER = 0.8416  # of 80 %
ALIKE = "a simple learner answers as the known model does"
STEPS = 40  # halvings of the range in which a gain is looked for


@dataclass(frozen=True)
class Detectable:
    """The smallest gain, in the metric's unit, that is shown 4 times in 5; None where no gain is."""

    rows: int
    change: float | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def detectable(
    metric: str,
    known: np.ndarray,
    pilot: np.ndarray,
    blocks: np.ndarray,
    *,
    unit: str = "entities",
    tail: float = TAIL,
) -> Detectable:
    """Say what gain over a known model the rows can show.

    Two networks on the same data differ less than a network and a simple learner, as a rule; then somewhat less of a
    gain shows too.

    Args:
        metric: the deciding one.
        known: (N, P) the known model's parts of the metric on the rows that will judge.
        pilot: (N, P) the simple learner's.
        blocks: (N,) rows of one block are not independent.
        unit: what a block is, in the plural.
        tail: of the gate's bound, smaller where the rows have judged others before (models.looks).
    """
    rows = len(blocks)
    few = len(set(blocks.tolist()))
    if few < MINIMUM_BLOCKS:
        said = f"{rows:,} labels in {few:,} {unit} can show no gain: {MINIMUM_BLOCKS} {unit} are needed"
        return Detectable(rows, None, said)
    if not (np.isfinite(known).all() and np.isfinite(pilot).all()):
        return Detectable(rows, None, f"{rows:,} labels: not every answer is a number, so no gain can be foretold")
    alike = np.array_equal(known, pilot)
    if alike and metric != "accuracy":
        return Detectable(rows, None, f"{rows:,} labels: {ALIKE}, which can't foretell what gain shows")
    bound = NormalDist().inv_cdf(1 - tail)
    change = (
        smallest_share(known, pilot, blocks, bound)
        if metric == "accuracy"
        else smallest(metric, known, pilot, blocks, bound)
    )
    if not 0 < change < math.inf:
        return Detectable(rows, None, f"{rows:,} labels can't show even the gain of a perfect model")
    said = f"{change * 100:.1f} points" if metric == "accuracy" else amount(change, metric)
    said = f"{rows:,} labels can show a gain of {said} or more"
    return Detectable(rows, change, f"{said}, however far a candidate differs ({ALIKE})" if alike else said)


def smallest(metric: str, known: np.ndarray, pilot: np.ndarray, blocks: np.ndarray, bound: float = Z_BOUND) -> float:
    """Return the smallest gain that shows, were a candidate to differ from the known model as the pilot does."""
    return enough(standard_error(gain(metric, Sample(blocks, known), pilot)), bound)


def smallest_share(known: np.ndarray, pilot: np.ndarray, blocks: np.ndarray, bound: float = Z_BOUND) -> float:
    """Return the smallest gain in the share of right answers that shows; NaN where a perfect model's doesn't.

    The pilot differs from the known model, wrong in a share e of rows, in a share d of them. A candidate with
    the gain g can differ in no more than 2 e - g of them, and varies less by that. A pilot that differs nowhere
    can't tell how far one will: then it is held to differ as far as it can.
    """
    wrong = 1 - known[:, 0].mean()
    if not wrong > 0:
        return math.nan
    alike = np.array_equal(known, pilot)
    other = np.ones_like(known) if alike else pilot  # right everywhere: it differs where the known model is wrong
    differing = (known[:, 0] != other[:, 0]).mean()
    error = standard_error(gain("accuracy", Sample(blocks, known), other))

    def shows(change: float) -> bool:
        most = 2 * wrong - change
        share = most if alike else min(float(differing), most)
        return bool(change >= enough(error * math.sqrt(share / differing), bound))

    if not shows(wrong):
        return math.nan
    low, high = 0.0, float(wrong)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def enough(error: float, bound: float = Z_BOUND) -> float:
    """Return the difference that is shown with 80 % power at this standard error."""
    return (bound + Z_POWER) * error


def standard_error(known: Interval) -> float:
    """Return the standard error that an interval's two one-sided 95 % bounds stand for."""
    return (known.high - known.low) / (2 * Z_BOUND)
