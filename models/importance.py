"""What a metric loses when a column no longer says anything of its row: permutation importance.

Breiman 2001, Random Forests; Fisher, Rudin & Dominici 2019, All models are wrong, but many are useful. Columns that
say the same share what they are worth, so a low value is no proof that a column does not matter.
"""

import logging
import time

import numpy as np

from data.schema import Rows, length, take
from models import metrics
from models.predictor import CHUNK, Predictor, take_slice

ROWS = 2000
REPEATS = 3
SECONDS = 10.0  # after which the columns left over get none
logger = logging.getLogger(__name__)


def importance(predictor: Predictor, rows: Rows, metric: str, *, seed: int) -> dict[str, float]:
    """Return what `metric` loses, in its own unit, with each column of labelled rows shuffled among them.

    A negative loss is chance, and said to be none. What describes a picture has the importance of the whole picture.
    At most 2,000 rows are looked at and 10 seconds spent; a column left over, or without a finite value, is missing.
    """
    started, rng = time.monotonic(), np.random.default_rng(seed)
    if length(rows) > ROWS:
        rows = take(rows, np.sort(rng.choice(length(rows), ROWS, replace=False)))
    truth, known = rows[predictor.schema.target], predictor.encoder.derive(rows)
    sign = 1.0 if metrics.DIRECTIONS[metric] else -1.0
    whole, found = value(predictor, known, truth, metric), dict[str, float]()
    for name in predictor.encoder.columns:
        if time.monotonic() - started > SECONDS:
            logger.warning("the importance of %s and the columns after it was not measured: too slow", name)
            break
        shuffled = [
            value(predictor, {**known, name: known[name][rng.permutation(length(known))]}, truth, metric)
            for _ in range(REPEATS)
        ]
        lost = sign * (whole - float(np.mean(shuffled)))
        if np.isfinite(lost):
            parts = [part for part in predictor.encoder.described if part == name or part.startswith(f"{name}.")]
            found |= dict.fromkeys(parts, max(round(lost, 9), 0.0))
    return found


def value(predictor: Predictor, known: Rows, truth: np.ndarray, metric: str) -> float:
    """Return the metric of the answers to derived rows."""
    parts = [predictor.run(take_slice(known, at)) for at in range(0, length(known), CHUNK)]
    outputs = predictor.decode(np.concatenate(parts))
    parts_ = metrics.per_row(metric, truth, outputs.values, outputs.levels, outputs.cutoff)
    return metrics.value(metric, parts_)
