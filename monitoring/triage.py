"""Which of the drifted columns matter: an order for people who look, that leaves none of them out.

Without labels nobody can say what a shift does to the answers; a column that the metric hardly hangs on may still
have changed its meaning. So drift that is low on the list is drift all the same, and what labels don't settle in time
is told once more (`monitoring/unresolved.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data.wording import significant
from monitoring.reference import OUTPUTS, Reference

NOTHING = 1e-9  # of a metric: no more than rounding


def triage(reference: Reference, columns: Mapping[str, Mapping[str, Any]], threshold: float) -> list[dict[str, Any]]:
    """Return the drifted columns, what matters most first; JSON values.

    `columns`: what the verdict says of each. `drift` is its score over the threshold, `importance` what the metric
    loses without it, `effect` by how much the metric is estimated to have changed, 1 until somebody has (`weighed`):
    their product decides. What the champion answers is no cause, and of unknown importance: it stands after every
    column that the metric hangs on.
    """
    found = [
        {
            "column": name,
            "drift": round(float(said["score"]) / max(threshold, 1.0), 3),
            "importance": importance_of(reference, name),
            "effect": 1.0,
        }
        for name, said in columns.items()
        if said["drifted"]
    ]
    found.sort(key=_weight, reverse=True)
    return [{**one, "rank": rank} for rank, one in enumerate(found, start=1)]


def weighed(
    reference: Reference, triaged: list[dict[str, Any]], estimate: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return a triage with the estimate's effect: of the whole window, so that one window compares with another."""
    effect = effect_of(reference, estimate)
    return [{**line, "effect": effect} for line in triaged]


def _weight(line: Mapping[str, Any]) -> tuple[int, float, float]:
    known = line["importance"]
    matters = known is not None and known > NOTHING
    place = 2 if matters else 1 if known is None else 0
    return place, (known or 0.0) * line["drift"] * line["effect"], line["drift"]


def importance_of(reference: Reference, name: str) -> float | None:
    """Return what the metric loses without a column; None where that was not measured."""
    known = reference.importance.get(name)
    return None if known is None or name in OUTPUTS or name.startswith("prediction.") else round(float(known), 6)


def effect_of(reference: Reference, estimate: Mapping[str, Any] | None) -> float:
    """Return by how much the metric is estimated to have changed, at least by the estimate's own error; 1 unknown."""
    before = held_out(reference, str(estimate["metric"])) if estimate else None
    if estimate is None or before is None or estimate.get("value") is None:
        return 1.0
    least = abs(float(estimate.get("past_error") or 0.0))
    changed = max(abs(float(estimate["value"]) - before), least, NOTHING)
    return round(changed, 6) if np.isfinite(changed) else 1.0


def lost(reference: Reference, estimate: Mapping[str, Any]) -> float | None:
    """Return by how much accuracy is estimated to have fallen (below 0: risen) since the held-out rows."""
    before = held_out(reference, "accuracy") if estimate.get("metric") == "accuracy" else None
    return None if before is None or estimate.get("value") is None else round(before - float(estimate["value"]), 6)


def held_out(reference: Reference, metric: str) -> float | None:
    """Return a metric on the held-out rows, for the two that their losses tell."""
    if not len(reference.losses):
        return None
    mean = float(reference.losses.mean())
    return {"accuracy": 1 - mean, "mae": mean, "mean absolute error": mean}.get(metric)


def first(triaged: list[dict[str, Any]]) -> str:
    """Say which column matters most, and why; nothing where the metric hangs on none of them."""
    if not triaged or not triaged[0]["importance"] or triaged[0]["importance"] <= NOTHING:
        return ""
    lost = significant(triaged[0]["importance"], 2)
    return f"; matters most: {triaged[0]['column']} (without it the metric loses {lost})"
