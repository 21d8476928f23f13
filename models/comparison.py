"""What a candidate, the champions and the baselines answered to the same rows, and how to say the difference."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.wording import significant
from models.metrics import BOUNDED, HIGHER_IS_BETTER, per_row, summable, value_of
from models.outputs import Cutoff, Outputs
from models.resampling import TAIL, Interval, paired_interval


@dataclass(frozen=True)
class Sample:
    """Several models' answers to the same N rows, as the parts (N, P) of the project's metric."""

    blocks: np.ndarray  # (N,): rows of one block are not independent
    candidate: np.ndarray
    champion: np.ndarray | None = None
    baseline: np.ndarray | None = None
    unit: str = "entities"  # what a block is, in the plural: entities, days
    others: Mapping[str, np.ndarray] = field(default_factory=dict)  # earlier champions by version, or baselines by name
    about: str = ""  # which rows these are, for people, where that is not plain

    @property
    def rows(self) -> int:
        """Count the rows, N."""
        return len(self.blocks)

    def take(self, which: np.ndarray) -> "Sample":
        """Select rows by a mask, with the candidate's and the champion's answers."""
        champion = None if self.champion is None else self.champion[which]
        return Sample(self.blocks[which], self.candidate[which], champion, unit=self.unit)

    def joined(self, other: "Sample") -> "Sample":
        """Put other rows behind these, with the candidate's and the champion's answers."""
        both = None
        if self.champion is not None and other.champion is not None:
            both = np.concatenate([self.champion, other.champion])
        blocks = np.concatenate([self.blocks, other.blocks])
        return Sample(blocks, np.concatenate([self.candidate, other.candidate]), both, unit=self.unit)

    def named(self, about: str) -> "Sample":
        """Say which rows these are."""
        return dataclasses.replace(self, about=about)


@dataclass(frozen=True)
class Comparison:
    """Everything a gate may look at. Fresh rows are in neither model's training; nor is the anchor."""

    metric: str
    fresh: Sample
    anchor: Sample | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # the candidate's, on the fresh rows
    champion_metrics: Mapping[str, float] = field(default_factory=dict)
    champion: str | None = None  # its version; None: nothing serves yet
    baseline: str = "the trivial baseline"
    latency_ms: float | None = None  # 95th percentile of one row's answer
    size_mb: float | None = None  # of the version's files, in 1,000,000 bytes
    common: Sample | None = None  # the whole anchor, with each champion so far in `others`
    gone: Mapping[str, str] = field(default_factory=dict)  # champions that can't be asked any more, and why
    lists: Sample | None = None  # of users, by `models.lists.RECALL`: the candidate's lists, and the most popular items
    slices: Mapping[str, Sample] = field(default_factory=dict)  # "column=level" -> its fresh and anchor rows
    unasked: str = ""  # why the champion can't be asked about these rows
    incompatible: tuple[str, ...] | None = None  # what the champion accepts and the candidate not; None: no champion
    anchor_version: str | None = None  # a prefix of the hash of the anchor's keys
    judged: int = 0  # candidates that mostly these fresh rows have judged before
    rows: Mapping[str, Any] | None = None  # which fresh rows these are: models.looks.sketch

    @property
    def contested(self) -> bool:
        """Whether something serves that could be kept."""
        return self.fresh.champion is not None or bool(self.unasked)


def sample(
    metric: str,
    truth: np.ndarray,
    blocks: np.ndarray,
    *,
    candidate: np.ndarray,
    champion: np.ndarray | None = None,
    baseline: np.ndarray | None = None,
    levels: Sequence[str] = (),
    champion_levels: Sequence[str] | None = None,
    cutoffs: tuple[Cutoff | None, Cutoff | None] = (None, None),
    others: Mapping[str, Outputs] | None = None,
    known: Sequence[str] = (),
    unit: str = "entities",
) -> Sample:
    """Score the models' answers (N, K) or (N, 1) on the same rows.

    `levels`: the candidate's (and the baseline's) classes; the champion may have learned others. `cutoffs`: what
    decides between the candidate's, and between the champion's, where that is not the likeliest. `known`: classes
    of models asked elsewhere, so that the parts of samples that are joined have the same columns.
    """
    theirs = levels if champion_levels is None else champion_levels
    more = others or {}
    every = tuple(dict.fromkeys([*levels, *theirs, *known, *(level for one in more.values() for level in one.levels)]))

    def parts(values: np.ndarray, have: Sequence[str], cutoff: Cutoff | None = None) -> np.ndarray:
        return per_row(metric, truth, reordered(values, have, every), every, cutoff)

    return Sample(
        blocks=blocks,
        candidate=parts(candidate, levels, cutoffs[0]),
        champion=None if champion is None else parts(champion, theirs, cutoffs[1]),
        baseline=None if baseline is None else parts(baseline, levels),
        unit=unit,
        others={name: parts(one.values, one.levels, one.cutoff) for name, one in more.items()},
    )


def reordered(values: np.ndarray, have: Sequence[str], want: Sequence[str]) -> np.ndarray:
    """Give probabilities (N, K) the columns of `want`; a level that the model lacks has probability 0."""
    if tuple(have) == tuple(want):
        return values
    found = np.zeros((len(values), len(want)))
    found[:, [want.index(level) for level in have]] = values
    return found


def gain(metric: str, rows: Sample, other: np.ndarray, tail: float = TAIL) -> Interval:
    """Bound how much better the candidate's metric is than that of `other` on the same rows, each end at `tail`."""
    sign = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    both = summable(metric, rows.candidate), summable(metric, other)
    return paired_interval(lambda sums: sign * value_of(metric, sums), *both, rows.blocks, tail)


def against(comparison: Comparison) -> str:
    """Name the champion."""
    return f"v{comparison.champion}" if comparison.champion else "the champion"


def shown(found: Interval, metric: str, kind: str, blocks: str) -> str:
    """Write a difference for people: +6.1 points [+4.0, +8.3] on 412 fresh rows in 412 entities."""
    low, middle, high = signed(found, metric)
    unit = " points" if metric in BOUNDED else ""
    unit += "" if metric == "accuracy" else f" of {metric}"
    unit += "" if HIGHER_IS_BETTER[metric] else " (above 0 is better)"
    return f"{middle}{unit} [{low}, {high}] on {found.rows:,} {kind} rows in {found.blocks:,} {blocks}"


def bounded(found: Interval, metric: str) -> str:
    """Write a difference whose unit and rows have been said: +6.1 [+4.0, +8.3]."""
    low, middle, high = signed(found, metric)
    return f"{middle} [{low}, {high}]"


def signed(found: Interval, metric: str) -> tuple[str, ...]:
    """Return the lower bound, the estimate and the upper bound with their signs, in points where there are some."""
    ends = (found.low, found.estimate, found.high)
    said = (f"{end * 100:+.1f}" if metric in BOUNDED else significant(end, sign="+") for end in ends)
    return tuple(one.replace("-", "\N{MINUS SIGN}") for one in said)


def amount(value: float, metric: str) -> str:
    """Write a margin for people, in the metric's unit."""
    return f"{significant(value * 100, 3)} points" if metric in BOUNDED else f"{significant(value, 3)} of {metric}"


def number(value: float) -> str:
    """Write a metric for people."""
    return significant(value)
