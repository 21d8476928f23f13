"""How good a window's answers are, estimated before any label has come, with how far such estimates were off.

It sees that rows have become harder, as far as confidence or columns show it. It can't see that rows which look the
same have other truths now (concept drift), and says so.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from data.schema import Rows
from data.wording import significant
from models.metrics import BOUNDED, CONFUSED, RANKED, value_of
from monitoring.answers import Answers
from monitoring.expected import FOLDS, confidences_of, expectation, out_of_fold
from monitoring.held_out import HeldOut, codes_of

LEAST = 50  # held-out rows
PAST = 30  # mature windows that say how far estimates were off
ENOUGH_PAST = 8
TAIL = 0.05  # beyond each end
CERTAIN = 0.01  # variance under which no share's error is taken to fall
LOOKED_AT = 100_000  # rows of a window, evenly spread, where each costs more than its confidence: chance adds 0.3 %
CHUNK = 10_000  # rows whose parts are in memory at once
BLIND = "it can't see concept drift: it takes rows that look the same to have the same truths as before"


@dataclass(frozen=True)
class Estimate:
    """A metric without labels. Nine of ten estimates were off by `past_error` at most, in the metric's unit.

    `low` and `high` are so far away; all four are None where nothing can be said. `rows` are those it speaks of.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    past_error: float | None
    rows: int
    basis: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as a verdict's detail keeps them."""
        return asdict(self)


def none(metric: str, why: str) -> Estimate:
    """Return the estimate that can't be made."""
    return Estimate(metric, None, None, None, None, 0, "", f"no estimate of {metric} without labels: {why}")


def estimate(
    held: HeldOut | None,
    metric: str,
    observed: Rows,
    answers: Answers,
    past: Sequence[tuple[float, float]] = (),
) -> Estimate:
    """Estimate a metric of a window's answers.

    Args:
        held: rows held out from the champion; None where the reference keeps none.
        metric: one of the task's but `r2`.
        observed: the window's watched columns, in the answers' order.
        answers: labelled or not; what people said of them is not looked at.
        past: (estimated, realised) of earlier windows of this champion.
    """
    if held is None or len(held) < LEAST:
        return none(metric, f"{0 if held is None else len(held)} held-out rows, {LEAST} are needed")
    if not len(answers):
        return none(metric, "the window has no rows")
    if metric in RANKED:
        return none(metric, "it follows from how rows rank among each other, not from each row")
    apart_by = 1 if by_confidence(held, metric) else -(-len(answers) // LOOKED_AT)
    answers = answers.take(slice(None, None, apart_by))
    whole = {name: values for name, values in observed.items() if isinstance(values, np.ndarray) and values.ndim}
    observed = {name: values[::apart_by] for name, values in whole.items()}
    sums, rows = expected_sums(held, metric, observed, answers)
    if not rows:
        return none(metric, "no answer came with a confidence")
    value = score(metric, sums)
    error, basis = past_error(held, metric, value, rows, past)
    if not np.isfinite([value, error]).all():
        return none(metric, "the held-out rows leave it undefined")
    low, high = max(value - error, 0.0), min(value + error, 1.0) if metric in BOUNDED else value + error
    said = f"estimated {metric} {worded(metric, value)} ± {apart(metric, error)} without labels, by {basis}"
    left = len(answers) - rows
    said += f"; {left} rows without a confidence left out" if left else ""
    return Estimate(metric, value, low, high, error, rows, basis, f"{said}; {BLIND}")


def by_confidence(held: HeldOut, metric: str) -> bool:
    """Tell whether a metric follows from each answer's confidence, without the other classes' probabilities."""
    return bool(held.levels) and metric == "accuracy"


def expected_sums(held: HeldOut, metric: str, observed: Rows, answers: Answers) -> tuple[np.ndarray, int]:
    """Return the summed parts that are expected of the answers that have a confidence, and how many have one."""
    if by_confidence(held, metric):
        known = {level: code for code, level in enumerate(held.levels)}
        sure = np.asarray(observed["confidence"], dtype=float)
        usable = np.isfinite(sure)
        classes = np.array([known.get(one, -1) for one in observed["prediction"].tolist()])
        right = confidences_of(held).right(classes[usable], sure[usable])
        return np.array([right.sum(), float(usable.sum())]), int(usable.sum())
    parts, total, rows = expectation(held, metric), np.zeros(0), 0
    codes = codes_of(held.binnings, observed, len(answers))
    for start in range(0, len(answers), CHUNK):
        values, levels = answers.take(slice(start, start + CHUNK)).values
        if held.levels:
            where = [levels.index(level) if level in levels else -1 for level in held.levels]
            values = np.column_stack([values, np.full(len(values), np.nan)])[:, where]
        usable = np.isfinite(values).all(axis=1)
        found = parts(values[usable], codes[start : start + CHUNK][usable]).sum(axis=0)
        total, rows = (found if not rows else total + found), rows + int(usable.sum())
    return total, rows


def score(metric: str, sums: np.ndarray) -> float:
    """Return a metric from sums of expected parts; a class that is expected in less than half a row does not occur."""
    if metric in CONFUSED:
        hits, answered, true = np.split(sums, 3)
        occurs = answered + true >= 0.5
        sums = np.concatenate([hits * occurs, answered * occurs, true * occurs])
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(value_of(metric, sums))


def past_error(
    held: HeldOut, metric: str, value: float, rows: int, past: Sequence[tuple[float, float]]
) -> tuple[float, str]:
    """Return how far nine of ten estimates of such a value were off, and which: past windows', else held-out rows'.

    The errors' root mean square about zero, times Student's quantile: a bias counts as an error too, and so does
    what chance does to a realised value at the window's size. Each error is taken in units of `spread`.
    """
    past = past[-PAST:]
    if len(past) >= ENOUGH_PAST:
        pairs, freedom, basis = past, len(past), f"the error of {len(past)} past estimates"
    else:
        pairs, freedom = cross_validated(held, metric, rows), FOLDS
        basis = f"the error on {len(held):,} held-out rows"
    errors = np.array([(before - after) / spread(metric, before) for before, after in pairs])
    return _nine_of_ten(errors, freedom) * spread(metric, value), basis


def spread(metric: str, value: float) -> float:
    """Return what errors of an estimate grow with: a share's binomial deviation, an error's own size."""
    if metric in BOUNDED:
        return float(np.sqrt(max(value * (1 - value), CERTAIN)))
    return 1.0 if metric == "log_loss" else max(value, float(np.finfo(float).tiny))


def cross_validated(held: HeldOut, metric: str, rows: int) -> list[tuple[float, float]]:
    """Return (estimated, realised) of held-out pieces of a window's size, or of a fifth where that is smaller."""
    pairs = []
    for expected, realised in out_of_fold(held, metric):
        size = min(rows, len(expected))
        for start in range(0, len(expected) - size + 1, size):
            piece = slice(start, start + size)
            pairs.append((score(metric, expected[piece].sum(axis=0)), score(metric, realised[piece].sum(axis=0))))
    return pairs


def _nine_of_ten(errors: np.ndarray, freedom: int) -> float:
    from scipy.stats import t

    return float(np.sqrt((errors**2).mean()) * t.isf(TAIL, freedom))


def worded(metric: str, value: float) -> str:
    """Write a metric's value for people."""
    return f"{value:.1%}" if metric in BOUNDED else significant(value, 3)


def apart(metric: str, size: float) -> str:
    """Write how far two values of a metric are apart, for people."""
    return f"{100 * size:.1f} points" if metric in BOUNDED else significant(size, 3)
