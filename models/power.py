"""How small a gain so many labels can show: what a training can hope for, said before it starts. Needs numpy only.

`better` shows a gain when the one-sided 95 % bound of a paired difference is above 0. A true gain g is found with
80 % power when g = (z_0.95 + z_0.80) * s, where s is the standard error of the paired difference (Connor 1987, Sample
Size for Testing Differences in Proportions for the Paired-Sample Design, Biometrics 43; for comparing models on
one test set: Card et al. 2020, With Little Power Comes Great Responsibility, arXiv:2010.06595).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from models.comparison import amount
from models.gates import MINIMUM_BLOCKS
from models.metrics import BOUNDED
from models.resampling import Interval

Z_BOUND = 1.6449  # normal quantile of 95 %: the gate's
Z_POWER = 0.8416  # of 80 %


@dataclass(frozen=True)
class Detectable:
    """The smallest gain, in the metric's unit, that is shown 4 times in 5; None where no gain is."""

    rows: int
    change: float | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def detectable(metric: str, known: Interval, *, unit: str = "entities", measured: float | None = None) -> Detectable:
    """Say what gain the rows behind `known` can show.

    Args:
        metric: the deciding one.
        known: one model's metric on these rows, with its one-sided 95 % bounds; its errors and the candidate's
            are taken as unrelated, which asks for too much rather than too little.
        unit: what a block of rows is, in the plural.
        measured: standard error of a difference of two versions, where one was measured on as many rows.
    """
    if known.blocks < MINIMUM_BLOCKS:
        said = f"{known.rows:,} labels in {known.blocks:,} {unit} can show no gain: {MINIMUM_BLOCKS} {unit} are needed"
        return Detectable(known.rows, None, said)
    error = math.sqrt(2) * standard_error(known) if measured is None else measured
    change = (Z_BOUND + Z_POWER) * error
    most = 1 - known.estimate if metric in BOUNDED else math.inf
    if not change <= most:  # NaN too
        return Detectable(known.rows, None, f"{known.rows:,} labels are too few to show even a perfect model's gain")
    said = f"{change * 100:.1f} points" if metric == "accuracy" else amount(change, metric)
    return Detectable(known.rows, change, f"{known.rows:,} labels can show a gain of {said} or more")


def standard_error(known: Interval) -> float:
    """Return the standard error that an interval's two one-sided 95 % bounds stand for."""
    return (known.high - known.low) / (2 * Z_BOUND)
