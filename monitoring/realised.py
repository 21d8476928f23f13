"""The project's own metric on what has been labelled, with its interval; one that a window can't show is replaced."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.confusions import with_count
from models.metrics import CONFUSED, bounds, per_row
from models.outputs import forecasts
from monitoring.records import Prediction

INSTEAD = {"r2": "mae"}  # what a window's rows vary by decides r2 as much as the errors do


@dataclass(frozen=True)
class Measured:
    """A metric with its 90 % interval (5 % beyond each end), from so many labelled rows."""

    metric: str
    value: float
    low: float
    high: float
    rows: int


def shown(metric: str) -> str:
    """Return the metric that stands for a project's own on the timeline."""
    return INSTEAD.get(metric, metric)


def measure(metric: str, predictions: Sequence[Prediction], *, exchangeable: bool) -> Measured | None:
    """Return the metric on those of the predictions (oldest first) that are labelled; None where nothing can be said.

    Rows that are not exchangeable are resampled in stretches whose length is the cube root of their number (Künsch
    1989, The jackknife and the bootstrap for general stationary observations; the order of Hall, Horowitz & Jing 1995).
    """
    labelled = [one for one in predictions if one.label is not None]
    if not labelled:
        return None
    parts = parts_of(metric, labelled)
    parts = parts[np.isfinite(parts).all(axis=1)]
    if not len(parts):
        return None
    length = 1 if exchangeable else max(round(len(parts) ** (1 / 3)), 1)
    found = bounds(metric, parts, np.arange(len(parts)) // length)
    return Measured(metric, found.estimate, found.low, found.high, found.rows) if found.finite else None


def parts_of(metric: str, labelled: Sequence[Prediction]) -> np.ndarray:
    """Return the parts of a metric, a row each; not finite where an answer or its label is not."""
    if metric == "accuracy":
        return with_count(np.array([one.output["class"] == str(one.label) for one in labelled]))
    values, levels = answers(labelled)
    if levels and metric in CONFUSED:  # what was answered counts, however sure
        values = np.array([[float(one.output["class"] == level) for level in levels] for one in labelled])
    kind = object if levels else float
    truth = np.array([str(one.label) if levels else one.label for one in labelled], kind)
    return per_row(metric, truth, values, levels)


def answers(predictions: Sequence[Prediction]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return probabilities (N, K) with their K classes, or numbers (N, 1) with none; NaN where one is missing."""
    outputs = [one.output for one in predictions]
    if "forecast" in outputs[0]:
        return forecasts(outputs)[0].reshape(len(outputs), -1), ()
    if "class" not in outputs[0]:
        return np.array([[number(output.get("value"))] for output in outputs]), ()
    named = [(*(output.get("probabilities") or ()), output["class"]) for output in outputs]
    levels = tuple(dict.fromkeys(level for row in named for level in row))
    rows = [output.get("probabilities") or {} for output in outputs]
    return np.array([[number(row.get(level)) for level in levels] for row in rows]), levels


def number(value: object) -> float:
    """Return a logged number; NaN for one that is missing."""
    return float(value) if isinstance(value, int | float) else float("nan")
