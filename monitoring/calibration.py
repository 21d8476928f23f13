"""Thresholds for windows of one size: how high the highest score of all columns goes when nothing changed.

Where rows are exchangeable, unchanged windows are made by resampling rows (all columns of a row together), and
the reference with them, because a finite reference is itself a sample. Elsewhere only the history can say how
much windows differ (monitoring/history.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

import numpy as np

from monitoring.binning import ABSENT
from monitoring.budget import PERFORMANCE, Budget, Rule, incidents, rule_of
from monitoring.declarations import Monitors
from monitoring.detectable import Detectable, detectable
from monitoring.history import from_history
from monitoring.reference import Reference
from monitoring.statistics import SMALL, Null, components, null_of, score, tally

CAP = 1_000  # rows drawn at most: scores of unchanged windows hardly depend on the size beyond it
CHUNK = 250  # windows drawn at once, which bounds memory
DRAWS = (1_000, 4_000)  # least and most windows drawn
PRESENT = 0.9  # share of a block's rows that must have a value


@dataclass(frozen=True)
class Calibration:
    """What a score of a window of `rows` rows means.

    `budget`: false incidents to be expected at `threshold`; `blocks`: windows of history behind it, 0 where rows were
    resampled; `supported` is false where the history shows nothing at all; `blind` are the columns whose history is
    too short for any threshold.
    """

    rows: int
    budget: Budget
    threshold: float
    nulls: Mapping[str, Null]
    detectable: Mapping[str, Detectable]
    blocks: int = 0
    supported: bool = True
    blind: tuple[str, ...] = ()

    def drifted(self, name: str, found: float, size: float) -> bool:
        """Tell whether a column with this score and this effect is unlike its reference."""
        return found > self.threshold and size >= SMALL and name not in self.blind


def bucket(rows: int) -> int:
    """Round a window's size to two digits, so that sizes near each other share a calibration."""
    scale = int(10 ** max(len(str(rows)) - 2, 0))
    return max(round(rows / scale) * scale, 1)


def calibration_for(reference: Reference, rows: int, monitors: Monitors, start: datetime | None = None) -> Calibration:
    """Return the thresholds for a window of about `rows` rows; the same arguments give the same answer.

    `start`: when the window begins, for its hour and its day of the week; None where that is not known.
    """
    return calibrated(reference, rows, rule_of(monitors, reference.rows_a_quarter), start)


def calibrated(reference: Reference, rows: int, rule: Rule, start: datetime | None = None) -> Calibration:  # noqa: ARG001
    """Return the thresholds that follow from a rule, such as a verdict keeps."""
    # blocks keep the exact length, and with it their phase
    return _calibrated(reference, bucket(rows) if reference.exchangeable else rows, rule)


@lru_cache(maxsize=64)
def _calibrated(reference: Reference, rows: int, rule: Rule) -> Calibration:
    asked = (1 - PERFORMANCE) * rule.rate
    rng = np.random.default_rng([reference.seed, rows])
    draws = resampled(reference, rows, asked, rng)
    nulls = {name: null_of(parts) for name, parts in draws.items()}
    scores = np.stack([score(draws[name], null) for name, null in nulls.items()]) if nulls else np.zeros((1, 1))
    threshold = float(np.quantile(scores.max(0), 1 - asked, method="higher"))
    found = Calibration(rows, Budget(rule, rule.asked), threshold, nulls, {})
    if not reference.exchangeable:
        known = from_history(reference, nulls, rows, asked, threshold)
        found = replace(
            found,
            nulls={**nulls, **known.nulls},
            threshold=max(threshold, known.threshold),
            budget=Budget(rule, max(rule.asked, float(incidents(np.array(known.rate), rule))), known.blocks),
            blocks=known.blocks,
            supported=known.supported,
            blind=tuple(name for name in reference.watched if name not in known.nulls),
        )
    return replace(found, detectable=_sizes(reference, found, nulls, rng))


def _sizes(
    reference: Reference, found: Calibration, resampled_: Mapping[str, Null], rng: np.random.Generator
) -> dict[str, Detectable]:
    """Return what each column must change by to be seen; `resampled_` are the nulls before the history widened them."""
    sizes = {}
    for name in reference.watched:
        null = found.nulls[name]
        stretch = max(float(np.max(np.divide(null.mean, resampled_[name].mean))), 1.0)
        seen = detectable(reference, name, rng, null=null, threshold=found.threshold, rows=found.rows, stretch=stretch)
        sizes[name] = replace(seen, size=None) if name in found.blind else seen
    return sizes


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
                window = _with_novelty(tally(codes[windows], binning.bins), binning.value_bins, binning.novel, rng)
                parts[name].append(components(tally(codes[others], binning.bins), window, binning.ordered))
        found.update({name: np.concatenate(chunks) for name, chunks in parts.items()})
    return {name: found[name] for name in reference.watched}


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
