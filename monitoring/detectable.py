"""The smallest change that a verdict would have seen, column by column: what an "ok" is worth."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.binning import count
from monitoring.reference import Reference
from monitoring.statistics import SMALL, Null, components, effect, score

POWER = 0.8
WINDOWS = 200  # simulated for each size of change
VALUES = 4_000  # of the sample shifted
SHIFTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)  # standard deviations
SHARES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # of the rows


@dataclass(frozen=True)
class Detectable:
    """A change seen in at least 80 % of windows: a shift in standard deviations, or a share of rows.

    `size` None means blind: no change looked at is seen.
    """

    unit: Literal["sigma", "share"]
    size: float | None


def detectable(
    reference: Reference,
    name: str,
    rng: np.random.Generator,
    *,
    null: Null,
    threshold: float,
    rows: int,
    stretch: float,
) -> Detectable:
    """Return the smallest change of one column that windows of `rows` rows show at this threshold.

    `stretch`: how much more unchanged windows differ than resampled ones, at least 1.
    """
    binning = reference.binnings[name]
    shifted = binning.kind == "quantiles"
    sizes = SHIFTS if shifted else SHARES
    before, against = reference.counts[name], int(reference.counts[name].sum())
    known = rng.multinomial(against, before / against, size=WINDOWS)
    low, high = 0, len(sizes)
    while low < high:  # power grows with the change
        middle = (low + high) // 2
        after = _shifted(reference, name, sizes[middle]) if shifted else _moved(reference, name, sizes[middle])
        window = rng.multinomial(rows, after, size=WINDOWS)
        noise = rng.multinomial(rows, before / against, size=WINDOWS)
        parts = components(known, window, binning.ordered) + (stretch - 1) * components(known, noise, binning.ordered)
        seen = (score(parts, null) > threshold) & (effect(known, window, binning.ordered) >= SMALL)
        low, high = (low, middle) if seen.mean() >= POWER else (middle + 1, high)
    return Detectable("sigma" if shifted else "share", sizes[low] if low < len(sizes) else None)


def _shifted(reference: Reference, name: str, size: float) -> np.ndarray:
    """Return the shares of bins (bins,) once values are higher by `size` standard deviations."""
    values = reference.sample[name][:: max(len(reference.sample[name]) // VALUES, 1)]
    counts = count(reference.binnings[name], values + size * reference.moments[name][1])
    if name in ("prediction", "confidence"):
        counts[-1] = 0  # blanked, not null
    return np.asarray(counts / max(counts.sum(), 1))


def _moved(reference: Reference, name: str, size: float) -> np.ndarray:
    """Return the shares of bins once a share of all rows has gone to the commonest bin, the least visible change.

    From a bin that has more than half, rows go to the next one, or to "unseen" when there is no next.
    """
    shares = reference.counts[name] / reference.counts[name].sum()
    first, second = np.argsort(-shares, kind="stable")[:2]
    target = first
    if shares[first] > 0.5:
        target = second if shares[second] > 0 else reference.binnings[name].value_bins
    moved = shares * (1 - size)
    moved[target] += size
    return np.asarray(moved)
