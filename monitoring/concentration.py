"""Whether champion and labels disagree in one slice only: a broken source, not a world that changed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.binning import printable
from monitoring.reference import Reference

LEAST = 20  # rows of a slice
WIDEST = 0.5  # share of the rows beyond which it is not "one slice"
EXPLAINED = 0.8  # share of the extra loss that lies inside it
SIGMAS = 4.0  # between inside and outside: one in 30,000, shared by all slices looked at
MIX = 2.0  # times its share in the reference, beyond which the mix of rows changed, not the slice


@dataclass(frozen=True)
class Concentration:
    """One level of one column that holds the loss. Mean losses `inside` and `outside` of it."""

    column: str
    level: str
    rows: int
    inside: float
    outside: float


def concentrated(reference: Reference, losses: np.ndarray, slices: Mapping[str, np.ndarray]) -> Concentration | None:
    """Return the slice that alone explains why losses (N,) are higher than held out, the clearest if several do.

    `slices`: category columns, (N,) each, in the order of `losses`.
    """
    held_out = float(reference.losses.mean()) if len(reference.losses) else 0.0
    extra = float((losses - held_out).sum())
    if extra <= 0:
        return None
    found = [
        (min(float((losses[inside] - held_out).sum()) / extra, 1.0), name, level, inside)
        for name, values in slices.items()
        for level, inside in _levels(reference, name, values)
        if _apart(losses, inside) > SIGMAS
    ]
    if not found:
        return None
    share, name, level, inside = max(found, key=lambda one: one[0])
    if share < EXPLAINED:
        return None
    means = float(losses[inside].mean()), float(losses[~inside].mean())
    return Concentration(name, level, int(inside.sum()), *means)


def _levels(reference: Reference, name: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return the levels that could be a source of their own, with their rows."""
    binning = reference.binnings.get(name)
    if binning is None or binning.kind != "levels":
        return []
    known = dict(zip(binning.levels, reference.counts[name] / max(reference.counts[name].sum(), 1), strict=False))
    found = []
    for level in sorted({value for value in values.tolist() if isinstance(value, str)}):
        inside = values == level
        share = float(inside.mean())
        if inside.sum() >= LEAST and share <= WIDEST and share <= MIX * known.get(level, 0.0):
            found.append((level, inside))
    return found


def _apart(losses: np.ndarray, inside: np.ndarray) -> float:
    """Return how far the mean loss inside is above the one outside, in standard deviations of the difference."""
    high, low = losses[inside], losses[~inside]
    # classes: a slice without any error still has a spread
    spread = [max(float(part.var()), 1 / (len(part) + 2)) / len(part) for part in (high, low)]
    return (float(high.mean()) - float(low.mean())) / float(np.sqrt(sum(spread)))


def told(found: Concentration) -> str:
    """Say where the loss lies, for people."""
    return (
        f"goes wrong only where {found.column} is {printable(found.level)!r}: mean loss {found.inside:.3g} in "
        f"{found.rows} rows, {found.outside:.3g} elsewhere"
    )
