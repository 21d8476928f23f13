"""ROC, precision-recall and calibration in a card's page: small squares of SVG, from the points of models/curves.py."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from models.card_charts import finite, short

SIDE = 220  # of a square, in its own units
LEFT, FOOT, EDGE = 40, 34, 10  # room for the axes, and beyond the ends


def curves(found: Mapping[str, Any]) -> str:
    """Return the squares side by side."""
    about = short(found["about"]) if found.get("about") is not None else "the level that is looked for"
    share = found.get("share")
    level = [[0.0, share], [1.0, share]] if finite(share) else []
    drawn = (
        square(f"ROC of {about}", "false alarms", "found", found.get("roc", []), DIAGONAL),
        square(f"Precision and recall of {about}", "found", "right", found.get("precision_recall", []), level),
        square("Calibration", "probability said", "came true", found.get("calibration", []), DIAGONAL, dots=True),
    )
    return f'<div class="squares">{"".join(drawn)}</div>' if any(drawn) else ""


DIAGONAL = [[0.0, 0.0], [1.0, 1.0]]


def square(
    title: str,
    across: str,
    up: str,
    points: Sequence[Sequence[Any]],
    beside: Sequence[Sequence[Any]],
    *,
    dots: bool = False,
) -> str:
    """Return one curve of shares, 0 to 1 both ways, with what knows nothing, or is perfect, as a thin line beside."""
    known = [point for point in points if len(point) > 1 and finite(point[0]) and finite(point[1])]
    if len(known) < 2:
        return ""
    marks = "".join(f'<circle class="dot" cx="{x(point[0])}" cy="{y(point[1])}" r="3"/>' for point in known)
    ticks = "".join(
        f'<text x="{x(value)}" y="{y(0) + 14}" text-anchor="middle">{value:g}</text>'
        f'<text x="{x(0) - 6}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>'
        for value in (0.0, 0.5, 1.0)
    )
    frame = f'<rect class="frame" x="{x(0)}" y="{y(1)}" width="{x(1) - x(0):.1f}" height="{y(0) - y(1):.1f}"/>'
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg class="plot" viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="{escape(title, quote=True)}">'
        f'{frame}<polyline class="thin" points="{line(beside)}"/><polyline class="line" points="{line(known)}"/>'
        f"{marks if dots else ''}{ticks}"
        f'<text x="{(x(0) + x(1)) / 2:.1f}" y="{SIDE - 4}" text-anchor="middle">{escape(across)}</text>'
        f'<text x="{x(0) + 4}" y="{y(1) + 14}">{escape(up)}</text></svg></figure>'
    )


def line(points: Sequence[Sequence[Any]]) -> str:
    """Return points as SVG has them."""
    return " ".join(f"{x(point[0])},{y(point[1])}" for point in points)


def x(share: Any) -> float:
    """Place a share from left to right."""
    return round(LEFT + (SIDE - LEFT - EDGE) * min(max(float(share), 0.0), 1.0), 1)


def y(share: Any) -> float:
    """Place a share from bottom to top."""
    return round(SIDE - FOOT - (SIDE - FOOT - EDGE) * min(max(float(share), 0.0), 1.0), 1)
