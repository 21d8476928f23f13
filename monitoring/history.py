"""How much windows differ from each other when nothing is wrong, where rows hang together in time.

Every contiguous block of the history that is as long as a window is compared with the rest of it. The threshold
is a rank among the blocks' highest scores, so that a new window passes it with a known probability (Vovk 2005,
Algorithmic Learning in a Random World); with few blocks the smallest such probability is larger than was asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.binning import ABSENT
from monitoring.reference import Reference
from monitoring.statistics import FLOOR, Null, components, score, tally

PRESENT = 0.9  # share of a block's rows that must have a value
ODD = 2.0  # times the typical column's highest score: such a column has had its own upheaval


@dataclass(frozen=True)
class History:
    """What the blocks support. `nulls` has the columns that can be judged; `blocks` the shortest one's number."""

    nulls: Mapping[str, Null]
    threshold: float
    rate: float
    blocks: int
    supported: bool


def from_history(
    reference: Reference, nulls: Mapping[str, Null], rows: int, asked: float, least: float = 0.0
) -> History:
    """Return the threshold that blocks of `rows` rows support, and nulls as wide as the blocks show.

    `least`: the threshold of independent rows, under which none is put, however alike the blocks are.

    Columns with less than half of the longest history can't be judged. A column with an upheaval of its own in
    the history, which would raise the threshold for all, is widened instead until its highest block just passes.
    """
    parts = {name: leave_block_out(reference, name, rows) for name in reference.watched}
    longest = max(map(len, parts.values()), default=0)
    if longest < 2:
        return History({}, 0.0, 1.0, longest, supported=False)
    parts = {name: blocks for name, blocks in parts.items() if 2 * len(blocks) >= longest and len(blocks) >= 2}
    scores = {name: _scores(nulls[name], blocks) for name, blocks in parts.items()}
    tops = {name: float(found.max()) for name, found in scores.items()}
    moving = [tops[name] for name, blocks in parts.items() if blocks.any()]  # constants say nothing of what is typical
    typical = float(np.median(moving)) if moving else 0.0
    odd = {name for name, top in tops.items() if top > ODD * max(typical, 1.0)}
    threshold, rate = conformal([scores[name].tolist() for name in parts if name not in odd], asked)
    threshold = max(threshold, least, 0.0)  # a wide enough null brings any score below 0, so widening ends
    wide = {name: widened(nulls[name], blocks) for name, blocks in parts.items()}
    wide |= {name: _below(wide[name], parts[name], threshold) for name in odd}
    rate += sum(1 / (len(parts[name]) + 1) for name in odd)
    return History(wide, threshold, min(rate, 1.0), min(map(len, parts.values())), supported=True)


def _scores(null: Null, blocks: np.ndarray) -> np.ndarray:
    """Score each block by what all other blocks say of the column."""
    others = [np.delete(blocks, block, axis=0) for block in range(len(blocks))]
    return np.array([float(score(part, widened(null, other))) for part, other in zip(blocks, others, strict=True)])


def _below(null: Null, blocks: np.ndarray, threshold: float) -> Null:
    """Widen a null until no block's score is above the threshold."""
    while score(blocks, null).max() > threshold:
        null = Null((null.mean[0] * 1.1, null.mean[1] * 1.1), null.shape)
    return null


def leave_block_out(reference: Reference, name: str, rows: int) -> np.ndarray:
    """Return the components (blocks, 2) of each block of `rows` rows against the rest; the newest block is last."""
    codes = reference.codes[:, reference.watched.index(name)]
    blocks = len(codes) // rows
    if blocks < 2:
        return np.empty((0, 2))
    shaped = codes[len(codes) - blocks * rows :].reshape(blocks, rows)
    shaped = shaped[(shaped != ABSENT).mean(1) >= PRESENT]
    if len(shaped) < 2:
        return np.empty((0, 2))
    binning = reference.binnings[name]
    counts = tally(shaped, ABSENT + 1)[:, : binning.bins]
    return components(counts.sum(0) - counts, counts, binning.ordered)


def widened(null: Null, blocks: np.ndarray) -> Null:
    """Widen a resampled null to what blocks (n, 2) show; it is never narrowed."""
    mean = np.maximum(blocks.mean(0), null.mean)
    spread = blocks.var(0) if len(blocks) > 2 else mean**2
    shape = np.clip(mean**2 / np.maximum(spread, 1e-9), FLOOR, null.shape)
    return Null((float(mean[0]), float(mean[1])), (float(shape[0]), float(shape[1])))


def conformal(blocks: list[list[float]], asked: float) -> tuple[float, float]:
    """Return the lowest threshold whose rate is at most `asked`, else the highest score; and its rate.

    Columns with the same number of blocks are judged by their highest score; the rates of groups add up.
    """
    groups: dict[int, list[list[float]]] = {}
    for scores in blocks:
        groups.setdefault(len(scores), []).append(scores)
    highest = [np.max(np.array(group), axis=0) for group in groups.values()]

    def rate(threshold: float) -> float:
        return float(sum((1 + (top > threshold).sum()) / (len(top) + 1) for top in highest))

    for threshold in sorted(np.concatenate(highest)):
        if rate(threshold) <= asked:
            return float(threshold), rate(threshold)
    most = float(max(top.max() for top in highest))
    return most, min(rate(most), 1.0)
