"""The gates themselves: each holds one measured thing against one threshold and says so in a sentence."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.errors import BadDeclaration, TooFewRows, nearest
from models.comparison import Comparison, Sample, against, amount, gain, number, shown
from models.declarations import Gates
from models.metrics import BOUNDED, DIRECTIONS
from models.resampling import Interval

MINIMUM_BLOCKS = 20  # fewer can't say how much they differ from each other


@dataclass(frozen=True)
class GateResult:
    """What one gate says. `insufficient`: the rows can't show it, which is not the candidate's fault."""

    name: str
    passed: bool
    sentence: str
    value: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None
    rows: int = 0
    insufficient: bool = False
    waived: bool = False  # it did not pass, and a person said to go on


def floor(name: str, worst: float, comparison: Comparison) -> GateResult:
    """Hold one metric of the candidate on the fresh rows against its worst acceptable value."""
    known = comparison.metrics.keys() & DIRECTIONS.keys()
    if name not in known:
        raise BadDeclaration(f"floor for a metric that was not measured: {name!r}; {nearest(name, known)}")
    value, higher = comparison.metrics[name], DIRECTIONS[name]
    passed = bool(value >= worst if higher else value <= worst)
    said = f"{name} {number(value)}, {'at least' if higher else 'at most'} {number(worst)} asked"
    said += f", on {comparison.fresh.rows:,} fresh rows"
    return GateResult(f"floor:{name}", passed, said, value, worst, rows=comparison.fresh.rows)


def beats_baseline(comparison: Comparison) -> GateResult:
    """Ask for more than a rule that knows nothing of the features."""
    if comparison.fresh.baseline is None:
        return GateResult("baseline", False, "baseline: was not measured", threshold=0.0)
    return beats("baseline", comparison, comparison.fresh.baseline, comparison.baseline)


def better(comparison: Comparison) -> GateResult:
    """Ask that the candidate be better than the champion on the same fresh rows."""
    assert comparison.fresh.champion is not None
    return beats("better", comparison, comparison.fresh.champion, against(comparison))


def beats(name: str, comparison: Comparison, other: np.ndarray, whom: str) -> GateResult:
    """Ask that the lower bound of the difference to `other` on the fresh rows be above 0."""
    found = gain(comparison.metric, comparison.fresh, other)
    few = found.finite and found.blocks < MINIMUM_BLOCKS
    said = f"{name}: {shown(found, comparison.metric, 'fresh', comparison.fresh.unit)} against {whom}"
    if few:
        said += f"; at least {MINIMUM_BLOCKS} {comparison.fresh.unit} are needed to tell"
    passed = bool(found.low > 0) and not few
    return result_of(name, found, 0.0, said, passed=passed, insufficient=few)


def not_worse(margin: float, comparison: Comparison, anchor: Sample) -> GateResult:
    """Ask that the lower bound of the difference to the champion on the anchor be above minus the margin."""
    assert anchor.champion is not None
    found = gain(comparison.metric, anchor, anchor.champion)
    few = found.finite and found.blocks < MINIMUM_BLOCKS
    passed = bool(found.low >= -margin) and not few
    width = found.estimate - found.low
    blind = not passed and (few or (width > margin and found.high >= 0))
    said = f"not_worse: {shown(found, comparison.metric, 'anchor', anchor.unit)} against {against(comparison)}"
    said += f", {amount(margin, comparison.metric)} tolerated"
    if blind:
        enough = math.ceil(found.blocks * (width / margin) ** 2) if margin > 0 else found.blocks
        said += f"; about {max(MINIMUM_BLOCKS, enough):,} {anchor.unit} could show whether that much is lost"
    return result_of("not_worse", found, -margin, said, passed=passed, insufficient=blind)


def anchor_rows_needed(gates: Gates, metric: str) -> int:
    """Count the anchor rows without which no candidate, were it equal to the champion, could show the margin.

    With no disagreement in n rows, a share of up to 1 - 0.05^(1/n) may still disagree (Clopper and Pearson).
    """
    if metric not in BOUNDED or not 0 < gates.margin < 1:
        return gates.anchor_rows
    return max(gates.anchor_rows, math.ceil(math.log(0.05) / math.log1p(-gates.margin)))


def check_anchor_size(gates: Gates, comparison: Comparison) -> None:
    """Refuse to judge by an anchor that is too small for the margin. A project that asks for 0 rows has none."""
    rows = 0 if comparison.anchor is None else comparison.anchor.rows
    needed = anchor_rows_needed(gates, comparison.metric)
    if comparison.anchor is None and gates.anchor_rows == 0:
        return
    if rows < needed:
        margin = amount(gates.margin, comparison.metric)
        raise TooFewRows(f"anchor rows, to show that no more than {margin} is lost", rows, needed)


def fast(limit: float, measured: float | None) -> GateResult:
    """Hold the 95th percentile of one row's answer against the limit, both in milliseconds."""
    if measured is None:
        return GateResult("latency", False, f"latency was not measured; {limit:g} ms asked", threshold=limit)
    said = f"95 of 100 rows answered within {measured:.3g} ms, {limit:g} ms asked"
    return GateResult("latency", bool(measured <= limit), said, measured, limit)


def own(gate: Callable[[Comparison], GateResult], comparison: Comparison) -> GateResult:
    """Ask a gate of the project's own; a value that is not a number doesn't pass, whatever it says."""
    name = getattr(gate, "__name__", type(gate).__name__)
    try:
        result = gate(comparison)
    except Exception as error:  # a stranger's function may raise anything; re-raised with its name
        raise BadDeclaration(f"the gate {name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(result, GateResult):
        raise BadDeclaration(f"the gate {name!r} must return a GateResult, not {type(result).__name__}")
    known = result.value is None or math.isfinite(result.value)
    return dataclasses.replace(result, passed=bool(result.passed) and known, waived=False)


def result_of(
    name: str, found: Interval, threshold: float, said: str, *, passed: bool, insufficient: bool
) -> GateResult:
    """Make a result of an interval."""
    return GateResult(name, passed, said, found.estimate, threshold, (found.low, found.high), found.rows, insufficient)
