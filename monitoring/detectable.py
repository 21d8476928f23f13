"""The smallest change that the rule in force would have seen, column by column: what an "ok" is worth.

Known changes are put into copies of windows: real past ones, or resampled ones where rows are exchangeable. Only bins
are kept of single rows, so a change moves each bin's rows as it moves those of the reference's sample.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.binning import encode
from monitoring.budget import Rule, power_of_windows
from monitoring.reference import Reference
from monitoring.statistics import SMALL, Null, components, effect, score

POWER = 0.8
VALUES = 4_000  # of the sample shifted
SHIFTS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)  # standard deviations
SHARES = (0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # of the rows


@dataclass(frozen=True)
class Detectable:
    """A change seen with 80 % probability: a shift in standard deviations, or a share of rows.

    `size` None means blind: no change looked at is seen.
    """

    unit: Literal["sigma", "share"]
    size: float | None


@dataclass(frozen=True)
class Stage:
    """Where changes are tried: windows' counts (..., W, bins) against counts that broadcast to them.

    `in_time`: whether the windows follow each other, so that an incident needs K of N neighbours; else all windows of
    one reference are independent of each other, given that reference.
    """

    known: np.ndarray
    windows: np.ndarray
    in_time: bool


def detectable(reference: Reference, name: str, stage: Stage, null: Null, threshold: float, rule: Rule) -> Detectable:
    """Return the smallest change of one column that opens an incident within N windows."""
    unit: Literal["sigma", "share"] = "sigma" if reference.binnings[name].kind == "quantiles" else "share"
    sizes = SHIFTS if unit == "sigma" else SHARES
    low, high = 0, len(sizes)
    while low < high:  # power grows with the change
        middle = (low + high) // 2
        _, seen = power(reference, name, sizes[middle], stage, null, threshold, rule)
        low, high = (low, middle) if seen >= POWER else (middle + 1, high)
    return Detectable(unit, sizes[low] if low < len(sizes) else None)


def power(
    reference: Reference, name: str, size: float, stage: Stage, null: Null, threshold: float, rule: Rule
) -> tuple[float, float]:
    """Return with which probability a changed window alarms, and N of them open an incident."""
    ordered = reference.binnings[name].ordered
    changed = stage.windows @ _moves(reference, name, size)
    parts = components(stage.known, changed, ordered)
    seen = (score(parts, null) > threshold) & (effect(stage.known, changed, ordered) >= SMALL)
    if stage.in_time and seen.shape[-1] >= rule.n:
        runs = np.lib.stride_tricks.sliding_window_view(seen, rule.n, axis=-1).sum(-1)
        return float(seen.mean()), float((runs >= rule.k).mean())
    return float(seen.mean()), float(power_of_windows(seen.mean(-1), rule).mean())


def _moves(reference: Reference, name: str, size: float) -> np.ndarray:
    """Return where the rows of each bin go (bins, bins): shifted, or to the commonest bin, where they show least."""
    binning = reference.binnings[name]
    if binning.kind == "quantiles":
        return _shifted(reference, name, size)
    shares = reference.counts[name] / reference.counts[name].sum()
    first, second = np.argsort(-shares, kind="stable")[:2]
    target = first
    if shares[first] > 0.5:
        target = second if shares[second] > 0 else binning.value_bins
    moved = np.eye(binning.bins) * (1 - size)
    moved[:, target] += size
    return moved


def _shifted(reference: Reference, name: str, size: float) -> np.ndarray:
    """Return where rows go once values are higher by `size` standard deviations."""
    binning = reference.binnings[name]
    values = reference.sample[name][:: max(len(reference.sample[name]) // VALUES, 1)]
    before = encode(binning, values).astype(np.int64)
    after = encode(binning, values + size * reference.moments[name][1]).astype(np.int64)
    moved = (
        np.bincount(before * binning.bins + after, minlength=binning.bins**2).reshape(binning.bins, -1).astype(float)
    )
    empty = moved.sum(1) == 0
    moved[empty, empty.nonzero()[0]] = 1
    return np.asarray(moved / moved.sum(1, keepdims=True))
