"""The gates that a version passes or fails by itself, and `better`: one measured thing, one threshold, one sentence."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from data.errors import BadDeclaration, nearest
from data.wording import significant
from models.comparison import Comparison, Sample, against, bounded, gain, number, shown
from models.declarations import Gates
from models.lists import RECALL
from models.looks import tail
from models.metrics import DIRECTIONS
from models.resampling import TAIL, Interval

MINIMUM_BLOCKS = 20  # fewer can't say how much they differ from each other
NAMED = 3  # differences of a schema that a sentence names


@dataclass(frozen=True)
class GateResult:
    """What one gate says. `insufficient`: the rows can't show it, which is not the candidate's fault.

    `shared`: what serves does not pass it either, by the same metric on the same rows.
    """

    name: str
    passed: bool
    sentence: str
    value: float | None = None
    threshold: float | None = None
    interval: tuple[float, float] | None = None
    rows: int = 0
    insufficient: bool = False
    waived: bool = False  # it did not pass, and a person said to go on
    shown: bool = False  # a number for people: it decides nothing
    shared: bool = False

    @property
    def stands(self) -> bool:
        """Whether it stands in the way."""
        return not (self.passed or self.waived or self.shown)


def own_merits(gates: Gates, comparison: Comparison) -> Iterator[GateResult]:
    """Ask what does not depend on the champion's answers; the project's own gates last."""
    for name, worst in gates.floors.items():
        yield floor(name, worst, comparison)
    if gates.baseline:
        yield beats_baseline(comparison)
    if gates.baseline and comparison.lists is not None:
        yield beats_popularity(comparison.lists)
    for name in gates.beat:
        yield beats_learner(name, comparison)
    if comparison.incompatible is not None:
        yield compatible(comparison, comparison.incompatible)
    if gates.latency_ms is not None:
        yield fast(gates.latency_ms, comparison.latency_ms)
    if gates.size_mb is not None:
        yield small(gates.size_mb, comparison.size_mb)
    for gate in gates.extra:
        yield own(gate, comparison)


def floor(name: str, worst: float, comparison: Comparison) -> GateResult:
    """Hold one metric of the candidate on the fresh rows against its worst acceptable value."""
    known = comparison.metrics.keys() & DIRECTIONS.keys()
    if name not in known:
        raise BadDeclaration(f"floor for a metric that was not measured: {name!r}; {nearest(name, known)}")
    value, higher, rows = comparison.metrics[name], DIRECTIONS[name], comparison.fresh.rows
    passed = bool(value >= worst if higher else value <= worst)
    said = f"{name} {number(value)}, {'at least' if higher else 'at most'} {number(worst)} asked"
    said += f", on {rows:,} fresh rows"
    return GateResult(f"floor:{name}", passed, said, value, worst, rows=rows, insufficient=not passed and rows == 0)


def beats_baseline(comparison: Comparison) -> GateResult:
    """Ask for more than a rule that knows nothing of the features."""
    if comparison.fresh.baseline is None:
        return GateResult("baseline", False, "baseline: was not measured", threshold=0.0)
    return beats_rule("baseline", comparison, comparison.fresh.baseline, comparison.baseline)


def beats_popularity(lists: Sample) -> GateResult:
    """Ask that lists hold more of what users came to like than the most popular items do."""
    if lists.baseline is None or not lists.rows:
        why = "popularity: nobody liked anything among the fresh rows"
        return GateResult("popularity", False, why, threshold=0.0, insufficient=True)
    found = gain(RECALL, lists, lists.baseline)
    few = found.finite and found.blocks < MINIMUM_BLOCKS
    said = f"popularity: {shown(found, RECALL, 'fresh', lists.unit)} against the most popular items"
    said += f"; at least {MINIMUM_BLOCKS} users are needed to tell" if few else ""
    passed = bool(found.low > 0) and not few
    return result_of("popularity", found, 0.0, said, passed=passed, insufficient=few)


def beats_learner(name: str, comparison: Comparison) -> GateResult:
    """Ask for more than a simple learner gets out of the same rows."""
    if name not in comparison.fresh.others:
        return GateResult(name, False, f"{name}: was not measured", threshold=0.0)
    return beats_rule(name, comparison, comparison.fresh.others[name], f"the {name} baseline")


def beats_rule(name: str, comparison: Comparison, rule: np.ndarray, whom: str) -> GateResult:
    """Ask for more than a rule that serves nobody; where that is not shown, say how what serves stands beside it."""
    found, fresh = beats(name, comparison, rule, whom), comparison.fresh
    if found.passed or fresh.champion is None:
        return found
    theirs = gain(comparison.metric, dataclasses.replace(fresh, candidate=fresh.champion), rule)
    said = f"{found.sentence} ({against(comparison)}: {bounded(theirs, comparison.metric)})"
    return dataclasses.replace(found, sentence=said, shared=not theirs.low > 0)


def better(comparison: Comparison) -> GateResult:
    """Ask that the candidate be better than the champion on the same fresh rows; the surer, the more these judged."""
    if comparison.fresh.champion is None:
        said = f"better: {against(comparison)} can't be asked about these rows: {comparison.unasked}"
        return GateResult("better", False, said, threshold=0.0, insufficient=True)
    before, whom = comparison.judged, against(comparison)
    if before:
        sure = significant(100 * (1 - tail(before)), 3)
        whom += f"; these rows have judged {before} candidate{'s' if before > 1 else ''} before: bounds of {sure} %"
    return beats("better", comparison, comparison.fresh.champion, whom, tail(before))


def beats(name: str, comparison: Comparison, other: np.ndarray, whom: str, at: float = TAIL) -> GateResult:
    """Ask that the lower bound, with the tail `at`, of the difference to `other` on the fresh rows be above 0."""
    found = gain(comparison.metric, comparison.fresh, other, at)
    few = found.finite and found.blocks < MINIMUM_BLOCKS
    said = f"{name}: {shown(found, comparison.metric, 'fresh', comparison.fresh.unit)} against {whom}"
    if few:
        said += f"; at least {MINIMUM_BLOCKS} {comparison.fresh.unit} are needed to tell"
    passed = bool(found.low > 0) and not few
    return result_of(name, found, 0.0, said, passed=passed, insufficient=few)


def compatible(comparison: Comparison, differences: tuple[str, ...]) -> GateResult:
    """Ask that every request which the champion accepts be accepted."""
    if not differences:
        said = f"schema_incompatible: no request that {against(comparison)} accepts is refused"
        return GateResult("schema_incompatible", True, said, 0.0, 0.0)
    said = f"schema_incompatible: requests that {against(comparison)} accepts would be refused: "
    said += "; ".join(differences[:NAMED])
    if len(differences) > NAMED:
        said += f"; and {len(differences) - NAMED} more"
    return GateResult("schema_incompatible", False, said, float(len(differences)), 0.0)


def fast(limit: float, measured: float | None) -> GateResult:
    """Hold the 95th percentile of one row's answer against the limit, both in milliseconds."""
    if measured is None:
        return GateResult("latency", False, f"latency was not measured; {limit:g} ms asked", threshold=limit)
    said = f"95 of 100 rows answered within {significant(measured, 3)} ms, {limit:g} ms asked"
    return GateResult("latency", bool(measured <= limit), said, measured, limit)


def small(limit: float, measured: float | None) -> GateResult:
    """Hold the size of the version's files against the limit, both in 1,000,000 bytes."""
    if measured is None:
        return GateResult("size", False, f"the size was not measured; at most {limit:g} MB asked", threshold=limit)
    said = f"the files take {significant(measured, 3)} MB, at most {limit:g} MB asked"
    return GateResult("size", bool(measured <= limit), said, measured, limit)


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
