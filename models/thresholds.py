"""From which probability on the level that is looked for is answered: chosen on validation rows, never on judge rows.

Few rows can't promise a share exactly, so each floor is held with one imagined row that speaks against it: the recall
that is then expected of new rows is at least what was asked (Angelopoulos, Bates, Fisch, Lei & Schuster 2022, Conformal
Risk Control, arXiv:2208.02814). Costs decide by what the validation rows would have cost; were the probabilities
exact, that were false_alarm / (false_alarm + missed) (Elkan 2001, The Foundations of Cost-Sensitive Learning). Needs
numpy only.
"""

import numpy as np

from data.errors import BadDeclaration, TooFewRows
from data.wording import significant
from models.declarations import Threshold
from models.outputs import Cutoff, Outputs


def choose(threshold: Threshold, outputs: Outputs, truth: np.ndarray) -> Cutoff:
    """Return the cutoff that the declared threshold asks for, from answers to N validation rows and their truth (N,).

    Raises: BadDeclaration, for a level that is not one of two, or a precision that no cutoff reaches; TooFewRows.
    """
    if len(outputs.levels) != 2 or threshold.level not in outputs.levels:
        raise BadDeclaration(f"{threshold} needs a target of two levels, one of them {threshold.level!r}")
    scores = outputs.values[:, outputs.levels.index(threshold.level)]
    belongs = truth.astype(str) == threshold.level
    if threshold.false_alarms is not None:
        return Cutoff(threshold.level, alarming(scores[~belongs], threshold.false_alarms))
    for what, rows in ((f"with {threshold.level!r}", belongs), ("with the other level", ~belongs)):
        if not rows.any():
            raise TooFewRows(f"validation rows {what}, to choose a threshold", 0, 1)
    if threshold.recall is not None:
        at = recalling(scores[belongs], threshold.recall)
    elif threshold.precision is not None:
        at = precise(scores, belongs, threshold.precision)
    else:
        at = cheapest(scores, belongs, *threshold.costs)
    return Cutoff(threshold.level, at)


def alarming(outside: np.ndarray, share: float) -> float:
    """Return the lowest cutoff that no more than this share of rows of the other level are expected to reach.

    `outside`: scores (M,) of such rows; with the imagined one that alarms, k of M + 1 may. Where labels are missing
    they are taken for such rows, which only raises the cutoff.

    Raises: TooFewRows.
    """
    rows = len(outside)
    alarms = int(np.floor((rows + 1) * share + 1e-9)) - 1
    if alarms < 0:
        needed = int(np.ceil(1 / share - 1e-9)) - 1
        raise TooFewRows(f"validation rows, to hold {significant(share)} of false alarms", rows, needed)
    return float(min(np.nextafter(np.sort(outside)[rows - 1 - alarms], 2.0), 1.0))


def recalling(inside: np.ndarray, floor: float) -> float:
    """Return the highest cutoff under which no more than 1 - floor of the level's rows are expected to be missed.

    `inside`: scores (M,) of the level's own rows; with the imagined one that is missed, k of M + 1 may be.

    Raises: TooFewRows.
    """
    rows = len(inside)
    missed = int(np.floor((rows + 1) * (1 - floor) + 1e-9)) - 1
    if missed < 0:
        needed = int(np.ceil(1 / (1 - floor) - 1e-9)) - 1
        raise TooFewRows(f"validation rows of the level, to hold a recall of {significant(floor)}", rows, needed)
    return float(np.sort(inside)[missed])


def precise(scores: np.ndarray, belongs: np.ndarray, floor: float) -> float:
    """Return the cutoff that finds the most rows of the level while the answers keep the precision.

    Raises: BadDeclaration, none does.
    """
    levels, found, false = counted(scores, belongs)
    precision = found / (found + false + 1)  # one imagined false alarm more
    fits = precision >= floor
    if not fits.any():
        best = significant(float(precision.max()))
        raise BadDeclaration(
            f"no threshold holds a precision of {significant(floor)} on {len(scores)} validation rows: the most is "
            f"{best}; ask for less, or bring more rows"
        )
    best_at = int(np.flatnonzero(fits & (found == found[fits].max()))[0])  # of equal finds, the surest answers
    return float(levels[best_at])


def cheapest(scores: np.ndarray, belongs: np.ndarray, missed: float, false_alarm: float) -> float:
    """Return the cutoff under which the validation rows cost least; of equal ones the middle of the range."""
    levels, found, false = counted(scores, belongs)
    ends = np.r_[np.nextafter(1.0, 2.0), levels]  # the first: nothing is answered with the level
    cost = missed * (belongs.sum() - np.r_[0, found]) + false_alarm * np.r_[0, false]
    best = np.flatnonzero(cost == cost.min())
    first, last = int(best[0]), int(best[-1])
    below = ends[last + 1] if last + 1 < len(ends) else 0.0  # down to the next score nothing changes
    return float(min((min(ends[first], 1.0) + below) / 2 if first == last else ends[last], 1.0))


def counted(scores: np.ndarray, belongs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each distinct score from high to low, and how many rows score so high or higher: of the level, and not."""
    levels, which = np.unique(-scores, return_inverse=True)
    inside = np.bincount(which, weights=belongs, minlength=len(levels))
    outside = np.bincount(which, weights=~belongs, minlength=len(levels))
    return -levels, np.cumsum(inside), np.cumsum(outside)
