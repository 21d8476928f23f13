"""What a reference holds and what its windows can show, as plain values for a model's card."""

from typing import Any

from monitoring.calibration import Calibration, calibration_for
from monitoring.declarations import Monitors
from monitoring.detectable import Detectable
from monitoring.reference import Reference


def summary(reference: Reference, monitors: Monitors) -> dict[str, Any]:
    """Return which rows, how many, the threshold at the expected size of a window, and what it is blind to.

    `calibration` is None where nobody knows how many rows a window will have.
    """
    known = {
        "rows": reference.rows,
        "origin": reference.origin,
        "held_out": len(reference.losses),
        "columns": len(reference.watched),
        "broken": dict(reference.broken),
        "exchangeable": reference.exchangeable,
        "asked": monitors.false_incidents,
        "calibration": None,
        "detectable": {},
    }
    if not reference.window_rows or not reference.watched:
        return known
    found = calibration_for(reference, reference.window_rows, monitors)
    sizes = {name: change(found.detectable[name]) for name in reference.watched}
    return {**known, "calibration": thresholds(found), "detectable": sizes}


def thresholds(found: Calibration) -> dict[str, Any]:
    """Return what a window's highest score is held against."""
    return {
        "rows": found.rows,
        "threshold": found.threshold,
        "budget": found.budget.to_json(),
        "blocks": found.blocks,
        "supported": found.supported,
        "basis": found.budget.sentence,
    }


def change(seen: Detectable) -> str:
    """Write a change for people."""
    if seen.size is None:
        return "none: it is blind"
    if seen.unit == "sigma":
        return f"{seen.size:g} standard deviations"
    return f"{seen.size * 100:g} % of the rows"
