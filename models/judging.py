"""Whether a candidate may serve: gates over what was measured, and one verdict. Pure numpy; no store, no registry.

A difference is always turned so that above 0 means the candidate is better, and is judged by its one-sided 95 %
bounds (models/resampling.py). A number that is NaN never passes. Where nothing serves yet, the gates are those of
the candidate's own merits, and slices are shown.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from data.errors import BadDeclaration, nearest
from models.comparison import Comparison, Sample, against, sample
from models.declarations import Gates
from models.forgetting import anchor_rows_needed, best_so_far, check_anchor_size, not_worse, slices
from models.gates import GateResult, better, own_merits

__all__ = [
    "Comparison",
    "GateResult",
    "Judgement",
    "Outcome",
    "Sample",
    "anchor_rows_needed",
    "hindering",
    "judge",
    "sample",
]

CONTEST = ("better", "not_worse", "best_so_far")  # and the slices: what is asked of a candidate beside the champion
WAIVABLE = (*CONTEST, "baseline", "popularity", "linear", "tree", "latency", "size", "schema_incompatible")
RATHER_ROWS = " (or, where a row does not depend on the day it came, declare `Evaluation(exchangeable=True)`)"
Outcome = Literal["passed", "kept", "refused", "question"]


@dataclass(frozen=True)
class Judgement:
    """The gates' results and what follows from them; the sentence starts with the verdict."""

    results: tuple[GateResult, ...]
    verdict: Outcome
    sentence: str
    champion: str | None = None  # the version it was compared with
    anchor: str | None = None  # which anchor rows: a prefix of the hash of their keys
    rows: Mapping[str, Any] | None = None  # which fresh rows: models.looks.sketch

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
                "value": strict(result.value),
                "threshold": strict(result.threshold),
                "interval": None if result.interval is None else [strict(end) for end in result.interval],
                "rows": result.rows,
                "sentence": result.sentence,
            }
            for result in self.results
        ]


def hindering(table: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the gates in `Judgement.table` that stand in the way unless they are waived."""
    return tuple(str(gate["gate"]) for gate in table if gate["result"] not in ("passed", "shown"))


def judge(gates: Gates, comparison: Comparison, *, waived: tuple[str, ...] = ()) -> Judgement:
    """Put a candidate through the gates.

    Raises: TooFewRows when the anchor can't show the margin at its size, whatever the candidate;
        BadDeclaration for a waiver or a floor that names nothing, or a gate of the project's that fails to answer.
    """
    results = [*own_merits(gates, comparison), *contest(gates, comparison, waived), *slices(gates, comparison)]
    known = {result.name for result in results}
    for name in waived:
        if name not in known and name not in WAIVABLE and not name.startswith("slice:"):
            raise BadDeclaration(f"no gate {name!r} to waive; {nearest(name, known | {*WAIVABLE})}")
    results = [waive(result) if result.name in waived else result for result in results]
    verdict = decide(results, serves=comparison.contested)
    sentence = summary(verdict, results, comparison)
    about = (comparison.champion, comparison.anchor_version, comparison.rows)
    return Judgement(tuple(results), verdict, sentence, *about)


def contest(gates: Gates, comparison: Comparison, waived: tuple[str, ...]) -> Iterator[GateResult]:
    """Hold the candidate against what serves and what has served; nothing where nothing serves.

    Raises: TooFewRows.
    """
    if not comparison.contested:
        return
    yield better(comparison)
    if comparison.unasked:
        return
    if "not_worse" not in waived:
        check_anchor_size(gates, comparison.metric, comparison.anchor.rows if comparison.anchor else 0)
    if comparison.anchor is not None:
        yield not_worse(gates.margin, comparison, comparison.anchor)
    if comparison.common is not None and comparison.common.others:
        yield best_so_far(gates.most_lost, comparison, comparison.common)


def decide(results: Sequence[GateResult], *, serves: bool) -> Outcome:
    """Draw the verdict; `serves`: whether there is a champion that can be kept."""
    standing = [result for result in results if result.stands]
    if not standing:
        return "passed"
    gains = any(result.name == "better" and result.passed for result in results)
    merits = [result for result in standing if not contested(result) and not (gains and result.shared)]
    if any(not result.insufficient for result in merits) or not serves:
        return "refused"
    if merits:
        return "kept"
    if gains:
        return "question"  # better on what is new, but not shown to hold what was known, or to be worth having
    worse = any(shown_worse(result) if result.name == "better" else not result.insufficient for result in standing)
    return "refused" if worse else "kept"


def contested(result: GateResult) -> bool:
    """Whether a gate holds the candidate against champions."""
    return result.name in CONTEST or result.name.startswith("slice:")


def shown_worse(result: GateResult) -> bool:
    """Whether even the upper bound of the difference is below 0, or there is no number at all."""
    return not result.insufficient and (result.interval is None or not result.interval[1] >= 0)


def waive(result: GateResult) -> GateResult:
    """Let a gate that stands in the way not do so, on record."""
    return result if not result.stands else dataclasses.replace(result, waived=True)


def summary(verdict: Outcome, results: Sequence[GateResult], comparison: Comparison) -> str:
    """Say the verdict, what decided it and what may be done, in one line."""
    failed = [result for result in results if result.stands]
    deciding = failed or [result for result in results if result.name in CONTEST]
    deciding = deciding or [result for result in results if not result.shown]
    said = "; ".join(result.sentence for result in deciding) or "no gate is declared"
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
        "question": f"; {doubt(failed, comparison)} next: waive {names} to promote, "
        f"or leave {against(comparison)} in place",
    }
    return f"{verdict.upper()}: {said}{after[verdict]}"


def doubt(failed: Sequence[GateResult], comparison: Comparison) -> str:
    """Say what a person is asked about a version that is better on what is new."""
    shared = [result.name for result in failed if result.shared]
    if not shared:
        return "better on what is new and not shown to hold on what was known: has the world really changed?"
    rules = " and ".join(comparison.baseline if name == "baseline" else f"the {name} baseline" for name in shared)
    also = "" if len(shared) == len(failed) else ", nor is it shown to hold what was known"
    return f"better than {against(comparison)}, but neither is shown to beat {rules}{also}: should either answer?"


def state(result: GateResult) -> str:
    """Name a result: passed, waived, shown, insufficient or failed."""
    if result.passed:
        return "passed"
    if result.waived:
        return "waived"
    if result.shown:
        return "shown"
    return "insufficient" if result.insufficient else "failed"


def strict(value: float | None) -> float | str | None:
    """Return a number as strict JSON can hold it: one that is not finite is its name."""
    return value if value is None or math.isfinite(value) else str(value)
