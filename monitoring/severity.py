"""How bad a verdict is for those who use the answers: by its kind, and by what it costs or is estimated to cost."""

from collections.abc import Mapping
from typing import Any

from models.metrics import BOUNDED
from monitoring.records import Severity, Verdict

FELT = 0.05  # of a metric between 0 and 1
SHARE = 0.25  # of any other error, as it was on held-out rows
SLIGHT = 0.01  # of a metric between 0 and 1: hardly anybody notices


def severity(verdict: Verdict) -> Severity:
    """Return how urgent a verdict is.

    Answers on a broken sensor, or from a check that can't be made, can't be trusted: critical. A degradation is as bad
    as the loss that was measured, and drift as the loss that is estimated without labels; where nobody knows it is a
    warning.
    """
    if verdict.outcome in ("fault", "failed"):
        return "critical"
    if verdict.outcome == "degraded":
        return "critical" if lost_much(verdict.detail) else "warning"
    return by_estimate(verdict.detail) if verdict.outcome == "drift" else "info"


def lost_much(detail: Mapping[str, Any]) -> bool:
    """Tell whether the loss on labelled rows is far above the one on held-out rows."""
    loss, before = float(detail.get("loss") or 0.0), float(detail.get("held_out") or 0.0)
    return loss - before >= (FELT if detail.get("metric") in BOUNDED else SHARE * before)


def by_estimate(detail: Mapping[str, Any]) -> Severity:
    """Return how urgent drift is, by the accuracy it is estimated to cost, beyond the estimate's own error."""
    estimate = detail.get("estimate") or {}
    if estimate.get("lost") is None:
        return "warning"
    lost, error = float(estimate["lost"]), float(estimate.get("past_error") or 0.0)
    if lost + error <= SLIGHT:
        return "info"
    return "critical" if lost >= FELT and lost > error else "warning"


def size(verdict: Verdict) -> float:
    """Return how far beyond the ordinary a window is, to tell the worst: a score over its threshold, or a loss."""
    if verdict.check == "performance":
        return float(verdict.detail.get("loss") or 0.0)
    scores = [float(one.get("score") or 0.0) for one in (verdict.detail.get("columns") or {}).values()]
    return max(scores, default=0.0) / max(float(verdict.detail.get("threshold") or 0.0), 1e-9)
