"""The project's own metric on what has been labelled, with its interval; one that a window can't show is replaced."""

from dataclasses import dataclass

import numpy as np

from models.confusions import with_count
from models.metrics import CONFUSED, bounds, per_row
from monitoring.answers import Answers

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


def measure(metric: str, answers: Answers, *, exchangeable: bool) -> Measured | None:
    """Return the metric on those of the answers (oldest first) that are labelled; None where nothing can be said.

    Rows that are not exchangeable are resampled in stretches whose length is the cube root of their number (Künsch
    1989, The jackknife and the bootstrap for general stationary observations; the order of Hall, Horowitz & Jing 1995).
    """
    labelled = answers.labelled
    if not len(labelled):
        return None
    parts = parts_of(metric, labelled)
    parts = parts[np.isfinite(parts).all(axis=1)]
    if not len(parts):
        return None
    length = 1 if exchangeable else max(round(len(parts) ** (1 / 3)), 1)
    found = bounds(metric, parts, np.arange(len(parts)) // length)
    return Measured(metric, found.estimate, found.low, found.high, found.rows) if found.finite else None


def parts_of(metric: str, labelled: Answers) -> np.ndarray:
    """Return the parts of a metric, a row each; not finite where an answer or its label is not."""
    assert labelled.labels is not None
    said, truth = labelled.predicted.tolist(), labelled.labels.tolist()
    if metric == "accuracy":
        return with_count(np.array([one == str(label) for one, label in zip(said, truth, strict=True)]))
    values, levels = labelled.values
    if levels and metric in CONFUSED:  # what was answered counts, however sure
        values = np.array([[float(one == level) for level in levels] for one in said])
    kind = object if levels else float
    return per_row(metric, np.array([str(one) if levels else one for one in truth], kind), values, levels)
