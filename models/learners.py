"""Simple learners on the network's own inputs: how far a line, a forest or boosted trees get on the same rows.

scikit-learn is imported inside. What they cost is bounded: by rows, by columns, by the number of trees.
"""

import pickle
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.schema import Rows, length, take
from models.encoding import Encoder

CELLS = 4_000_000  # rows times columns that a learner is given at most; about ten seconds on one core
MOST_ROWS = 20_000
MOST_LEVELS = 50  # of one category, the commonest; rarer ones have no column of their own
SIDE = 32  # pixels: larger pictures are averaged down
TREES = 50
ROUNDS = 200  # of the linear learner's solver


@dataclass(frozen=True)
class Learned:
    """What a simple learner answered to N rows, and what it cost.

    `values`: (N, K) probabilities in the order of the encoder's answers, or (N, 1) numbers in the target's unit;
    `seconds`: to learn; `mb`: of the learner, pickled, in 1,000,000 bytes.
    """

    values: np.ndarray
    seconds: float = 0.0
    mb: float = 0.0


def learned_answers(
    names: Sequence[str], encoder: Encoder, train: Rows, rows: Rows, *, seed: int
) -> dict[str, Learned]:
    """Train each learner of `names` (linear, tree, boosted) and return its answers to `rows`.

    Of more training rows than are needed, a seeded sample is taken.
    """
    if not names:
        return {}
    if not length(rows):
        return {name: Learned(np.empty((0, len(encoder.answers) or 1))) for name in names}
    width = table(encoder, take(train, np.arange(1)), levels_of(encoder, train)).shape[1]
    most = min(MOST_ROWS, CELLS // max(width, 1))
    if length(train) > most:
        train = take(train, np.sort(np.random.default_rng(seed).choice(length(train), most, replace=False)))
    levels = levels_of(encoder, train)
    known, asked, truth = table(encoder, train, levels), table(encoder, rows, levels), encoder.target(train)
    return {name: answers(name, encoder, known, truth, asked, seed) for name in names}


def answers(name: str, encoder: Encoder, known: np.ndarray, truth: np.ndarray, asked: np.ndarray, seed: int) -> Learned:
    """Fit one learner to `known` (N, F) and answer `asked` (M, F)."""
    if encoder.task == "regression":
        mean, deviation = encoder.scales[encoder.schema.target]
        learner, seconds = fitted(regressor(name, seed), known, truth)
        found = np.asarray(learner.predict(asked) * deviation + mean, dtype=float)[:, None]
        return Learned(found, seconds, megabytes(learner))
    values = np.zeros((len(asked), len(encoder.answers)))
    present = np.unique(truth)
    if len(present) == 1:
        values[:, present[0]] = 1.0
        return Learned(values)
    learner, seconds = fitted(classifier(name, seed), known, truth)
    values[:, present] = learner.predict_proba(asked)
    return Learned(values, seconds, megabytes(learner))


def fitted(learner: Any, known: np.ndarray, truth: np.ndarray) -> tuple[Any, float]:
    """Fit quietly, and say how long it took: a solver that stops at its limit is good enough for a baseline."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    started = time.perf_counter()
    with warnings.catch_warnings(), threadpool_limits(1):  # on cores that others use, threads wait for each other
        warnings.simplefilter("ignore")
        return learner.fit(known, truth), time.perf_counter() - started


def megabytes(learner: Any) -> float:
    """Return what a fitted learner takes on disk, in 1,000,000 bytes."""
    return len(pickle.dumps(learner)) / 1e6


def classifier(name: str, seed: int) -> Any:
    """Return the learner of classes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "linear":
        return LogisticRegression(max_iter=ROUNDS, random_state=seed)
    if name == "boosted":
        return HistGradientBoostingClassifier(random_state=seed)
    return RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed)


def regressor(name: str, seed: int) -> Any:
    """Return the learner of numbers."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    if name == "linear":
        return Ridge(alpha=1.0)
    if name == "boosted":
        return HistGradientBoostingRegressor(random_state=seed)
    return RandomForestRegressor(TREES, min_samples_leaf=2, max_features=1 / 3, random_state=seed)


def levels_of(encoder: Encoder, train: Rows) -> list[np.ndarray]:
    """Return, for each category, the codes that get a column: the commonest."""
    if not encoder.levels:
        return []
    codes = encoder.encode(train)["codes"]
    kept = []
    for column in codes.T:
        found, counts = np.unique(column, return_counts=True)
        kept.append(np.sort(found[np.lexsort((found, -counts))][:MOST_LEVELS]))
    return kept


def table(encoder: Encoder, rows: Rows, levels: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows as one matrix (N, F): standardised numbers, one-hot codes, flattened pictures."""
    inputs = encoder.encode(rows)
    parts = [inputs["numbers"]] if "numbers" in inputs else []
    if levels:
        codes = inputs["codes"]
        parts += [(codes[:, [at]] == kept).astype(np.float32) for at, kept in enumerate(levels)]
    if "image" in inputs:
        parts.append(smaller(inputs["image"]).reshape(length(rows), -1))
    return np.hstack(parts).astype(np.float32)


def smaller(pictures: np.ndarray) -> np.ndarray:
    """Average pictures (N, C, H, W) down to at most 32 pixels a side; what is left at the edges is cut off."""
    rows, channels, height, width = pictures.shape
    down, across = -(-height // SIDE), -(-width // SIDE)
    if down == across == 1:
        return pictures
    cut = pictures[:, :, : height // down * down, : width // across * across]
    blocks = cut.reshape(rows, channels, height // down, down, width // across, across)
    return np.asarray(blocks.mean(axis=(3, 5)))
