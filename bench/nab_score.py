"""How well a detector finds the labelled windows of the Numenta Anomaly Benchmark, early and without false alarms.

Written from the paper: Lavin & Ahmad 2015, Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly
Benchmark, arXiv:1510.03336, section II. The first alarm in a window earns more the earlier it comes; an alarm outside
costs more the longer ago the last window ended; a window without an alarm costs 1. The share of 0.15 at the start of
a file, 750 rows at most, is not scored; one threshold is chosen for all files, the best one. A detector without any
alarm has 0 and a perfect one 100.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HIT, FALSE, MISSED = 1.0, 0.11, 1.0  # the weights of the standard profile
PROBATION, MOST_PROBATION = 0.15, 750  # share of a file's rows, and rows
STEEP, FAR = 5.0, 3.0  # of the sigmoid; windows after which an alarm is as false as can be


@dataclass(frozen=True)
class Stream:
    """A file as it is scored: each row's anomaly score (N,), and the first and last row of each window (W, 2)."""

    scores: np.ndarray
    windows: np.ndarray


def probation(rows: int) -> int:
    """Return how many rows at the start of a file are not scored."""
    return min(int(PROBATION * rows), MOST_PROBATION)


def sigmoid(place: np.ndarray) -> np.ndarray:
    """Return what an alarm is worth, 1 to -1, from its place in window lengths: -1 at the left end, 0 at the right."""
    return np.asarray(np.where(place > FAR, -1.0, 2 / (1 + np.exp(STEEP * np.minimum(place, FAR))) - 1))


def steps(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (M,) of the rows after the probation, high to low, and what each adds to the file's sum."""
    rows, first = len(stream.scores), probation(len(stream.scores))
    adds = np.full(rows, -FALSE)
    order = np.argsort(-stream.scores, kind="stable")
    last = np.iinfo(np.int64).max
    for left, right in stream.windows[::-1]:
        after = np.arange(right + 1, min(rows, last))
        adds[after] = FALSE * sigmoid((after - right) / max(right - left, 1))
        last = left
    for left, right in stream.windows:
        inside = order[(order >= max(left, first)) & (order <= right)]
        place = np.minimum.accumulate(inside)  # of the first alarm, as the threshold sinks
        worth = HIT * sigmoid(-(right - place + 1) / (right - left + 1)) / sigmoid(np.array(-1.0))
        adds[inside] = np.diff(np.r_[-MISSED, worth])
    order = order[order >= first]
    return stream.scores[order], adds[order]


def score(streams: Sequence[Stream], threshold: float | None = None) -> tuple[float, float]:
    """Return the normalised score of all streams, 100 at most, and the threshold: the best one unless it is given.

    A row alarms where its score is at least the threshold.
    """
    parts = [steps(stream) for stream in streams]
    scores, adds = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
    order = np.argsort(-scores, kind="stable")
    scores, sums = scores[order], np.cumsum(adds[order])
    windows = sum(len(stream.windows) for stream in streams)
    ends = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True])  # equal scores alarm together
    if threshold is not None:
        ends = ends[scores[ends] >= threshold][-1:]
    if not len(ends) or (threshold is None and sums[ends].max() <= 0):
        return 0.0, np.inf if threshold is None else threshold
    best = int(ends[np.argmax(sums[ends])])
    return 100 * float(sums[best]) / (windows * (HIT + MISSED)), float(scores[best])
