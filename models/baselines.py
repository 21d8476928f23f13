"""Rules that know nothing of the features: what a model must beat to be worth serving. Needs numpy only."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from models.anomalies import scores
from models.confusions import class_codes


def constant(known: np.ndarray, rows: int, levels: Sequence[str] = ()) -> np.ndarray:
    """Answer every row with the shares of the classes in `known` (the majority wins), or with its mean.

    Returns:
        (rows, K) probabilities, or (rows, 1) numbers.
    """
    if not levels:
        return np.full((rows, 1), float(known.astype(float).mean()) if len(known) else 0.0)
    counts = np.bincount(class_codes(known, levels), minlength=len(levels) + 1)[: len(levels)] + 1.0
    return np.tile(counts / counts.sum(), (rows, 1))


def repeated(past: np.ndarray, steps: int, season: int = 1) -> np.ndarray:
    """Forecast by repeating the last season of windows (N, T, C): (N, steps * C); a season of 1 repeats the last step.

    A channel's gaps are taken for its last known step of the window, and for 0 where there is none.
    """
    filled = past.copy()
    for step in range(1, past.shape[1]):
        hole = np.isnan(filled[:, step])
        filled[:, step][hole] = filled[:, step - 1][hole]
    last = np.nan_to_num(filled[:, -season:])
    turns = -(-steps // last.shape[1])
    return np.asarray(np.tile(last, (1, turns, 1))[:, :steps].reshape(len(past), -1))


def flat(windows: np.ndarray, units: np.ndarray, newest: int | None = None) -> np.ndarray:
    """Score windows (N, T, C) by how far they are from flat, each channel at its own mean: (N, 2) as of anomalies.

    `units`: (C,), of the error; `newest`: the steps whose error counts; a gap counts for nothing.
    """
    known = ~np.isnan(windows)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    left = np.where(known, (windows - np.nansum(windows, axis=1, keepdims=True) / count) / units, 0.0)
    left, known = (part[:, -(newest or windows.shape[1]) :] for part in (left, known))
    error = np.sqrt((left**2).sum(axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1))
    return scores(error)


def last_arrived(
    times: np.ndarray, known: np.ndarray, at: np.ndarray, delay: timedelta, levels: Sequence[str] = ()
) -> np.ndarray:
    """Answer the row at each time of `at` (M,) with the newest label that had arrived by then.

    A class is given the probability with which this rule was right on the labels that had arrived. Before the
    first label every class is as likely, and a number is 0.

    Args:
        times: (N,) datetime64, when each known row's fact happened; the rows answered may be among them.
        known: (N,) their labels.
        at: (M,) datetime64.
        delay: how long after its time a label arrives; a row never sees its own label.
        levels: the K classes; none for a number.

    Returns:
        (M, K) probabilities, or (M, 1) numbers.
    """
    order = np.argsort(times, kind="stable")
    times, known = times[order], known[order]
    arrived = arrived_by(times, at, delay)
    if not levels:
        return np.asarray(np.r_[0.0, known.astype(float)][arrived][:, None])
    nothing = len(levels)  # the code of "no label yet", and of a class the model doesn't know
    codes = np.r_[nothing, class_codes(known, levels)]
    right = codes[arrived_by(times, times, delay)] == codes[1:]
    share = (np.r_[0, np.cumsum(right)][arrived] + 1) / (arrived + 2)
    sure = np.maximum(share, 1 / len(levels) + 1e-6)[:, None]  # so that the last label stays the answer
    values = np.broadcast_to((1 - sure) / max(len(levels) - 1, 1), (len(at), len(levels))).copy()
    last = codes[arrived]
    values[np.arange(len(at)), np.minimum(last, nothing - 1)] = sure[:, 0]
    values[last == nothing] = 1 / len(levels)
    return values


def arrived_by(times: np.ndarray, at: np.ndarray, delay: timedelta) -> np.ndarray:
    """Count how many of the sorted `times` have a label that has arrived by each time of `at`: (M,)."""
    found: np.ndarray = np.searchsorted(times, at - np.timedelta64(delay), side="right" if delay else "left")
    return found
