"""The pictures inside a card's page: tables and SVG without scripts, coloured by the page's own style."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from models.card_words import number

MOST_CLASSES = 30  # more are not legible as a matrix
WIDTH, HEIGHT = 640, 240  # of a plot, in its own units
LEFT, BOTTOM = 64, 34  # room for the axes


def interval(numbers: Mapping[str, Any], low: float, high: float, mark: Any = None) -> str:
    """Return a bar from a metric's lower to its upper bound, its value a dot, on an axis from `low` to `high`.

    `mark`: a value to compare with, drawn as a line across.
    """
    ends = [numbers.get(name) for name in ("low", "value", "high")]
    if not all(finite(end) for end in ends) or not high > low:
        return ""
    left, middle, right = (place(end, low, high) for end in ends)
    line = ""
    if finite(mark):
        at = place(mark, low, high)
        line = f'<line class="mark" x1="{at}" x2="{at}" y1="0" y2="14"/>'
    return (
        '<svg class="bar" viewBox="0 0 200 14" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="axis" x1="0" x2="200" y1="7" y2="7"/>'
        f'{line}<rect class="span" x="{left}" y="4" width="{max(right - left, 1):.1f}" '
        f'height="6" rx="3"/><circle class="dot" cx="{middle}" cy="7" r="4"/></svg>'
    )


def place(value: Any, low: float, high: float) -> float:
    """Return where a value lies on an axis of 200, kept inside of it."""
    return round(4 + 192 * min(max((float(value) - low) / (high - low), 0.0), 1.0), 1)


def limits(several: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return an axis that holds all bounds, with some room."""
    ends = [one[name] for one in several for name in ("low", "value", "high") if finite(one.get(name))]
    if not ends:
        return 0.0, 0.0
    room = (max(ends) - min(ends)) * 0.1 or abs(max(ends)) * 0.05 or 1.0
    return min(ends) - room, max(ends) + room


def confusion(counts: Sequence[Sequence[int]], levels: Sequence[str]) -> str:
    """Return counts (K or K + 1, K) of truth against answer as a table, each cell as dark as its share of its row."""
    if len(levels) > MOST_CLASSES:
        return ""
    truths = [*levels, "(never seen)"]
    head = "".join(f'<th scope="col">{escape(short(level))}</th>' for level in levels)
    rows = []
    for at, (truth, row) in enumerate(zip(truths, counts, strict=False)):
        if at == len(levels) and not any(row):
            continue
        whole = max(sum(row), 1)
        cells = "".join(cell(count / whole, count, right=at == place_) for place_, count in enumerate(row))
        rows.append(f'<tr><th scope="row">{escape(short(truth))}</th>{cells}</tr>')
    return (
        '<div class="wide"><table class="matrix"><caption>Rows are the truth, columns the answer; counts of judge rows.'
        f"</caption><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def cell(share: float, count: int, *, right: bool) -> str:
    """Return one cell; what is wrong is shown darker, for there is less of it."""
    strength = share if right else math.sqrt(share)
    kind = "right" if right else "wrong"
    dark = " dark" if strength > 0.55 else ""
    return f'<td class="{kind}{dark}" style="--s:{strength:.2f}">{int(count):,}</td>'


def residuals(bins: Sequence[Mapping[str, Any]], target: str) -> str:
    """Return truth minus answer over the answer: the middle, half, and nine tenths of the judge rows."""
    known = [one for one in bins if all(finite(one.get(name)) for name in ("answer", "low", "middle", "high"))]
    if len(known) < 2:
        return ""
    across = axis([one["answer"] for one in known], LEFT, WIDTH - 12)
    up = axis([0.0, *(one[name] for one in known for name in ("low", "high"))], HEIGHT - BOTTOM, 12)
    middle = " ".join(f"{across(one['answer']):.1f},{up(one['middle']):.1f}" for one in known)
    zero = up(0.0)
    ticks = "".join(tick(value, up(value)) for value in extremes(known)) + tick(0.0, zero)
    ends = "".join(
        f'<text x="{across(one["answer"]):.1f}" y="{HEIGHT - 16}" text-anchor="{anchor}">{number(one["answer"])}</text>'
        for one, anchor in ((known[0], "start"), (known[-1], "end"))
    )
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="residuals over answers">'
        f"{band(known, across, up, 'low', 'high', 'outer')}"
        f"{band(known, across, up, 'quarter', 'three_quarters', 'inner')}"
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 12}" y1="{zero:.1f}" y2="{zero:.1f}"/>'
        f'<polyline class="line" points="{middle}"/>{ticks}{ends}'
        f'<text x="{(LEFT + WIDTH) // 2}" y="{HEIGHT - 2}" text-anchor="middle">answer: {escape(short(target))}</text>'
        "</svg>"
        '<p class="soft small">Truth minus answer, by the size of the answer: middle, half and nine tenths of judge '
        "rows.</p>"
    )


def losses(pairs: Sequence[Sequence[Any]]) -> str:
    """Return the training and the validation loss by epoch as two lines."""
    known = [pair for pair in pairs if len(pair) == 2 and finite(pair[0]) and finite(pair[1])]
    if len(known) < 2:
        return ""
    across = axis([0.0, len(known) - 1.0], LEFT, WIDTH - 12)
    up = axis([value for pair in known for value in pair], HEIGHT - BOTTOM, 12)
    lines = [" ".join(f"{across(n):.1f},{up(pair[which]):.1f}" for n, pair in enumerate(known)) for which in (0, 1)]
    values = [value for pair in known for value in pair]
    ticks = "".join(tick(value, up(value)) for value in (min(values), max(values)))
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="losses by epoch">'
        f'<polyline class="thin" points="{lines[0]}"/><polyline class="line" points="{lines[1]}"/>{ticks}'
        f'<text x="{LEFT}" y="{HEIGHT - 16}">epoch 1</text>'
        f'<text x="{WIDTH - 12}" y="{HEIGHT - 16}" text-anchor="end">epoch {len(known)}</text></svg>'
        '<p class="soft small">Loss by epoch: on training rows (thin) and on validation rows (bold).</p>'
    )


def band(known: Sequence[Mapping[str, Any]], across: Any, up: Any, low: str, high: str, css: str) -> str:
    """Return the area between two quantiles."""
    if not all(finite(one.get(name)) for one in known for name in (low, high)):
        return ""
    there = [f"{across(one['answer']):.1f},{up(one[low]):.1f}" for one in known]
    back = [f"{across(one['answer']):.1f},{up(one[high]):.1f}" for one in reversed(known)]
    return f'<polygon class="{css}" points="{" ".join([*there, *back])}"/>'


def axis(values: Sequence[float], start: float, end: float) -> Any:
    """Return the function that places a value between `start` and `end` of a picture."""
    low, high = min(values), max(values)
    whole = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / whole


def extremes(known: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the lowest and the highest quantile."""
    return min(one["low"] for one in known), max(one["high"] for one in known)


def tick(value: float, at: float) -> str:
    """Return a label of the upward axis."""
    return f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{number(float(value))}</text>'


def short(text: Any) -> str:
    """Return a level's name as far as there is room for it."""
    said = " ".join(str(text).split())
    return said if len(said) <= 16 else said[:15] + "…"


def finite(value: Any) -> bool:
    """Whether this is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
