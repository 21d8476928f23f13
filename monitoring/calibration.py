"""Thresholds for windows of one size: how high the highest score of all columns goes when nothing changed.

Where rows are exchangeable, unchanged windows are made by resampling rows (all columns of a row together), and
the reference with them, because a finite reference is itself a sample. Elsewhere only time can say how much
windows differ: every contiguous block of the history is compared with the rest of it, and the smallest rate of
false alarms that so few blocks can show (Vovk 2005, Algorithmic Learning in a Random World) is used and stated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from monitoring.detectable import Detectable, detectable
from monitoring.reference import Reference
from monitoring.statistics import ABSENT, FLOOR, Null, components, null_of, score

CAP = 1_000  # rows drawn at most: scores of unchanged windows hardly depend on the size beyond it
CHUNK = 250  # windows drawn at once, which bounds memory
DRAWS = (1_000, 4_000)  # least and most windows drawn
PRESENT = 0.9  # share of a block's rows that must have a value


@dataclass(frozen=True)
class Calibration:
    """What a score of a window of `rows` rows means.

    `rate`: probability, 0 to 1, that an unchanged window's highest score passes `threshold`; `asked`: the rate
    that was wanted, smaller where the history is too short for it; `blocks`: windows of history behind the
    threshold, 0 where rows were resampled; `supported` is false where the history shows nothing at all.
    """

    rows: int
    asked: float
    rate: float
    threshold: float
    nulls: Mapping[str, Null]
    detectable: Mapping[str, Detectable]
    blocks: int = 0
    supported: bool = True

    @property
    def basis(self) -> str:
        """How the threshold was found, for people."""
        if not self.blocks:
            return f"{self.rate:.2g} false alarms a window"
        if self.rate <= self.asked:
            return f"{self.rate:.2g} false alarms a window, from {self.blocks} windows of history"
        return (
            f"{self.rate:.2g} false alarms a window, the least that {self.blocks} windows of history support "
            f"({self.asked:.2g} was asked)"
        )


def bucket(rows: int) -> int:
    """Round a window's size to two digits, so that sizes near each other share a calibration."""
    scale = int(10 ** max(len(str(rows)) - 2, 0))
    return max(round(rows / scale) * scale, 1)


def calibration_for(reference: Reference, rows: int, false_alarms: float) -> Calibration:
    """Return the thresholds for a window of about `rows` rows; the same arguments give the same answer."""
    return _calibrated(reference, bucket(rows), false_alarms)


@lru_cache(maxsize=64)
def _calibrated(reference: Reference, rows: int, asked: float) -> Calibration:
    rng = np.random.default_rng([reference.seed, rows])
    draws = resampled(reference, rows, asked, rng)
    nulls = {name: null_of(parts) for name, parts in draws.items()}
    scores = np.stack([score(draws[name], null) for name, null in nulls.items()]) if nulls else np.zeros((1, 1))
    threshold = float(np.quantile(scores.max(0), 1 - asked, method="higher"))
    unchanged = Calibration(rows, asked, asked, threshold, nulls, {})
    found = unchanged if reference.exchangeable else from_history(reference, unchanged)
    sizes = {
        name: detectable(
            reference,
            name,
            rng,
            null=found.nulls[name],
            threshold=found.threshold,
            rows=rows,
            stretch=stretch(found, unchanged, name),
        )
        for name in reference.watched
    }
    return replace(found, detectable=sizes)


def stretch(found: Calibration, unchanged: Calibration, name: str) -> float:
    """Return how much more windows of the history differ than resampled ones, at least 1."""
    return max(float(np.max(np.divide(found.nulls[name].mean, unchanged.nulls[name].mean))), 1.0)


def resampled(reference: Reference, rows: int, asked: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the components (draws, 2) of every column for windows drawn from an unchanged world."""
    draws = int(np.clip(20 / asked, *DRAWS))
    groups: dict[bytes, list[int]] = {}
    for index in range(reference.codes.shape[1]):
        groups.setdefault(np.packbits(reference.codes[:, index] != ABSENT).tobytes(), []).append(index)
    found: dict[str, np.ndarray] = {}
    for members in groups.values():
        pool = np.flatnonzero(reference.codes[:, members[0]] != ABSENT)
        columns = np.ascontiguousarray(reference.codes[pool][:, members].T)
        names = [reference.watched[index] for index in members]
        against = min(int(reference.counts[names[0]].sum()), CAP)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for _ in range(0, draws, CHUNK):
            windows = rng.integers(len(pool), size=(CHUNK, min(rows, CAP)))
            others = rng.integers(len(pool), size=(CHUNK, against))
            for name, codes in zip(names, columns, strict=True):
                binning = reference.binnings[name]
                window = _with_novelty(_tally(codes[windows], binning.bins), binning.value_bins, binning.novel, rng)
                parts[name].append(components(_tally(codes[others], binning.bins), window, binning.ordered))
        found.update({name: np.concatenate(chunks) for name, chunks in parts.items()})
    return {name: found[name] for name in reference.watched}


def _tally(codes: np.ndarray, bins: int) -> np.ndarray:
    """Count the bins of each row of codes (windows, rows) -> (windows, bins)."""
    offsets = np.arange(len(codes), dtype=np.int64)[:, None] * bins
    return np.bincount((codes + offsets).ravel(), minlength=len(codes) * bins).reshape(len(codes), bins)


def _with_novelty(counts: np.ndarray, value_bins: int, novel: float, rng: np.random.Generator) -> np.ndarray:
    """Move as many rows to "unseen" as an unchanged world would bring."""
    if not novel:
        return counts
    fresh = rng.binomial(counts.sum(-1), novel)
    source = value_bins - 1  # where the rare levels are
    fresh = np.minimum(fresh, counts[:, source])
    counts[:, source] -= fresh
    counts[:, value_bins] += fresh
    return counts


def from_history(reference: Reference, unchanged: Calibration) -> Calibration:
    """Return the calibration that contiguous blocks of the history support, for windows of the same size.

    Each block is scored against the rest, by what all other blocks say of the column.
    """
    nulls, blocks = dict(unchanged.nulls), []
    for name in reference.watched:
        parts = leave_block_out(reference, name, unchanged.rows)
        if len(parts) < 2:
            continue
        others = [np.delete(parts, block, axis=0) for block in range(len(parts))]
        blocks.append([float(score(p, widened(nulls[name], o))) for p, o in zip(parts, others, strict=True)])
        nulls[name] = widened(nulls[name], parts)
    if len(blocks) < len(reference.watched) or not blocks:
        return replace(unchanged, rate=1.0, blocks=min(map(len, blocks), default=0), supported=False)
    threshold, rate = conformal(blocks, unchanged.asked)
    return replace(
        unchanged, threshold=max(threshold, unchanged.threshold), rate=rate, nulls=nulls, blocks=min(map(len, blocks))
    )


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
    counts = _tally(shaped, ABSENT + 1)[:, : binning.bins]
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
