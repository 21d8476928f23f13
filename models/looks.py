"""How often the rows that judge have judged before, and how much surer a candidate must then be. Needs numpy only.

Each candidate that meets the same rows is another chance for one that is no better to look so (Dwork et al. 2015, The
Reusable Holdout, arXiv:1506.02629). Where the rows have judged k - 1 others, the tail is 5 % times 2 / (k (k + 1)), and
at least 0.1 %: the tails of the first 19 together come to 10 %, so of that many candidates as good as the champion, one
comes through with at most that probability (Bonferroni over a series, as Foster and Stine 2008 spend their alpha); each
one after them adds 0.1 points. Rows that are mostly new start again at 5 %.

Which rows judged is kept as the least hashes of their keys: whether a row of ours with a hash below their largest
stands among them tells whether it judged then, and those rows are a random sample of ours (Broder 1997).
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from models.resampling import TAIL

KEPT = 128  # hashes; they tell a share to 4 points
MOSTLY = 0.5  # share of the rows from which on they count as the same
SMALLEST = 0.001  # tail; the resampling knows no smaller one
DIGITS = 12  # hexadecimal, of a hash


def sketch(keys: np.ndarray) -> dict[str, Any]:
    """Return which rows judge, in a few hundred bytes: their number, and the least hashes of their keys."""
    hashes = np.sort(hashed(keys))
    return {"rows": len(hashes), "least": hashes[:KEPT].tolist()}


def hashed(keys: np.ndarray) -> np.ndarray:
    """Return a hash of each distinct key, as text of one length, whose order is as good as random."""
    distinct = set(keys.astype(str).tolist())
    return np.array([hashlib.sha256(key.encode()).hexdigest()[:DIGITS] for key in distinct], dtype=str)


def shared(ours: np.ndarray, before: Mapping[str, Any]) -> float:
    """Estimate the share of rows with these hashes, 0 to 1, that were among those of an earlier sketch."""
    least = np.array(before["least"], dtype=str)
    if not len(ours) or not len(least):
        return 0.0
    whole = before["rows"] <= len(least)
    comparable = ours if whole else ours[ours <= least[-1]]
    return float(np.isin(comparable, least).mean()) if len(comparable) else 0.0


def looks(keys: np.ndarray, earlier: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Count the candidates that mostly these rows have judged. `earlier`: each candidate's name, and its sketch."""
    ours = hashed(keys)
    return len({name for name, before in earlier if shared(ours, before) >= MOSTLY})


def tail(before: int) -> float:
    """Return the tail at which a candidate is judged by rows that have judged so many others before it."""
    return max(SMALLEST, 2 * TAIL / ((before + 1) * (before + 2)))
