"""Whether a candidate may serve: gates over what was measured, and one verdict. Pure numpy; no store, no registry.

A difference is always turned so that above 0 means the candidate is better, and is judged by its one-sided 95 %
bounds (models/resampling.py). A number that is NaN never passes. Where nothing serves yet, the gates are floors,
baseline, latency and the project's own.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from data.errors import BadDeclaration, nearest
from models.comparison import Comparison, Sample, against, sample
from models.declarations import Gates
from models.gates import (
    GateResult,
    anchor_rows_needed,
    beats_baseline,
    better,
    check_anchor_size,
    fast,
    floor,
    not_worse,
    own,
)

__all__ = ["Comparison", "GateResult", "Judgement", "Outcome", "Sample", "anchor_rows_needed", "judge", "sample"]

RATHER_ROWS = " (or, where a row does not depend on the day it came, declare `Evaluation(exchangeable=True)`)"
Outcome = Literal["passed", "kept", "refused", "question"]


@dataclass(frozen=True)
class Judgement:
    """The gates' results and what follows from them; the sentence starts with the verdict."""

    results: tuple[GateResult, ...]
    verdict: Outcome
    sentence: str

    @property
    def waived(self) -> tuple[str, ...]:
        """Names of the gates that did not pass and were waived."""
        return tuple(result.name for result in self.results if result.waived)

    def table(self) -> list[dict[str, Any]]:
        """Return one line per gate in plain JSON values; a number that is not finite is its name."""
        return [
            {
                "gate": result.name,
                "result": state(result),
                "value": plain(result.value),
                "threshold": plain(result.threshold),
                "interval": None if result.interval is None else [plain(end) for end in result.interval],
                "rows": result.rows,
                "sentence": result.sentence,
            }
            for result in self.results
        ]


def judge(gates: Gates, comparison: Comparison, *, waived: tuple[str, ...] = ()) -> Judgement:
    """Put a candidate through the gates.

    Raises: TooFewRows when the anchor can't show the margin at its size, whatever the candidate;
        BadDeclaration for a waiver or a floor that names nothing, or a gate of the project's that fails to answer.
    """
    results = [floor(name, worst, comparison) for name, worst in gates.floors.items()]
    if gates.baseline:
        results.append(beats_baseline(comparison))
    if comparison.fresh.champion is not None:
        results.append(better(comparison))
        if "not_worse" not in waived:
            check_anchor_size(gates, comparison)
        if comparison.anchor is not None:
            results.append(not_worse(gates.margin, comparison, comparison.anchor))
    if gates.latency_ms is not None:
        results.append(fast(gates.latency_ms, comparison.latency_ms))
    results += [own(gate, comparison) for gate in gates.extra]
    results = [waive(result) if result.name in waived else result for result in results]
    for name in waived:
        if name not in (known := {result.name for result in results} | {"better", "not_worse"}):
            raise BadDeclaration(f"no gate {name!r} to waive; {nearest(name, known)}")
    verdict = decide(results, serves=comparison.fresh.champion is not None)
    return Judgement(tuple(results), verdict, summary(verdict, results, comparison))


def decide(results: Sequence[GateResult], *, serves: bool) -> Outcome:
    """Draw the verdict; `serves`: whether there is a champion that can be kept."""
    failed = {result.name: result for result in results if not result.passed and not result.waived}
    if not failed:
        return "passed"
    contest = {name: failed.pop(name) for name in ("better", "not_worse") if name in failed}
    if any(not result.insufficient for result in failed.values()) or not serves:
        return "refused"
    if failed:
        return "kept"
    if contest.keys() == {"not_worse"} and any(result.name == "better" and result.passed for result in results):
        return "question"
    worse = "better" in contest and shown_worse(contest["better"])
    lost = "not_worse" in contest and not contest["not_worse"].insufficient
    return "refused" if worse or lost else "kept"


def shown_worse(result: GateResult) -> bool:
    """Whether even the upper bound of the difference is below 0, or there is no number at all."""
    return not result.insufficient and (result.interval is None or not result.interval[1] >= 0)


def waive(result: GateResult) -> GateResult:
    """Let a gate that did not pass not stand in the way, on record."""
    return result if result.passed else dataclasses.replace(result, waived=True)


def summary(verdict: Outcome, results: Sequence[GateResult], comparison: Comparison) -> str:
    """Say the verdict, what decided it and what may be done, in one line."""
    failed = [result for result in results if not result.passed and not result.waived]
    deciding = failed or [result for result in results if result.name in {"better", "not_worse"}]
    said = "; ".join(result.sentence for result in deciding or results) or "no gate is declared"
    waived = [result.name for result in results if result.waived]
    if waived:
        said += f"; waived by a person: {', '.join(waived)}"
    names = ", ".join(result.name for result in failed)
    mend = "mend the data or the model"
    if failed and all(result.insufficient for result in failed):
        mend = "bring more rows" + (RATHER_ROWS if comparison.fresh.unit == "days" else "")
    after = {
        "passed": "",
        "kept": f"; not shown, so {against(comparison)} goes on serving; next: wait for more labels, or waive {names}",
        "refused": f"; next: {mend} and train again, or waive {names}",
        "question": "; better on what is new and not shown to hold on what was known: has the world really changed? "
        f"next: waive {names} to promote, or leave {against(comparison)} in place",
    }
    return f"{verdict.upper()}: {said}{after[verdict]}"


def state(result: GateResult) -> str:
    """Name a result: passed, waived, insufficient or failed."""
    if result.passed:
        return "passed"
    if result.waived:
        return "waived"
    return "insufficient" if result.insufficient else "failed"


def plain(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it."""
    return value if value is None or math.isfinite(value) else str(value)
