"""From past windows to a threshold: nulls as wide as they show, and the incidents they would have opened."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitoring.budget import Rule, data_share
from monitoring.detectable import Stage
from monitoring.episodes import Episodes
from monitoring.history import Blocks, blocks, compared
from monitoring.reference import Reference
from monitoring.statistics import FLOOR, Null, score, standardised
from monitoring.unchanged import Plain

ODD = 2.0  # times the typical column's highest score: such a column has had its own upheaval
RECENT = 60  # past windows that changes are put into
ENOUGH = 8  # past windows, from which on they can contradict that rows are exchangeable
UNLIKELY = 1e-4


@dataclass(frozen=True)
class Past:
    """What past windows say. `supported`: false incidents a quarter that the threshold stands for."""

    nulls: Mapping[str, Null]
    threshold: float
    supported: float
    blocks: int
    blind: tuple[str, ...]
    period: str | None
    stages: Mapping[str, Stage]


def look(reference: Reference, plain: Plain, cut: Blocks, rows: int, rule: Rule) -> Past | None:
    """Return what past windows (`cut`) of this size say under the rule; None where there are fewer than two."""
    longest = max((int(here.sum()) for here in cut.present.values()), default=0)
    if longest < 2:
        return None
    typical = {name: np.asarray(null.mean) for name, null in plain.nulls.items()}
    found = compared(reference, cut, typical, gap=rule.n if longest >= 4 * rule.n else 1)
    parts = {name: _as_large(found.parts[name], cut.counts[name], rows, typical[name]) for name in reference.watched}
    here = {name: cut.present[name] for name in reference.watched if 2 * cut.present[name].sum() >= longest}
    here = {name: which for name, which in here.items() if which.sum() >= 2}
    scores = {name: _jackknifed(plain.nulls[name], parts[name][which]) for name, which in here.items()}
    odd = _odd({name: found for name, found in scores.items() if parts[name].any()})
    threshold, supported = _threshold(scores, here, odd, rule)
    nulls = dict(plain.nulls)
    for name, which in here.items():
        nulls[name] = widened(plain.nulls[name], parts[name][which])
        if name in odd:
            nulls[name] = _below(nulls[name], parts[name][which], threshold)
    stages = {
        name: Stage(found.others[name][-RECENT:], cut.counts[name][-RECENT:], in_time=True)
        for name in reference.watched
    }
    blind = tuple(name for name in reference.watched if name not in here)
    return Past(nulls, threshold, supported, longest, blind, found.period, stages)


def contradicts(reference: Reference, plain: Plain, rows: int) -> bool:
    """Tell whether past windows alarm more often, at a level that one resampled window in ten passes, than chance."""
    from scipy.stats import binom

    kept = max(round(rows * min(len(reference.codes) / max(reference.rows, 1), 1.0)), 1)
    cut = blocks(reference, kept, Rule(1.0, 1.0, 1, 1), None)
    if len(cut.numbers) < ENOUGH or kept < rows / 2:
        return False
    typical = {name: np.asarray(null.mean) for name, null in plain.nulls.items()}
    found = compared(reference, cut, typical, gap=1)
    highest = np.full(len(cut.numbers), -np.inf)
    for name, parts in found.parts.items():
        which = cut.present[name]
        highest[which] = np.maximum(highest[which], score(parts[which], plain.nulls[name]))
    level = float(np.quantile(plain.tail.scores, 0.9))
    return bool(binom.sf((highest > level).sum() - 1, len(highest), 0.1) < UNLIKELY)


def _as_large(parts: np.ndarray, counts: np.ndarray, rows: int, typical: np.ndarray) -> np.ndarray:
    """Return components as windows of `rows` rows have them: what goes beyond chance grows with the rows."""
    ratio = np.maximum(rows / np.maximum(counts.sum(1), 1), 1)[:, None]
    return np.asarray(parts + np.maximum(parts - typical, 0) * (ratio - 1))


def _jackknifed(null: Null, parts: np.ndarray) -> np.ndarray:
    """Score each past window (blocks,) by what all others say of the column."""
    many = len(parts)
    mean = (parts.sum(0) - parts) / (many - 1)
    spread = np.maximum(((parts**2).sum(0) - parts**2) / (many - 1) - mean**2, 0)
    return standardised(parts, *_wide(null, mean, spread, many - 1))


def _wide(null: Null, mean: np.ndarray, spread: np.ndarray, many: int) -> tuple[np.ndarray, np.ndarray]:
    mean = np.maximum(mean, null.mean)
    spread = spread if many > 2 else mean**2
    return mean, np.clip(mean**2 / np.maximum(spread, 1e-9), FLOOR, null.shape)


def widened(null: Null, parts: np.ndarray) -> Null:
    """Widen a resampled null to what past windows (blocks, 2) show; it is never narrowed."""
    mean, shape = _wide(null, parts.mean(0), parts.var(0), len(parts))
    return Null((float(mean[0]), float(mean[1])), (float(shape[0]), float(shape[1])))


def _odd(scores: Mapping[str, np.ndarray]) -> set[str]:
    """Return the columns with an upheaval of their own, which would raise the threshold for all."""
    tops = {name: float(found.max()) for name, found in scores.items()}
    typical = float(np.median(list(tops.values()))) if tops else 0.0
    return {name for name, top in tops.items() if top > ODD * max(typical, 1.0)}


def _below(null: Null, parts: np.ndarray, threshold: float) -> Null:
    """Widen a null until no past window's score is above the threshold."""
    while score(parts, null).max() > max(threshold, 0.0):  # a wide enough null brings any score below 0
        null = Null((null.mean[0] * 1.1, null.mean[1] * 1.1), null.shape)
    return null


def _threshold(
    scores: Mapping[str, np.ndarray], here: Mapping[str, np.ndarray], odd: set[str], rule: Rule
) -> tuple[float, float]:
    """Return the threshold, and the false incidents a quarter that it stands for.

    Columns with the same past windows are judged by their highest score; what groups of columns open adds up.
    """
    groups: dict[bytes, list[str]] = {}
    for name in scores:
        if name not in odd:
            groups.setdefault(here[name].tobytes(), []).append(name)
    share = data_share(rule)
    threshold, total = 0.0, 0.0
    for names in groups.values():
        highest = np.max([scores[name] for name in names], axis=0)
        episodes = Episodes(highest, rule.k, rule.n)
        level, stated = episodes.threshold(share * rule.asked * len(names) / sum(map(len, groups.values())), rule)
        threshold, total = max(threshold, level), total + stated
    return threshold, max(rule.asked, total / share)
