"""Simple learners on the network's own inputs: how far a line, a forest or boosted trees get on the same rows.

scikit-learn is imported inside. What they cost is bounded: by rows, by columns, by the number of trees.
"""

import pickle
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.columns.text import WORD
from data.schema import Rows, length, take
from models.encoding import Encoder

CELLS = 4_000_000  # rows times columns that a learner is given at most; about ten seconds on one core
MOST_ROWS = 20_000
MOST_WORDS = 50_000  # words and pairs of words of a text, the commonest
FOR_WORDS = 10.0  # strength of a line on words: each says little, and there are tens of thousands
BOOSTED_WORDS = 300  # of them that boosted trees are given: they take no sparse matrix
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
        return {name: Learned(np.empty((0, encoder.spec.outputs))) for name in names}
    width = table(encoder, take(train, np.arange(1)), levels_of(encoder, train)).shape[1]
    most = min(MOST_ROWS, CELLS // max(width, 1))
    if length(train) > most:
        train = take(train, np.sort(np.random.default_rng(seed).choice(length(train), most, replace=False)))
    if encoder.task == "forecast":
        return {name: forecast(encoder, train, rows) for name in names if name == "linear" and encoder.spec.targets}
    levels = levels_of(encoder, train)
    known, asked, truth = table(encoder, train, levels), table(encoder, rows, levels), encoder.target(train)
    words = {name: vectoriser().fit(train[name].tolist()) for name in encoder.vocabularies}
    if words:
        known, asked = (with_words(words, part, dense) for part, dense in ((train, known), (rows, asked)))
    return {name: answers(name, encoder, known, truth, asked, seed) for name in names}


def vectoriser() -> Any:
    """Return what counts words and pairs of them: Jones 1972, A statistical interpretation of term specificity."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORD.pattern, max_features=MOST_WORDS)


def with_words(words: Mapping[str, Any], rows: Rows, dense: np.ndarray) -> Any:
    """Return a matrix (N, F) with a text's words beside it, sparse."""
    from scipy.sparse import csr_matrix, hstack

    return hstack([csr_matrix(dense), *(one.transform(rows[name].tolist()) for name, one in words.items())]).tocsr()


def forecast(encoder: Encoder, train: Rows, rows: Rows) -> Learned:
    """Fit one line from the past of a channel to what comes, both less the last value, for all channels together."""
    targets = list(encoder.spec.targets)
    known, asked = (encoder.encode(part)["series"][:, :, targets].transpose(0, 2, 1) for part in (train, rows))
    coming = encoder.target(train).reshape(len(known), -1, len(targets)).transpose(0, 2, 1)
    steps, last = coming.shape[2], known[:, :, -1:]
    learner, seconds = fitted(
        regressor("linear", 0), (known - last).reshape(-1, known.shape[2]), (coming - last).reshape(-1, steps)
    )
    now = asked[:, :, -1:]
    found = learner.predict((asked - now).reshape(-1, asked.shape[2])).reshape(len(asked), len(targets), steps) + now
    return Learned(encoder.decode(found.transpose(0, 2, 1).reshape(len(asked), -1)).values, seconds, megabytes(learner))


def answers(name: str, encoder: Encoder, known: Any, truth: np.ndarray, asked: Any, seed: int) -> Learned:
    """Fit one learner to `known` (N, F) and answer `asked` (M, F), arrays or sparse."""
    if name == "boosted" and not isinstance(known, np.ndarray):
        most = np.argsort(-np.asarray(known.astype(bool).sum(axis=0)).ravel(), kind="stable")[:BOOSTED_WORDS]
        known, asked = known[:, most].toarray(), asked[:, most].toarray()
    if encoder.task == "regression":
        mean, deviation = encoder.scales[encoder.schema.target]
        learner, seconds = fitted(regressor(name, seed), known, truth)
        found = np.asarray(learner.predict(asked) * deviation + mean, dtype=float)[:, None]
        return Learned(found, seconds, megabytes(learner))
    values = np.zeros((asked.shape[0], len(encoder.answers)))
    present = np.unique(truth)
    if len(present) == 1:
        values[:, present[0]] = 1.0
        return Learned(values)
    learner, seconds = fitted(classifier(name, seed, 1.0 if isinstance(known, np.ndarray) else FOR_WORDS), known, truth)
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


def classifier(name: str, seed: int, strength: float = 1.0) -> Any:
    """Return the learner of classes; `strength`: how closely a line follows its rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "linear":
        return LogisticRegression(C=strength, max_iter=ROUNDS, random_state=seed)
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
    """Return rows as one matrix (N, F): standardised numbers, one-hot codes, flattened pictures, spectra and series."""
    inputs = encoder.encode(rows)
    parts = [inputs["numbers"]] if "numbers" in inputs else []
    if levels:
        codes = inputs["codes"]
        parts += [(codes[:, [at]] == kept).astype(np.float32) for at, kept in enumerate(levels)]
    parts += [smaller(inputs[name]).reshape(length(rows), -1) for name in ("image", "audio") if name in inputs]
    if "series" in inputs:
        parts.append(inputs["series"].reshape(length(rows), -1))
    return np.hstack([np.empty((length(rows), 0)), *parts]).astype(np.float32)


def smaller(pictures: np.ndarray) -> np.ndarray:
    """Average pictures (N, C, H, W) down to at most 32 pixels a side; what is left at the edges is cut off."""
    rows, channels, height, width = pictures.shape
    down, across = -(-height // SIDE), -(-width // SIDE)
    if down == across == 1:
        return pictures
    cut = pictures[:, :, : height // down * down, : width // across * across]
    blocks = cut.reshape(rows, channels, height // down, down, width // across, across)
    return np.asarray(blocks.mean(axis=(3, 5)))
