"""Whether the labels themselves can be believed: how many come, and whether they still tell rows apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monitoring.binning import printable
from monitoring.faults import longest_run
from monitoring.reference import Reference
from monitoring.wording import RATE

WINDOWS = 3  # earlier mature windows without which nobody knows how many labels are usual
SIGMAS = 5.0
TIMES = 2.0  # less than half of what is usual, or more than twice as much
UNLIKELY = 1e-9  # probability that so many labels are all alike where the reference's answers are not


def rate_jump(earlier: Sequence[tuple[int, int]], rows: int, labelled: int) -> str | None:
    """Return the fault of a mature window that has far fewer, or far more, labels than those before it.

    `earlier`: (rows, labelled) of mature windows before it. The share is compared in standard deviations of what
    windows differ by, sampling included.
    """
    known = np.array([one for one in earlier if one[0] > 0], dtype=float).reshape(-1, 2)
    if len(known) < WINDOWS or not rows:
        return None
    usual, now = float(known[:, 1].sum() / known[:, 0].sum()), labelled / rows
    shares = known[:, 1] / known[:, 0]
    least = max(usual * (1 - usual), 1 / known[:, 0].sum())  # a share of 0 or 1 is never exact
    apart = np.sqrt(shares.var(ddof=1) * (1 + 1 / len(shares)) + least / rows)
    if abs(now - usual) <= SIGMAS * apart or usual / TIMES <= now <= usual * TIMES:
        return None
    return f"{RATE} {now:.0%} of {rows} rows, for {usual:.0%} in the {len(shares)} windows before"


def all_alike(reference: Reference, predictions: Sequence[Any], labels: Sequence[Any]) -> str | None:
    """Return the fault of labels that are all one class, where neither the champion's answers here nor before are.

    Classification only; `predictions` are the classes answered on the same rows: a world in which nearly all answers
    are that class may well have such labels.
    """
    binning = reference.binnings.get("prediction")
    if reference.task != "classification" or binning is None or len(set(labels)) != 1:
        return None
    counts: Mapping[str, Any] = dict(zip(binning.levels, reference.counts["prediction"].tolist(), strict=False))
    share = (counts.get(labels[0], 0) + 1) / (float(reference.counts["prediction"].sum()) + 2)
    here = sum(answer == labels[0] for answer in predictions) / len(predictions)
    # labels hold at most so many more of a class than answers do, as answers are wrong
    likely = min(max(share, here) + (float(reference.losses.mean()) if len(reference.losses) else 1.0), 1.0)
    codes = reference.codes_of("prediction")
    if len(labels) * np.log(likely) > np.log(UNLIKELY) or longest_run(codes) * 2 > len(labels):
        return None
    return f"are all {printable(labels[0])!r} in {len(labels)} rows, {share:.0%} in the reference"
