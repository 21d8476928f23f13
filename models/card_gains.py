"""What a network adds to the simple models beside it, in points, seconds and megabytes, as plain text."""

import math
from collections.abc import Mapping
from typing import Any

from data.wording import significant
from models.card_words import bounded, number, size
from models.metrics import BOUNDED, HIGHER_IS_BETTER


def added(card: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return the network and the simple models beside it, a line each: name, metric, gain, seconds, size.

    The gain is how much better the network's metric is, in points where it is a share, with its bounds.
    """
    found = card.get("quality", {})
    beside, metric = found.get("beside") or {}, str(found.get("metric"))
    if not beside:
        return []
    ours = found.get("judge", {}).get(metric, {})
    seconds = card.get("training", {}).get("seconds")
    lines = [("network", bounded(ours), "", number(rounded(seconds)), size(found))]
    for name, one in beside.items():
        pace, room = number(rounded(one.get("seconds") or None)), size({"size_mb": rounded(one.get("mb") or None)})
        lines.append((name, number(one.get("value")), gained(one, metric), pace, room))
    return lines


def gained(one: Mapping[str, Any], metric: str) -> str:
    """Write how much better the network is than a simple model."""
    scale, unit = (100, " points") if metric in BOUNDED else (1, "")
    given = [one.get(name) for name in ("gain", "low", "high")]
    ends = [float(end) for end in given if isinstance(end, int | float) and math.isfinite(end)]
    if len(ends) < len(given):
        return ""
    middle, low, high = (significant(scale * end, 3, sign="+") for end in ends)
    return f"{middle}{unit} [{low}, {high}]"


def adds(card: Mapping[str, Any]) -> str:
    """Say in a sentence what the network adds to the best simple model, and what it costs more."""
    found = card.get("quality", {})
    metric = str(found.get("metric"))
    known = {
        name: one
        for name, one in (found.get("beside") or {}).items()
        if isinstance(one.get("value"), int | float) and math.isfinite(one["value"])
    }
    if not known or metric not in HIGHER_IS_BETTER:
        return ""
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    name = max(known, key=lambda each: sign * known[each]["value"])
    best = known[name]
    low, high = best.get("low"), best.get("high")
    shown = "the rows can't tell the two apart"
    if isinstance(low, int | float) and low > 0:
        shown = "it is shown to be better"
    elif isinstance(high, int | float) and high < 0:
        shown = "it is shown to be worse"
    said = (
        f"Over the {name} baseline, the best of the simple models, the network's {metric} gains {gained(best, metric)}"
    )
    return f"{said}: {shown}."


def rounded(value: Any) -> Any:
    """Return two digits of a number: seconds and megabytes are of one machine and one run."""
    return float(f"{value:.2g}") if isinstance(value, int | float) and not isinstance(value, bool) else value
