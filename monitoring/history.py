"""Past windows as they were: what windows look like when nothing is wrong, where rows hang together in time.

The history is cut into stretches as long as a window and beginning at the same moments, and each is compared with the
rest of it, without itself and without the neighbours that could share an incident with it. Where it helps, the rest is
what began at the same hour of the day or of the week: then a window is compared with those rows of the reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.binning import ABSENT
from monitoring.budget import Rule
from monitoring.reference import Reference
from monitoring.statistics import components

BLOCKS = 1_500  # newest past windows looked at
PRESENT = 0.9  # share of a block's rows that must have a value
MATCHES = 4  # past windows of the same phase that a window must find, to be compared with them only
BETTER = 0.95  # of the distance from the rest that is left, for phases to be worth their smaller reference
PERIODS = {"hour of the day": 86_400.0, "hour of the week": 7 * 86_400.0}


@dataclass(frozen=True)
class Blocks:
    """Past windows, oldest first.

    `numbers`: places on the grid of windows; `begins`: seconds since 1970, NaN where nobody knows; `length`: seconds,
    likewise; `counts`: int64 (blocks, bins) of each column; `present`: bool (blocks,), where it has values to compare.
    """

    numbers: np.ndarray
    begins: np.ndarray
    length: float
    counts: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]

    def phase(self, begin: float, period: str) -> np.ndarray:
        """Tell which blocks began at the same moment of the period as a window does."""
        apart = np.abs((self.begins - begin + PERIODS[period] / 2) % PERIODS[period] - PERIODS[period] / 2)
        return np.asarray(apart < self.length / 2)


def blocks(reference: Reference, rows: int, rule: Rule, begin: float | None) -> Blocks:
    """Cut the history into past windows of `rows` rows, or of the rule's span on a grid through `begin` (seconds).

    Stretches of time are cut short where they have more rows than the window, and left out where they have few.
    """
    timed = len(reference.times) == len(reference.codes) > 0
    if rule.span and timed:
        numbers, first, last = _by_time(reference.times, rule.span, begin)
        last = np.minimum(last, first + rows)
    else:
        many = min(len(reference.codes) // max(rows, 1), BLOCKS)
        numbers = np.arange(many)
        first = len(reference.codes) - (many - numbers) * rows
        last = first + rows
    begins = reference.times[first] if timed and len(first) else np.full(len(first), np.nan)
    ends = reference.times[last - 1] if timed and len(first) else begins
    length = rule.span or (float(np.median(ends - begins)) * rows / max(rows - 1, 1) if len(first) else 0.0)
    whole = np.isnan(begins) | (ends - begins <= 2 * length)  # a stretch with a gap is no window
    kept = np.flatnonzero(whole)[-BLOCKS:]
    counts, present = _counted(reference, first[kept], last[kept])
    return Blocks(numbers[kept], begins[kept], length, counts, present)


def _by_time(times: np.ndarray, span: float, begin: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grid numbers, first rows and ends of the stretches that are full enough."""
    newest = float(times[-1]) + 1e-3
    end = newest if begin is None else begin + np.floor((newest - begin) / span) * span
    many = int((end - times[0]) / span)
    edges = end - np.arange(many, -1, -1) * span
    places = np.searchsorted(times, edges)
    first, last = places[:-1], places[1:]
    full = (last - first) >= 0.5 * np.median(last - first) if many else np.zeros(0, bool)
    full &= last > first
    return np.flatnonzero(full), first[full], last[full]


def _counted(
    reference: Reference, first: np.ndarray, last: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the bins' counts of each stretch, column by column, and where there are enough values."""
    owner = np.full(len(reference.codes), -1)
    for number, (start, end) in enumerate(zip(first, last, strict=True)):
        owner[start:end] = number
    counts, present = {}, {}
    for index, name in enumerate(reference.watched):
        codes, bins = reference.codes[:, index], reference.binnings[name].bins
        used = (owner >= 0) & (codes != ABSENT)
        flat = owner[used] * bins + codes[used]
        counts[name] = np.bincount(flat, minlength=len(first) * bins).reshape(-1, bins)
        present[name] = counts[name].sum(1) >= PRESENT * (last - first)
    return counts, present


@dataclass(frozen=True)
class Compared:
    """Past windows against the rest: components (blocks, 2), the others' counts (blocks, bins), and the phase used."""

    parts: Mapping[str, np.ndarray]
    others: Mapping[str, np.ndarray]
    period: str | None


def compared(reference: Reference, past: Blocks, typical: Mapping[str, np.ndarray], gap: int) -> Compared:
    """Compare each past window with the rest, by the phase that leaves the least between them.

    `typical`: mean components of resampled windows, by which columns are made alike; `gap`: neighbours closer than
    this are left out, the block itself being 0 away.
    """
    apart = np.abs(past.numbers[:, None] - past.numbers[None]) >= gap
    found = _against(reference, past, apart, None)
    least = _distance(found, past, typical)
    for name, period in PERIODS.items():
        if np.isnan(past.begins).any() or not past.length or past.length > period / 2:
            continue
        same = apart & np.stack([past.phase(begin, name) for begin in past.begins])
        if same.sum(1).min(initial=MATCHES) < MATCHES:
            continue
        tried = _against(reference, past, same, name)
        if (distance := _distance(tried, past, typical)) < BETTER * least:
            found, least = tried, distance
    return found


def _against(reference: Reference, past: Blocks, which: np.ndarray, period: str | None) -> Compared:
    others = {name: _added(which & past.present[name], counts) for name, counts in past.counts.items()}
    parts = {
        name: components(others[name], counts, reference.binnings[name].ordered) for name, counts in past.counts.items()
    }
    return Compared(parts, others, period)


def _added(which: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Add the counts (blocks, bins) of those chosen, a row of `which` (…, blocks) at a time; exact to 16 million."""
    return np.asarray(which.astype(np.float32) @ counts.astype(np.float32), dtype=np.float64)


def _distance(found: Compared, past: Blocks, typical: Mapping[str, np.ndarray]) -> float:
    """Return how far past windows are from what they are compared with, 1 being what resampled ones are."""
    each = [
        float((parts[past.present[name]] / typical[name]).mean())
        for name, parts in found.parts.items()
        if past.present[name].any()
    ]
    return float(np.mean(each)) if each else 1.0


def known_at(reference: Reference, past: Blocks, period: str | None, begin: float | None) -> dict[str, np.ndarray]:
    """Return the counts of each column that a window beginning then is compared with."""
    if period is None or begin is None:
        return dict(reference.counts)
    same = past.phase(begin, period)
    known = {name: _added(same & past.present[name], counts) for name, counts in past.counts.items()}
    return {name: counts if counts.sum() else reference.counts[name] for name, counts in known.items()}
