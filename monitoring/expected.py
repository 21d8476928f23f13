"""How wrong answers are expected to be, row by row, learned from held-out rows: as the parts of a metric.

A class: its confidence is calibrated, and a calibrated confidence is the probability of being right (Kivimäki, Białek,
Kuberski & Nurminen 2025, Performance estimation in binary classification using calibrated confidence,
arXiv:2505.05295; for accuracy, and for more classes, Kivimäki et al. 2024, arXiv:2407.08649). A value: a small model
of the loss from the watched columns and the answer ("direct loss estimation" in NannyML's documentation).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from models.confusions import TINY, class_parts, shares, with_count
from models.metrics import number_parts
from monitoring.binning import ABSENT, Binning
from monitoring.held_out import HeldOut

OWN = 200  # held-out rows that got an answer, from which on that answer has a calibration of its own
FOLDS = 5
STEPS = 50
EDGE = 1e-6  # a confidence is kept so far from 0 and 1
IDENTITY = np.array([0.0, 1.0, 1.0])  # the calibration that leaves a confidence as it is

Parts = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Answers (N, K) and codes (N, C) -> expected parts of the metric (N, P)."""


@dataclass(frozen=True, eq=False)
class Confidences:
    """The probability that an answer is right, from its confidence; an answer given often has a scale of its own.

    So as not to mix answers that are sure for different reasons: Gupta & Ramdas 2022, Top-label calibration and
    multiclass-to-binary reductions, arXiv:2107.08353.
    """

    common: np.ndarray
    own: Mapping[int, np.ndarray]

    def right(self, classes: np.ndarray, confidences: np.ndarray) -> np.ndarray:
        """Return probabilities (N,) for class codes (N,) and confidences (N,)."""
        found = calibrated(self.common, confidences)
        for code, weights in self.own.items():
            found[classes == code] = calibrated(weights, confidences[classes == code])
        return found


def calibrated(weights: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Return the probabilities that a fitted calibration gives for confidences (N,)."""
    return np.asarray(1 / (1 + np.exp(-_design(confidences) @ weights)))


def _design(confidences: np.ndarray) -> np.ndarray:
    sure = np.clip(confidences.astype(float), EDGE, 1 - EDGE)
    return np.column_stack([np.ones(len(sure)), np.log(sure), -np.log1p(-sure)])


def calibrate(confidences: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Fit a calibration to confidences (N,) of answers that were right (1) or not (0).

    Beta calibration (Kull, Silva Filho & Flach 2017), whose three parameters go on beyond the confidences that were
    seen, as a shift needs; drawn slightly to the identity, and with Platt's (1999) targets, so that few rows do.
    """
    design, hits = _design(confidences), float(right.sum())
    targets = np.where(right > 0, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    weights, pull = IDENTITY.copy(), np.array([0.0, 1.0, 1.0])
    for _ in range(STEPS):
        now = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (now - targets) + pull * (weights - IDENTITY)
        curve = (design.T * (now * (1 - now))) @ design + np.diag(pull + 1e-9)
        step = np.clip(np.linalg.solve(curve, slope), -2, 2)
        weights -= step
        weights[1:] = np.maximum(weights[1:], 0)  # surer never means more often wrong
        if np.abs(step).max() < EDGE:
            break
    return weights


@lru_cache(maxsize=16)
def confidences_of(held: HeldOut) -> Confidences:
    """Return the calibration of all held-out rows."""
    return _confidences(held, np.arange(len(held)))


def _confidences(held: HeldOut, rows: np.ndarray) -> Confidences:
    answers, right = held.answers[rows], held.losses[rows] == 0
    classes = held.decided(answers)
    sure = answers[np.arange(len(answers)), classes]
    often = [code for code, times in enumerate(np.bincount(classes)) if times >= OWN]
    own = {code: calibrate(sure[classes == code], right[classes == code]) for code in often}
    return Confidences(calibrate(sure, right), own)


@lru_cache(maxsize=16)
def expectation(held: HeldOut, metric: str) -> Parts:
    """Return what all held-out rows teach to expect."""
    return _learn(held, metric, np.arange(len(held)))


def _learn(held: HeldOut, metric: str, rows: np.ndarray) -> Parts:
    """Learn from some of the held-out rows what to expect."""
    if held.levels:
        known = _confidences(held, rows)

        def expected(answers: np.ndarray, _codes: np.ndarray) -> np.ndarray:
            classes = held.decided(answers)
            return class_expected(
                metric, answers, classes, known.right(classes, answers[np.arange(len(answers)), classes])
            )

        return expected
    loss = _loss_model(held, rows, 2 if metric == "rmse" else 1)
    return lambda _answers, codes: with_count(np.maximum(loss(codes), 0))


def class_expected(metric: str, answers: np.ndarray, classes: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the expected parts of a metric, for probabilities (N, K) whose answers (N,) are right with `right` (N,).

    What is left goes to the other classes as the network shares it among them.
    """
    if metric == "accuracy":
        return with_count(right)
    rows = np.arange(len(answers))
    said = shares(answers)  # (N, K + 1): the last is a class the champion doesn't know
    rest = said.copy()
    rest[rows, classes] = 0
    others = rest[:, :-1].sum(axis=1, keepdims=True)
    rest = np.divide(rest, others, out=np.zeros_like(rest), where=others > 0) * (1 - right)[:, None]
    rest[rows, classes] = right
    if metric == "log_loss":
        return with_count(-(rest * np.log(np.clip(said, TINY, 1 - TINY))).sum(axis=1))
    answered = np.eye(said.shape[1])[classes]
    return np.hstack([answered * right[:, None], answered, rest])


def _loss_model(held: HeldOut, rows: np.ndarray, power: int) -> Callable[[np.ndarray], np.ndarray]:
    """Fit a small model of the loss, or of its square, to some held-out rows."""
    losses = held.losses[rows] ** power
    if not held.binnings:
        mean = float(losses.mean())
        return lambda codes: np.full(len(codes), mean)
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    binnings = list(held.binnings.values())
    model = HistGradientBoostingRegressor(
        max_iter=60,
        max_leaf_nodes=8,
        min_samples_leaf=max(20, len(rows) // 50),
        categorical_features=[not binning.ordered for binning in binnings],
        early_stopping=False,
        random_state=held.seed,
    )
    with threadpool_limits(1):  # on cores that others use, threads wait for each other far longer than they work
        model.fit(_inputs(binnings, held.codes[rows]), losses)

    def predict(codes: np.ndarray) -> np.ndarray:
        with threadpool_limits(1):
            return np.asarray(model.predict(_inputs(binnings, codes)))

    return predict


def _inputs(binnings: list[Binning], codes: np.ndarray) -> np.ndarray:
    """Return bins as numbers (N, C); NaN for a null, and for what can't be binned."""
    inputs = codes.astype(np.float32)
    inputs[codes == ABSENT] = np.nan
    for place, binning in enumerate(binnings):
        if binning.ordered:
            inputs[codes[:, place] == binning.value_bins + 1, place] = np.nan
    return inputs


@lru_cache(maxsize=16)
def out_of_fold(held: HeldOut, metric: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each fifth of the held-out rows the parts that the others expect of it, and those that came true.

    Fifths are stretches of time; where rows are exchangeable they are dealt at random.
    """
    order = np.arange(len(held))
    if held.exchangeable:
        order = np.random.default_rng(held.seed).permutation(order)
    found = []
    for fold in np.array_split(order, FOLDS):
        learn = _learn(held, metric, np.setdiff1d(order, fold))
        found.append((learn(held.answers[fold], held.codes[fold]), realised_parts(held, metric, fold)))
    return found


def realised_parts(held: HeldOut, metric: str, rows: np.ndarray) -> np.ndarray:
    """Return the parts of a metric as they came true on some held-out rows."""
    if held.levels:
        answers = held.answers[rows].astype(float)
        return class_parts(metric, held.truth[rows], answers, held.decided(answers))
    return number_parts(metric, held.truth[rows][:, None], held.answers[rows].astype(float)[:, :1])
