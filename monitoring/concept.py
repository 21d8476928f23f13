"""The River door: whether errors have risen over a generation's life, by a detector that forgets what is over.

ADWIN (Bifet & Gavaldà 2007, Learning from Time-Changing Data with Adaptive Windowing) keeps as many of the newest
losses as look alike and drops what came before a change, so it sees a slow decline that no single window shows.
"""

from dataclasses import dataclass

import numpy as np

from monitoring.budget import RISE, Rule
from monitoring.statistics import SMALL

LONGEST = 20_000  # newest losses looked at
DELTA = 0.002  # at most: Bifet & Gavaldà's own
PER = 10_000  # losses in which a cut comes with a probability of about delta: measured, 0.02 to 0.1 of bounded losses


@dataclass(frozen=True)
class Rise:
    """A rise of the mean loss. `since`: rows of the stream's end that belong to the new level."""

    since: int
    before: float
    after: float
    detector: str = "ADWIN"


def rise(held_out: np.ndarray, losses: np.ndarray, delta: float) -> Rise | None:
    """Return the newest rise of the mean loss in a stream (N,), oldest first, that follows held-out losses (M,).

    `delta`: ADWIN's confidence, the probability of a cut where nothing changed. A fall is none, nor is a rise that
    is smaller than a small effect, nor one that has gone by the stream's end.
    """
    from river.drift import ADWIN

    stream = np.concatenate([held_out, losses])[-LONGEST:]
    fresh, highest = min(len(losses), len(stream)), float(np.abs(stream).max(initial=0.0))
    if not fresh or highest == 0.0:
        return None
    detector, cut = ADWIN(delta=delta), False
    for at, loss in enumerate((stream / highest).tolist()):
        detector.update(loss)
        cut = cut or (detector.drift_detected and at >= len(stream) - fresh)
    if not cut:
        return None
    start = split(stream)
    before, after = float(stream[:start].mean()), float(stream[start:].mean())
    if start < len(stream) - fresh or after - before < SMALL * float(stream.std()):
        return None
    return Rise(len(stream) - start, before, after)


def delta_for(rule: Rule, rows: int) -> float:
    """Return ADWIN's confidence that keeps to its share of the budget where windows have `rows` labelled rows."""
    return float(min(DELTA, RISE * rule.asked * PER / max(rule.windows * rows, PER)))


def split(stream: np.ndarray) -> int:
    """Return where two levels of a stream (N,), N at least 2, part most clearly (Page 1955's cumulative sum)."""
    rows = np.arange(1, len(stream))
    sums = np.cumsum(stream)[:-1]
    apart = (sums / rows - (stream.sum() - sums) / (len(stream) - rows)) ** 2
    return int(rows[np.argmax(apart * rows * (len(stream) - rows))])
