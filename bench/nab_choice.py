"""What a detector of the Numenta Anomaly Benchmark scores on files that neither its setting nor its threshold has seen.

The benchmark chooses one threshold on the very files that it scores, and whoever tunes a detector on them does the same
with its settings. Here the files are dealt into two halves; setting and threshold are the best ones of one half and are
scored on the other, both ways. The sum over all files is normalised as ever, so it compares with the usual number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.nab_score import Stream, score

Candidates = Mapping[str, Sequence[Stream]]  # by setting, what it says of each file, in the same order


@dataclass(frozen=True)
class Choice:
    """A setting with its best threshold, and what they score together on the files that chose them."""

    setting: str
    threshold: float
    reached: float


def halves(names: Sequence[str], seed: int | None = None) -> tuple[list[int], list[int]]:
    """Deal files, named category/file, into two halves, of each category alternately; return their positions.

    In the order of their names, or in one that is drawn within each category by a seed.
    """
    places = sorted(range(len(names)), key=names.__getitem__)
    if seed is not None:
        places = np.random.default_rng(seed).permutation(places).tolist()
    places.sort(key=lambda at: names[at].split("/")[0])
    return places[::2], places[1::2]


def chosen(candidates: Candidates, files: Sequence[int]) -> Choice:
    """Return the setting and the threshold that score highest on some files; of equal ones the first."""
    tried = {name: score([streams[at] for at in files]) for name, streams in candidates.items()}
    best = max(tried, key=lambda name: tried[name][0])
    return Choice(best, tried[best][1], tried[best][0])


def crossed(candidates: Candidates, dealt: tuple[list[int], list[int]]) -> tuple[float, list[Choice]]:
    """Return the score over the files of both halves, each by what the other one chose, and the two choices."""
    choices = [chosen(candidates, half) for half in dealt]
    asked = []
    for choice, other in zip(choices, dealt[::-1], strict=True):
        streams = [candidates[choice.setting][at] for at in other]
        asked += [Stream(one.scores - choice.threshold, one.windows) for one in streams]  # alarms at 0, exactly
    return score(asked, threshold=0.0)[0], choices
