"""Thresholds for windows of one size: how high the highest score of all columns goes when nothing changed.

Where rows are exchangeable, windows and references are resampled (monitoring/unchanged.py); elsewhere, and where past
windows show that they are not, past windows themselves say how much windows differ (monitoring/history.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np

from monitoring import past, unchanged
from monitoring.budget import MOST, PERFORMANCE, Budget, Rule, incidents, rule_of
from monitoring.declarations import Monitors
from monitoring.detectable import Detectable, Stage, detectable
from monitoring.history import Blocks, blocks, known_at
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
    which past windows were compared, if that helped.
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

    def drifted(self, name: str, found: float, size: float) -> bool:
        """Tell whether a column with this score and this effect is unlike its reference."""
        return found > self.threshold and size >= SMALL and name not in self.blind

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values of all but `known`."""
        own = ("rows", "threshold", "blocks", "supported", "blind", "period")
        return {
            **{name: getattr(self, name) for name in own},
            "rule": self.budget.rule.to_json(),
            "budget": [self.budget.supported, self.budget.history, self.budget.contradicted],
            "nulls": {name: [null.mean, null.shape] for name, null in self.nulls.items()},
            "detectable": {name: [seen.unit, seen.size] for name, seen in self.detectable.items()},
        }


def calibration_from_json(stored: Mapping[str, Any], known: Mapping[str, np.ndarray]) -> Calibration:
    """Read what `Calibration.to_json` returned."""
    own = {name: stored[name] for name in ("rows", "threshold", "blocks", "supported", "period")}
    return Calibration(
        **own,
        budget=Budget(Rule.from_json(stored["rule"]), *stored["budget"]),
        nulls={name: Null(tuple(mean), tuple(shape)) for name, (mean, shape) in stored["nulls"].items()},
        known=known,
        detectable={name: Detectable(unit, size) for name, (unit, size) in stored["detectable"].items()},
        blind=tuple(stored["blind"]),
    )


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
    phase = None if begin is None or not rule.span else begin % rule.span
    base = _from_past(reference, size, rule, phase)
    if base.period is None or begin is None:
        return base
    return replace(base, known=known_at(reference, _blocks(reference, size, rule, phase), base.period, begin))


def stages_for(reference: Reference, rows: int, monitors: Monitors) -> Mapping[str, Stage]:
    """Return where changes can be tried, column by column, for a window of about `rows` rows."""
    rule = rule_of(monitors, reference.rows_a_quarter)
    size = rows if not (reference.exchangeable or rule.span) else bucket(rows)
    if not in_time(reference, size):
        return unchanged.stages(reference, size, *TRIED)
    seen = past.look(reference, _plain(reference, bucket(size)), _blocks(reference, size, rule, None), size, rule)
    return {} if seen is None else seen.stages


@lru_cache(maxsize=64)
def _blocks(reference: Reference, rows: int, rule: Rule, phase: float | None) -> Blocks:
    return blocks(reference, rows, rule, phase)


def _kept(reference: Reference, question: list[Any], make: Callable[[], Any]) -> Any:
    """Return what `make` returns, JSON values, from where the calibrations of the reference are kept."""
    return make() if reference.kept is None else reference.kept.get(question, make)


def in_time(reference: Reference, rows: int) -> bool:
    """Tell whether rows hang together in time: as declared, or as past windows of so many rows contradict it."""
    return not reference.exchangeable or (bool(reference.watched) and _contradicted(reference, bucket(rows)))


@lru_cache(maxsize=64)
def _plain(reference: Reference, rows: int) -> unchanged.Plain:
    return unchanged.plain(reference, rows)


@lru_cache(maxsize=64)
def _resampled(reference: Reference, rows: int, rule: Rule) -> Calibration:
    """Return the thresholds of windows of rows that may be resampled."""
    question = ["resampled", rows, rule.to_json()]
    stored = _kept(reference, question, lambda: _from_resampling(reference, rows, rule).to_json())
    return calibration_from_json(stored, dict(reference.counts))


def _from_resampling(reference: Reference, rows: int, rule: Rule) -> Calibration:
    """Set the threshold so that incidents a quarter, on average over references, are those asked for."""
    plain = _plain(reference, rows)
    threshold = _independent(plain, rule)
    stages = unchanged.stages(reference, rows, *TRIED)
    sizes = {
        name: detectable(reference, name, stages[name], plain.nulls[name], threshold, rule)
        for name in reference.watched
    }
    return Calibration(rows, Budget(rule, rule.asked), threshold, plain.nulls, dict(reference.counts), sizes)


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
    said = _kept(reference, ["contradicted", rows], lambda: past.contradicts(reference, _plain(reference, rows), rows))
    return bool(said)


@lru_cache(maxsize=64)
def _from_past(reference: Reference, rows: int, rule: Rule, phase: float | None) -> Calibration:
    """Return the thresholds of windows that past windows stand for, of one phase of the rule's span."""
    question = ["past", rows, rule.to_json(), phase]
    stored = _kept(reference, question, lambda: _from_history(reference, rows, rule, phase).to_json())
    return calibration_from_json(stored, dict(reference.counts))


def _from_history(reference: Reference, rows: int, rule: Rule, phase: float | None) -> Calibration:
    """Set the threshold by the incidents that past windows would have opened."""
    plain = _plain(reference, bucket(rows))
    seen = past.look(reference, plain, _blocks(reference, rows, rule, phase), rows, rule)
    if seen is None:
        blank = {name: Detectable("sigma", None) for name in reference.watched}
        unbounded = Budget(rule, max(rule.windows, rule.asked))
        nothing = Calibration(rows, unbounded, 0.0, plain.nulls, dict(reference.counts), blank)
        return replace(nothing, supported=False, blind=reference.watched)
    threshold = max(seen.threshold, _independent(plain, rule))
    sizes = {}
    for name in reference.watched:
        sizes[name] = detectable(reference, name, seen.stages[name], seen.nulls[name], threshold, rule)
        sizes[name] = replace(sizes[name], size=None) if name in seen.blind else sizes[name]
    budget = Budget(rule, seen.supported, seen.blocks, contradicted=reference.exchangeable)
    found = Calibration(rows, budget, threshold, seen.nulls, dict(reference.counts), sizes)
    return replace(found, blocks=seen.blocks, blind=seen.blind, period=seen.period)
