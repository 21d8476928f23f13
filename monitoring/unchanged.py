"""Windows and references drawn from a world in which nothing changes and rows are exchangeable.

Every draw takes whole rows, so that columns stay as correlated as they are. All windows of a champion are compared
with one reference, which is itself a sample: so references are drawn too, and each is held against many windows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.binning import ABSENT
from monitoring.detectable import Stage
from monitoring.reference import Reference
from monitoring.statistics import Null, components, null_of, score
from monitoring.tails import Tail, tail_of

POOL = 2_000  # rows of the reference that stand for the world
LOTS = 4  # of windows, so that references don't all meet the same ones
REFERENCES = 12  # in each lot
WINDOWS = 800  # in each lot


@dataclass(frozen=True)
class Drawn:
    """Counts of a column's bins, float32: references (LOTS, REFERENCES, 1, bins), windows (LOTS, 1, WINDOWS, bins)."""

    name: str
    references: np.ndarray
    windows: np.ndarray


def drawn(reference: Reference, rows: int, rng: np.random.Generator) -> Iterator[Drawn]:
    """Yield each watched column as it may look in references of its own size, and in windows of `rows` rows.

    Columns with values in the same rows are drawn together. Sizes vary as a Poisson number does.
    """
    for pool, names in _together(reference, rng):
        columns = [reference.watched.index(name) for name in names]
        bins = [reference.binnings[name].bins for name in names]
        rows_in_bins = _one_hot(reference.codes[pool][:, columns], bins)
        against = int(reference.counts[names[0]].sum())
        references = _counted(rows_in_bins, against, LOTS * REFERENCES, rng).reshape(LOTS, REFERENCES, 1, -1)
        windows = _counted(rows_in_bins, rows, LOTS * WINDOWS, rng).reshape(LOTS, 1, WINDOWS, -1)
        ends = np.cumsum([0, *bins])
        for index, name in enumerate(names):
            part = slice(ends[index], ends[index + 1])
            yield Drawn(name, references[..., part], _with_novelty(reference, name, windows[..., part], rng))


def _together(reference: Reference, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield the rows that have a value to compare, a sample where they are many, with the columns that have it."""
    groups: dict[bytes, list[int]] = {}
    for index in range(reference.codes.shape[1]):
        groups.setdefault(np.packbits(reference.codes[:, index] != ABSENT).tobytes(), []).append(index)
    for members in groups.values():
        pool = np.flatnonzero(reference.codes[:, members[0]] != ABSENT)
        some = rng.choice(pool, POOL, replace=False) if len(pool) > POOL else pool
        yield some, [reference.watched[index] for index in members]


def _one_hot(codes: np.ndarray, bins: list[int]) -> np.ndarray:
    """Return float32 (rows, sum of bins): which bins each row is in."""
    found = np.zeros((len(codes), sum(bins)), np.float32)
    for start, column in zip(np.cumsum([0, *bins[:-1]]), codes.T, strict=True):
        found[np.arange(len(codes)), start + column.astype(np.int64)] = 1
    return found


def _counted(rows_in_bins: np.ndarray, rows: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return the bins' counts (samples, bins) in samples of about `rows` rows, with replacement."""
    weights = rng.poisson(rows / len(rows_in_bins), size=(samples, len(rows_in_bins)))
    return np.asarray(weights.astype(np.float32) @ rows_in_bins)


def _with_novelty(reference: Reference, name: str, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move as many rows to "unseen" as an unchanged world would bring."""
    binning = reference.binnings[name]
    if not binning.novel:
        return counts
    source = binning.value_bins - 1  # where the rare levels are
    fresh = np.minimum(rng.binomial(counts.sum(-1).astype(np.int64), binning.novel), counts[..., source])
    moved = counts.copy()
    moved[..., source] -= fresh
    moved[..., binning.value_bins] += fresh
    return moved


@dataclass(frozen=True)
class Plain:
    """What resampling says of windows of one size: each column's null, and the highest scores by reference."""

    nulls: Mapping[str, Null]
    tail: Tail


def plain(reference: Reference, rows: int) -> Plain:
    """Draw windows of `rows` rows from an unchanged world and say how they spread."""
    rng = np.random.default_rng([reference.seed, rows])
    nulls, highest = {}, np.full((LOTS, REFERENCES, WINDOWS), -np.inf)
    for one in drawn(reference, rows, rng):
        ordered = reference.binnings[one.name].ordered
        parts = np.stack([components(one.references[lot], one.windows[lot], ordered) for lot in range(LOTS)])
        nulls[one.name] = null_of(parts.reshape(-1, 2))
        np.maximum(highest, score(parts, nulls[one.name]), out=highest)
    return Plain(nulls, tail_of(highest.reshape(LOTS * REFERENCES, WINDOWS)))


def stages(reference: Reference, rows: int, references: int, windows: int) -> dict[str, Stage]:
    """Return where changes can be tried: each column's windows against references, as an unchanged world makes them."""
    rng = np.random.default_rng([reference.seed, rows, 1])
    found = {}
    for name in reference.watched:
        counts = reference.counts[name]
        shares = counts / counts.sum()
        known = rng.multinomial(int(counts.sum()), shares, size=(references, 1))
        found[name] = Stage(known, rng.multinomial(rows, shares, size=(references, windows)), in_time=False)
    return found
