"""Thresholds for windows of one size: how high the highest score of all columns goes when nothing changed.

Where rows are exchangeable, windows and references are resampled (monitoring/unchanged.py); elsewhere, and where past
windows show that they are not, past windows themselves say how much windows differ (monitoring/history.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache

import numpy as np

from monitoring import past, unchanged
from monitoring.budget import MOST, PERFORMANCE, Budget, Rule, incidents, rule_of
from monitoring.declarations import Monitors
from monitoring.detectable import Detectable, Stage, detectable
from monitoring.reference import Reference
from monitoring.statistics import SMALL, Null

TRIED = (16, 100)  # references and windows that changes are put into
WEEK = 7 * 86_400


@dataclass(frozen=True)
class Calibration:
    """What a score of a window of `rows` rows means.

    `budget`: false incidents to be expected at `threshold`; `known`: the counts that a window is compared with;
    `blocks`: past windows behind the threshold, 0 where rows were resampled; `supported` is false where the history
    shows nothing at all; `blind` are the columns whose history is too short for any threshold; `period`: the phase in
    which past windows were compared, if that helped; `stages`: where changes can be tried, column by column.
    """

    rows: int
    budget: Budget
    threshold: float
    nulls: Mapping[str, Null]
    known: Mapping[str, np.ndarray] = field(compare=False)
    detectable: Mapping[str, Detectable]
    blocks: int = 0
    supported: bool = True
    blind: tuple[str, ...] = ()
    period: str | None = None
    stages: Mapping[str, Stage] = field(default_factory=dict, compare=False, repr=False)

    def drifted(self, name: str, found: float, size: float) -> bool:
        """Tell whether a column with this score and this effect is unlike its reference."""
        return found > self.threshold and size >= SMALL and name not in self.blind


def bucket(rows: int) -> int:
    """Round a window's size to two digits, so that sizes near each other share a calibration."""
    scale = int(10 ** max(len(str(rows)) - 2, 0))
    return max(round(rows / scale) * scale, 1)


def calibration_for(reference: Reference, rows: int, monitors: Monitors, start: datetime | None = None) -> Calibration:
    """Return the thresholds for a window of about `rows` rows; the same arguments give the same answer.

    `start`: when the window begins, for its hour and its day of the week; None where that is not known.
    """
    return calibrated(reference, rows, rule_of(monitors, reference.rows_a_quarter), start)


def calibrated(reference: Reference, rows: int, rule: Rule, start: datetime | None = None) -> Calibration:
    """Return the thresholds that follow from a rule, such as a verdict keeps."""
    size = rows if not (reference.exchangeable or rule.span) else bucket(rows)  # row windows keep their phase
    if not in_time(reference, size):
        return _resampled(reference, size, rule)
    begin = None if start is None else start.timestamp()
    base, seen = _from_past(reference, size, rule, None if begin is None or not rule.span else begin % rule.span)
    if base.period is None or begin is None or seen is None:
        return base
    return replace(base, known=seen.known_at(begin))


def in_time(reference: Reference, rows: int) -> bool:
    """Tell whether rows hang together in time: as declared, or as past windows of so many rows contradict it."""
    return not reference.exchangeable or (bool(reference.watched) and _contradicted(reference, bucket(rows)))


@lru_cache(maxsize=64)
def _plain(reference: Reference, rows: int) -> unchanged.Plain:
    return unchanged.plain(reference, rows)


@lru_cache(maxsize=64)
def _resampled(reference: Reference, rows: int, rule: Rule) -> Calibration:
    """Set the threshold so that incidents a quarter, on average over references, are those asked for."""
    plain = _plain(reference, rows)
    threshold = _independent(plain, rule)
    stages = unchanged.stages(reference, rows, *TRIED)
    sizes = {
        name: detectable(reference, name, stages[name], plain.nulls[name], threshold, rule)
        for name in reference.watched
    }
    budget = Budget(rule, rule.asked)
    return Calibration(rows, budget, threshold, plain.nulls, dict(reference.counts), sizes, stages=stages)


def _independent(plain: unchanged.Plain, rule: Rule) -> float:
    """Return the lowest threshold at which resampled windows and references keep the budget.

    Windows are independent only given their reference, so each reference's own incidents are counted, and averaged.
    """
    others = PERFORMANCE * rule.rate
    low, high = float(plain.tail.scores.min()), float(plain.tail.scores.max()) + 20
    for _ in range(50):
        middle = (low + high) / 2
        rates = plain.tail.exceeded(middle)
        kept = incidents(rates + others, rule).mean() <= rule.by_windows and rates.mean() <= (1 - PERFORMANCE) * MOST
        low, high = (low, middle) if kept else (middle, high)
    return high


@lru_cache(maxsize=64)
def _contradicted(reference: Reference, rows: int) -> bool:
    """Tell whether past windows differ more than rows that are exchangeable would let them."""
    return past.contradicts(reference, _plain(reference, rows), rows)


@lru_cache(maxsize=64)
def _from_past(
    reference: Reference, rows: int, rule: Rule, begin: float | None
) -> tuple[Calibration, past.Past | None]:
    plain = _plain(reference, bucket(rows))
    seen = past.look(reference, plain, rows, rule, begin)
    if seen is None:
        blank = {name: Detectable("sigma", None) for name in reference.watched}
        unbounded = Budget(rule, max(rule.windows, rule.asked))
        nothing = Calibration(rows, unbounded, 0.0, plain.nulls, dict(reference.counts), blank)
        return replace(nothing, supported=False, blind=reference.watched), None
    threshold = max(seen.threshold, _independent(plain, rule))
    sizes = {}
    for name in reference.watched:
        sizes[name] = detectable(reference, name, seen.stages[name], seen.nulls[name], threshold, rule)
        sizes[name] = replace(sizes[name], size=None) if name in seen.blind else sizes[name]
    budget = Budget(rule, seen.supported, seen.blocks, contradicted=reference.exchangeable)
    found = Calibration(rows, budget, threshold, seen.nulls, dict(reference.counts), sizes, stages=seen.stages)
    return replace(found, blocks=seen.blocks, blind=seen.blind, period=seen.period), seen
