"""What a verdict says beside its check: how good answers are without labels, and how good they turned out to be."""

from dataclasses import asdict, replace
from typing import Any

from data.schema import Rows
from monitoring.answers import Answers
from monitoring.audit import Sample
from monitoring.estimates import PAST, estimate, none, worded
from monitoring.realised import measure, shown
from monitoring.records import Verdict
from monitoring.reference import Reference
from monitoring.triage import lost, weighed
from projects.declaration import Project
from tasks.resources import Resources

SIZES = 2  # times as many rows, or as few, and a window is about as large
SOUND = ("ok", "drift", "insufficient")  # data verdicts of rows that an estimate can be made from


def estimated(
    resources: Resources,
    project: Project,
    known: Reference,
    verdict: Verdict,
    answers: Answers,
    seen: Rows,
) -> Verdict:
    """Return a data verdict with the estimate of the project's metric over all rows of its window."""
    metric = shown(project.evaluation.metric)
    found = none(metric, f"the window's data check is {verdict.outcome}")
    if verdict.outcome in SOUND:
        past = past_estimates(resources, verdict, metric) if len(answers) else []
        found = estimate(known.held, metric, seen, answers, past)
    triaged = weighed(known, verdict.detail.get("triage", []), found.to_json())
    told = {**found.to_json(), "lost": lost(known, found.to_json())}
    return replace(verdict, detail={**verdict.detail, "estimate": told, "triage": triaged})


def past_estimates(resources: Resources, verdict: Verdict, metric: str) -> list[tuple[float, float]]:
    """Return (estimated, realised) of the champion's newest mature windows, oldest first, as their verdicts have it.

    Of those of about this window's size: by day, when there are many rows, an estimate is off by less than by night.
    """
    of = verdict.window
    recent = resources.store.verdicts.recent(of.project, PAST, check="performance", generation=of.generation)
    alike = [one for one in reversed(recent) if verdict.rows / SIZES <= one.rows <= verdict.rows * SIZES]
    said = [one.detail.get("realised") or {} for one in alike if one.window.index < of.index]
    return [
        (one["estimated"], one["value"])
        for one in said
        if one.get("metric") == metric and not one["selected"] and one.get("estimated") is not None
    ]


def realised(project: Project, verdict: Verdict, sample: Sample, data: Verdict | None, rows: int) -> Verdict:
    """Return a performance verdict with what the project's metric has turned out to be.

    Labels that are no sample of the window's `rows` neither accuse nor acquit: they make it `insufficient`.
    """
    metric = shown(project.evaluation.metric)
    detail: dict[str, Any] = dict(verdict.detail)
    found = measure(metric, sample.answers, exchangeable=project.evaluation.exchangeable)
    if found is not None:
        before = (data.detail.get("estimate") or {}) if data else {}
        told = before.get("value") if before.get("metric") == metric else None
        detail["realised"] = {**asdict(found), "estimated": told, "selected": bool(sample.selected)}
    outcome, reason = verdict.outcome, verdict.reason
    if sample.selected and (data is None or data.outcome != "fault"):
        seen = f"; {metric} {worded(metric, found.value)} on {found.rows} of them" if found else ""
        outcome, reason = "insufficient", f"insufficient: {sample.selected}{seen}"
    return replace(verdict, outcome=outcome, reason=reason, rows=rows, detail=detail)
