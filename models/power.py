"""How small a gain so many labels can show: what a training can hope for, said before it starts. Needs numpy only.

`better` shows a gain when the one-sided 95 % bound of a paired difference is above 0. A true gain g is found with
80 % power when g = (z_0.95 + z_0.80) * s(g), where s is the standard error of the paired difference (Connor 1987,
Sample Size for Testing Differences in Proportions for the Paired-Sample Design, Biometrics 43; for comparing models
on one test set: Card et al. 2020, With Little Power Comes Great Responsibility, arXiv:2010.06595).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from models.comparison import amount
from models.gates import MINIMUM_BLOCKS
from models.resampling import Interval

Z_BOUND = 1.6449  # normal quantile of 95 %: the gate's
Z_POWER = 0.8416  # of 80 %
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


def detectable(metric: str, known: Interval, *, unit: str = "entities") -> Detectable:
    """Say what gain over a model the rows can show on which its metric is `known`, with one-sided 95 % bounds.

    The two models' errors are taken as unrelated. They seldom are, and then somewhat less of a gain shows too.
    `unit`: what a block of rows is, in the plural.
    """
    if known.blocks < MINIMUM_BLOCKS:
        said = f"{known.rows:,} labels in {known.blocks:,} {unit} can show no gain: {MINIMUM_BLOCKS} {unit} are needed"
        return Detectable(known.rows, None, said)
    change = smallest_share(known) if metric == "accuracy" else enough(math.sqrt(2) * standard_error(known))
    if not math.isfinite(change):
        return Detectable(known.rows, None, f"{known.rows:,} labels can't show even the gain of a perfect model")
    said = f"{change * 100:.1f} points" if metric == "accuracy" else amount(change, metric)
    return Detectable(known.rows, change, f"{known.rows:,} labels can show a gain of {said} or more")


def smallest_share(known: Interval) -> float:
    """Return the smallest gain in a share of right answers that shows; NaN where a perfect model's doesn't.

    The better the candidate, the less its own share varies: at a share of errors e by e (1 - e).
    """
    wrong, error = 1 - known.estimate, standard_error(known)

    def shows(gain: float) -> bool:
        left = wrong - gain
        return gain >= enough(error * math.sqrt(1 + left * (1 - left) / (wrong * (1 - wrong))))

    if not 0 < wrong < 1 or not shows(wrong):
        return math.nan
    low, high = 0.0, wrong
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high


def enough(error: float) -> float:
    """Return the difference that is shown with 80 % power at this standard error."""
    return (Z_BOUND + Z_POWER) * error


def standard_error(known: Interval) -> float:
    """Return the standard error that an interval's two one-sided 95 % bounds stand for."""
    return (known.high - known.low) / (2 * Z_BOUND)
