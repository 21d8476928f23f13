"""A project's windows as one picture without a script: metric, drift, verdicts, and what happened meanwhile.

Each line is an SVG of its own, all as wide as the page leaves: places across are per cent, heights are pixels, so that
nothing is stretched. A window's place is its position among those shown, oldest first.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from serving.html import tag
from serving.words import number
from tasks.timeline import Point

TALL, LOW, FLAT, TOP = 104, 56, 22, 18  # pixels: the metric, the drift, a line of verdicts, the marks
ROOM = 8  # pixels above and below a line, for dots
HIGHEST = 3.0  # thresholds; more drift than that is drawn as this much
APART = 5.0  # per cent between two words of the marks
OUTCOMES = ("ok", "drift", "degraded", "fault", "failed", "insufficient")


@dataclass(frozen=True)
class Mark:
    """Something that happened: at which window, what, and where to read of it."""

    generation: int
    index: int
    title: str
    url: str


def chart(points: Sequence[Point], marks: Iterable[Mark], told: Mapping[tuple[int, int, str], str]) -> str:
    """Return the picture; empty without windows. `told`: (generation, window, check) -> the verdict in words."""
    if not points:
        return ""
    lines = [*marked(points, marks), *metric(points), *drift(points)]
    for check in ("data", "performance"):
        lines += verdicts(points, check, told)
    first, last = points[0].start, points[-1].end
    lines.append(
        '<div class="ends soft small">'
        f"{tag('span', f'{first:%Y-%m-%d %H:%M}')}{tag('span', f'{last:%Y-%m-%d %H:%M} UTC')}</div>"
    )
    return f'<div class="chart">{"".join(lines)}</div>{legend(points)}'


def line(title: str, height: int, content: str, aria: str) -> list[str]:
    """Return a title and its drawing. `title` and `content` are HTML."""
    drawn = f'<svg height="{height}" role="img" aria-label="{escape(aria, quote=True)}">{content}</svg>'
    return [f'<div class="soft small">{title}</div>', drawn]


def across(points: Sequence[Point], at: float) -> float:
    """Return where the middle of a window lies, in per cent."""
    return round(100 * (at + 0.5) / len(points), 3)


def swaps(points: Sequence[Point]) -> list[tuple[int, int]]:
    """Return the positions at which a new generation begins, with its number."""
    return [
        (at + 1, two.generation) for at, (one, two) in enumerate(pairwise(points)) if one.generation != two.generation
    ]


def swapped(points: Sequence[Point], height: int) -> str:
    """Return a line down at each swap."""
    places = [across(points, at - 0.5) for at, _ in swaps(points)]
    return "".join(f'<line class="swap" x1="{x}%" x2="{x}%" y1="0" y2="{height}"/>' for x in places)


def marked(points: Sequence[Point], marks: Iterable[Mark]) -> list[str]:
    """Return the line of what happened: a triangle an incident, a word a swap; too close ones go without the word."""
    where = {(one.generation, one.index): at for at, one in enumerate(points)}
    content: list[str] = []
    taken = -APART
    for at, generation in swaps(points):
        if (x := across(points, at - 0.5)) - taken >= APART:
            anchor = ' text-anchor="end"' if x > 90 else ""
            content.append(f'<text x="{x}%" y="11"{anchor}>gen {generation}</text>')
            taken = x
    for mark in marks:
        place = where.get((mark.generation, mark.index))
        if place is not None:
            drawn = f'<svg x="{across(points, place)}%" y="2" overflow="visible">{triangle(mark.title)}</svg>'
            content.append(f'<a href="{escape(mark.url, quote=True)}">{drawn}</a>')
    if not content:
        return []
    return line("what happened", TOP, swapped(points, TOP) + "".join(content), "incidents and swaps")


def triangle(title: str) -> str:
    """Return the sign of an incident."""
    return f'<path class="degraded" d="M0 0 7 13H-7Z"><title>{escape(title)}</title></path>'


def metric(points: Sequence[Point]) -> list[str]:
    """Return the line of the metric: estimated with its band, partial and realised with their intervals."""
    values = list(bounds(points))
    if not values:
        return []
    up = axis(min(values), max(values), TALL)
    content = swapped(points, TALL) + estimates(points, up)
    for at, one in enumerate(points):
        for found, css in ((one.partial, "part"), (one.realised, "dot")):
            if found and all(map(math.isfinite, found)):
                content += measured(across(points, at), found, css, up, said(one))
    name = next((one.metric for one in reversed(points) if one.metric), "metric")
    newest = next((one for one in reversed(points) if one.realised), None)
    value = number(newest.realised[0]) if newest and newest.realised else ""
    ends = tag("span", number(max(values)), "high"), tag("span", number(min(values)), "low")
    drawn = line("", TALL, content, f"{name} by window" + (f"; newest realised: {value}" if value else ""))
    title = f"<span>{escape(name)} {tag('b', value)}</span>"
    return [f'<div class="soft small tall">{ends[0]}{title}{ends[1]}</div>', drawn[1]]


def bounds(points: Iterable[Point]) -> Iterable[float]:
    """Yield every height that is drawn."""
    for one in points:
        for found in (one.partial, one.realised):
            yield from (value for value in found or () if math.isfinite(value))
        if one.estimated is not None and math.isfinite(one.estimated):
            error = one.estimated_error or 0.0
            yield from (one.estimated - error, one.estimated + error)


def axis(low: float, high: float, height: int) -> Callable[[float], float]:
    """Return the function that places a value, in pixels from above."""
    whole = (high - low) or 1.0
    return lambda value: round(height - ROOM - (height - 2 * ROOM) * (value - low) / whole, 1)


def estimates(points: Sequence[Point], up: Callable[[float], float]) -> str:
    """Return the estimated line with its band, apart for each stretch of one generation's windows that have one."""
    stretches: list[list[tuple[int, Point]]] = []
    for at, one in enumerate(points):
        if one.estimated is None or not math.isfinite(one.estimated):
            continue
        last = stretches[-1][-1] if stretches else None
        if last is not None and last[0] == at - 1 and last[1].generation == one.generation:
            stretches[-1].append((at, one))
        else:
            stretches.append([(at, one)])
    box = f'viewBox="0 0 {len(points)} {TALL}" preserveAspectRatio="none" width="100%" height="{TALL}"'
    return f"<svg {box}>{''.join(band(one, up) for one in stretches)}</svg>" if stretches else ""


def band(stretch: Sequence[tuple[int, Point]], up: Callable[[float], float]) -> str:
    """Return one stretch, from the left edge of its first window to the right edge of its last."""
    places = [(at + 0.5, one.estimated or 0.0, one.estimated_error or 0.0) for at, one in stretch]
    places = [(places[0][0] - 0.4, *places[0][1:]), *places, (places[-1][0] + 0.4, *places[-1][1:])]
    upper = " ".join(f"{x:g},{up(value + error)}" for x, value, error in places)
    lower = " ".join(f"{x:g},{up(value - error)}" for x, value, error in reversed(places))
    middle = " ".join(f"{x:g},{up(value)}" for x, value, _ in places)
    return f'<polygon class="band" points="{upper} {lower}"/><polyline class="line" points="{middle}"/>'


def measured(x: float, found: tuple[float, float, float], css: str, up: Callable[[float], float], title: str) -> str:
    """Return a dot with its interval."""
    value, low, high = found
    return (
        f'<line class="error" x1="{x}%" x2="{x}%" y1="{up(high)}" y2="{up(low)}"/>'
        f'<circle class="{css}" cx="{x}%" cy="{up(value)}" r="2.6"><title>{escape(title)}</title></circle>'
    )


def drift(points: Sequence[Point]) -> list[str]:
    """Return the line of the drift: the highest score of each window, in units of its threshold."""
    if not any(one.drift > 0 for one in points):
        return []
    ceiling = max(1.6, min(max(one.drift for one in points if math.isfinite(one.drift)), HIGHEST))
    wide, content = 100 / len(points), swapped(points, LOW)
    for at, one in enumerate(points):
        high = min(one.drift, ceiling) / ceiling * (LOW - 4) if one.drift > 0 else 0.0
        css = "drift" if one.drift >= 1 else "quiet"
        place = f'x="{at * wide + wide * 0.15:.3f}%" width="{wide * 0.7:.3f}%"'
        title = f"<title>{escape(said(one))}</title>"
        content += f'<rect class="{css}" {place} y="{LOW - high:.1f}" height="{high:.1f}">{title}</rect>'
    limit = round(LOW - (LOW - 4) / ceiling, 1)
    content += f'<line class="limit" x1="0" x2="100%" y1="{limit}" y2="{limit}"/>'
    over = sum(one.drift >= 1 for one in points)
    return line(
        "drift, dashed: its threshold", LOW, content, f"drift: {over} of {len(points)} windows over the threshold"
    )


def verdicts(points: Sequence[Point], check: str, told: Mapping[tuple[int, int, str], str]) -> list[str]:
    """Return the line of one check's verdicts; what is not well stands taller."""
    content, wide, counts = swapped(points, FLAT), 100 / len(points), dict.fromkeys(OUTCOMES, 0)
    for at, one in enumerate(points):
        outcome = one.outcome_data if check == "data" else one.outcome_performance
        if outcome is None:
            continue
        css = outcome if outcome in OUTCOMES else "insufficient"
        counts[css] += 1
        high = 10 if css in {"ok", "insufficient"} else FLAT - 2
        place = f'x="{at * wide + wide * 0.1:.3f}%" width="{wide * 0.8:.3f}%" y="{FLAT - 1 - high}" height="{high}"'
        words = told.get((one.generation, one.index, check), f"window {one.generation}.{one.index}: {outcome}")
        content += f'<rect class="{css}" rx="2" {place}><title>{escape(words)}</title></rect>'
    seen = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none yet"
    return line(f"{check} verdicts", FLAT, content, f"verdicts on {check}: {seen}")


def said(one: Point) -> str:
    """Return a window in words."""
    parts = [f"window {one.generation}.{one.index}, {one.rows:,} rows"]
    if one.estimated is not None:
        parts.append(f"estimated {number(one.estimated)} ± {number(one.estimated_error)}")
    for word, found in (("partial", one.partial), ("realised", one.realised)):
        if found:
            parts.append(f"{word} {number(found[0])} ({number(found[1])} to {number(found[2])})")
    if one.selected:
        parts.append("labels of selected rows")
    return "; ".join([*parts, f"drift {number(one.drift)} of its threshold"])


def legend(points: Sequence[Point]) -> str:
    """Say what the signs mean that this picture has."""
    seen = {one.outcome_data for one in points} | {one.outcome_performance for one in points}
    box = '<rect class="{}" y="1" width="11" height="11" rx="2"/>'
    items: list[tuple[str, str]] = [(box.format(name), name) for name in OUTCOMES if name in seen]
    if any(one.realised for one in points):
        items.append(('<circle class="dot" cx="6" cy="6" r="3"/>', "realised, with its interval"))
    if any(one.partial for one in points):
        items.append(('<circle class="part" cx="6" cy="6" r="3"/>', "labelled so far"))
    if any(one.estimated is not None for one in points):
        items.append(
            ('<rect class="band" width="12" height="12"/><path class="line" d="M0 6h12"/>', "estimated, ± past error")
        )
    if any(one.selected for one in points):
        items.append(("", "labels come for selected rows only"))
    return f'<div class="legend small soft">{"".join(sign(drawn, words) for drawn, words in items)}</div>'


def sign(drawn: str, words: str) -> str:
    """Return one sign with its meaning."""
    return f'<span><svg aria-hidden="true">{drawn}</svg>{escape(words)}</span>'
