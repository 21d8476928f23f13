"""How good the answers were, window by window: as estimated, as labelled so far, and as it turned out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from monitoring import audit
from monitoring.answers import reader_for
from monitoring.realised import measure, shown
from monitoring.records import Outcome, Verdict, WindowKey
from monitoring.store.verdicts import Recorded
from projects.declaration import Project
from tasks.observing import answers_in
from tasks.resources import Resources

Bounded = tuple[float, float, float]
"""A value with the ends of its 90 % interval."""


@dataclass(frozen=True)
class Point:
    """One window. `estimated` needs no labels; nine of ten past estimates were within `estimated_error`.

    `partial` is what the labels so far say, until the window is mature; `realised` what they say from then on, those
    included that came after its verdict (`late` of them; the verdict stays what it was). `selected`: the labels are of
    rows that somebody chose, no sample of all. `drift`: the highest score in units of its threshold.
    """

    generation: int
    index: int
    start: datetime
    end: datetime
    rows: int
    labelled: int
    metric: str
    estimated: float | None
    estimated_error: float | None
    partial: Bounded | None
    realised: Bounded | None
    selected: bool
    drift: float
    outcome_data: Outcome
    outcome_performance: Outcome | None
    late: int = 0


def timeline(resources: Resources, project: str, generation: int | None = None, last: int = 90) -> list[Point]:
    """Return the last windows that have a verdict, oldest first."""
    declared = resources.project(project)
    checks: dict[tuple[int, int], dict[str, Recorded]] = {}
    for one in reversed(resources.store.verdicts.history(project, 2 * last, generation)):
        checks.setdefault((one.verdict.window.generation, one.verdict.window.index), {})[one.verdict.check] = one
    judged = [given for given in checks.values() if "data" in given][-last:]
    return [point(resources, declared, given["data"].verdict, given.get("performance")) for given in judged]


def on_record(told: Sequence[Recorded], last: int = 90) -> list[Point]:
    """Return the last windows as their verdicts have them, oldest first: no row is read again.

    So nothing is partial, no label is late, and it is quick however many rows there are.
    """
    checks: dict[tuple[int, int], dict[str, Verdict]] = {}
    for one in told:
        checks.setdefault((one.verdict.window.generation, one.verdict.window.index), {})[one.verdict.check] = (
            one.verdict
        )
    judged = [both for _, both in sorted(checks.items(), key=itemgetter(0)) if "data" in both][-last:]
    return [recorded(both["data"], both.get("performance")) for both in judged]


def recorded(data: Verdict, performance: Verdict | None) -> Point:
    """Return one window's point from its verdicts; an estimate of another metric than was realised is left out."""
    estimate: Mapping[str, Any] = data.detail.get("estimate") or {}
    realised: Mapping[str, Any] = (performance.detail.get("realised") if performance else None) or {}
    metric = realised.get("metric") or estimate.get("metric") or ""
    estimate = estimate if estimate.get("metric") == metric else {}
    window = data.window
    return Point(
        generation=window.generation,
        index=window.index,
        start=window.start,
        end=window.end,
        rows=data.rows,
        labelled=realised.get("rows", 0),
        metric=metric,
        estimated=estimate.get("value"),
        estimated_error=estimate.get("past_error"),
        partial=None,
        realised=bounded(realised),
        selected=bool(realised.get("selected", False)),
        drift=strongest(data.detail),
        outcome_data=data.outcome,
        outcome_performance=performance.outcome if performance else None,
    )


def bounded(found: Mapping[str, Any]) -> Bounded | None:
    """Return a stored value with its interval; one that has an end that is no number is none."""
    value, low, high = (found.get(name) for name in ("value", "low", "high"))
    return None if value is None or low is None or high is None else (value, low, high)


def point(resources: Resources, project: Project, data: Verdict, performance: Recorded | None) -> Point:
    """Return one window's point."""
    window, metric = data.window, shown(project.evaluation.metric)
    labelled, late = resources.store.labels.in_window(window, performance.at if performance else None)
    value, selected = realised_in(performance, metric) if performance and not late else (None, False)
    if value is None and labelled:
        value, selected = measured(resources, project, window, metric)
    estimate = data.detail.get("estimate") or {}
    estimate = estimate if estimate.get("metric") == metric else {}
    return Point(
        generation=window.generation,
        index=window.index,
        start=window.start,
        end=window.end,
        rows=data.rows,
        labelled=labelled,
        metric=metric,
        estimated=estimate.get("value"),
        estimated_error=estimate.get("past_error"),
        partial=None if performance else value,
        realised=value if performance else None,
        selected=selected,
        drift=strongest(data.detail),
        outcome_data=data.outcome,
        outcome_performance=performance.verdict.outcome if performance else None,
        late=late,
    )


def realised_in(performance: Recorded, metric: str) -> tuple[Bounded | None, bool]:
    """Return what a verdict has on record of this metric, and whether from selected rows."""
    stored = performance.verdict.detail.get("realised") or {}
    if stored.get("metric") != metric:
        return None, False
    return (stored["value"], stored["low"], stored["high"]), stored["selected"]


def measured(resources: Resources, project: Project, window: WindowKey, metric: str) -> tuple[Bounded | None, bool]:
    """Return the metric on the labels that a window has by now, and whether they are of selected rows."""
    answers = answers_in(resources.store, window, reader_for(metric), ("label", "id"))
    sample = audit.sample(answers, project.labels)
    found = measure(metric, sample.answers, exchangeable=project.evaluation.exchangeable)
    return (None, False) if found is None else ((found.value, found.low, found.high), bool(sample.selected))


def strongest(detail: Mapping[str, Any]) -> float:
    """Return the highest score of a window's columns in units of the threshold; 0 where there is none."""
    scores = [column.get("score") for column in detail.get("columns", {}).values()]
    threshold = detail.get("threshold")
    found = [score for score in scores if score is not None]
    return max(found) / threshold if found and threshold else 0.0
