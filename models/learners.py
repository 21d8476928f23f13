"""Simple learners on the network's own inputs: how far a line, a forest or boosted trees get on the same rows.

scikit-learn is imported inside. What they cost is bounded: by rows, by columns, by the number of trees.
"""

import pickle
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data.columns.text import WORD
from data.schema import Id, Rows, length, take
from models.encoding import Encoder
from models.lists import pairs, places
from models.transforms import UNSEEN

if TYPE_CHECKING:
    from models.neighbours import Neighbours

CELLS = 4_000_000  # rows times columns that a learner is given at most; about ten seconds on one core
MOST_ROWS = 20_000
MOST_WORDS = 50_000  # words and pairs of words of a text, the commonest
FOR_WORDS = 10.0  # strength of a line on words: each says little, and there are tens of thousands
BOOSTED_WORDS = 300  # of them that boosted trees are given: they take no sparse matrix
MOST_WITH_IDS = 1_000_000  # rows: an id has a column of its own, and a row two or three of them
FOR_IDS = 4.0  # imagined rows at the mean beside those of each id
MOST_LEVELS = 50  # of one category, the commonest; rarer ones have no column of their own
SIDE = 32  # pixels: larger pictures are averaged down
TREES = 50
CONDENSED = 8  # numbers of a series to one principal component
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
    """Train each learner of `names` (linear, tree, boosted, neighbours) and return its answers to `rows`.

    Of more training rows than are needed, a seeded sample is taken. Trees can't do much with ids, and take long.
    """
    ids = list(encoder.of(Id))
    if ids:
        names = [name for name in names if name == "linear" or (name == "neighbours" and encoder.schema.ranking)]

    if not names:
        return {}
    if not length(rows):
        return {name: Learned(np.empty((0, encoder.spec.outputs))) for name in names}
    width = table(encoder, take(train, np.arange(1)), levels_of(encoder, train)).shape[1]
    most = MOST_WITH_IDS if ids else min(MOST_ROWS, CELLS // max(width, 1))
    if length(train) > most:
        train = take(train, np.sort(np.random.default_rng(seed).choice(length(train), most, replace=False)))
    if encoder.task == "forecast":
        return {name: forecast(encoder, train, rows) for name in names if name == "linear" and encoder.spec.targets}
    if encoder.task == "anomaly":
        return {name: reconstructed(encoder, train, rows) for name in names if name == "linear"}
    levels = levels_of(encoder, train)
    known, asked, truth = table(encoder, train, levels), table(encoder, rows, levels), encoder.target(train)
    words = {name: vectoriser().fit(train[name].tolist()) for name in encoder.vocabularies}
    if words:
        known, asked = (with_words(words, part, dense) for part, dense in ((train, known), (rows, asked)))
    if ids:
        known, asked = (with_ids(encoder, part, dense) for part, dense in ((train, known), (rows, asked)))
    return {
        name: alike(encoder, train, rows) if name == "neighbours" else answers(name, encoder, known, truth, asked, seed)
        for name in names
    }


def alike(encoder: Encoder, train: Rows, rows: Rows) -> Learned:
    """Rate by what people who are alike said."""
    started = time.perf_counter()
    learner = neighbours(encoder, train)
    seconds = time.perf_counter() - started
    found = np.tile(learner.predict(pairs(encoder, rows))[:, None], 2)
    return Learned(encoder.decode(found).values, seconds, megabytes(learner))


def neighbours(encoder: Encoder, train: Rows) -> "Neighbours":
    """Fit what compares users."""
    from models.neighbours import Neighbours

    user, item = (encoder.spec.cardinalities[place] for place in places(encoder))
    return Neighbours.fit(pairs(encoder, train), encoder.target(train), (user, item))


def vectoriser() -> Any:
    """Return what counts words and pairs of them: Jones 1972, A statistical interpretation of term specificity."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=WORD.pattern, max_features=MOST_WORDS)


def with_words(words: Mapping[str, Any], rows: Rows, dense: np.ndarray) -> Any:
    """Return a matrix (N, F) with a text's words beside it, sparse."""
    from scipy.sparse import csr_matrix, hstack

    return hstack([csr_matrix(dense), *(one.transform(rows[name].tolist()) for name, one in words.items())]).tocsr()


def with_ids(encoder: Encoder, rows: Rows, dense: np.ndarray) -> Any:
    """Return a matrix (N, F) with a column for each id beside it, sparse; what was never learned has none."""
    from scipy.sparse import csr_matrix, hstack

    codes, parts = encoder.encode(rows)["codes"], [csr_matrix(dense)]
    for at, (name, levels) in enumerate(encoder.levels.items()):
        if isinstance(encoder.columns[name], Id):
            seen = np.flatnonzero(codes[:, at] > UNSEEN)
            place = (seen, codes[seen, at] - UNSEEN - 1)
            parts.append(csr_matrix((np.ones(len(seen)), place), (len(codes), len(levels))))
    return hstack(parts).tocsr()


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


def reconstructed(encoder: Encoder, train: Rows, rows: Rows) -> Learned:
    """Reconstruct series from their principal components, one for every `CONDENSED` numbers of theirs.

    The best that a linear autoencoder can do: Baldi & Hornik 1989, Neural networks and principal component analysis.
    """
    from sklearn.decomposition import PCA

    train = take(train, train[encoder.schema.target] != encoder.answers[1])
    places = list(encoder.spec.targets)
    known, asked = (encoder.encode(part)["series"][:, :, places].reshape(length(part), -1) for part in (train, rows))
    learner, seconds = fitted(PCA(max(1, min(known.shape[1] // CONDENSED, len(known)))), known, None)
    left = asked - learner.inverse_transform(learner.transform(asked))
    return Learned(encoder.decode(left).values, seconds, megabytes(learner))


def answers(name: str, encoder: Encoder, known: Any, truth: np.ndarray, asked: Any, seed: int) -> Learned:
    """Fit one learner to `known` (N, F) and answer `asked` (M, F), arrays or sparse."""
    if name == "boosted" and not isinstance(known, np.ndarray):
        most = np.argsort(-np.asarray(known.astype(bool).sum(axis=0)).ravel(), kind="stable")[:BOOSTED_WORDS]
        known, asked = known[:, most].toarray(), asked[:, most].toarray()
    if encoder.task == "regression":
        mean, deviation = encoder.scales[encoder.schema.target]
        strength = 1.0 if isinstance(known, np.ndarray) or encoder.vocabularies else FOR_IDS
        learner, seconds = fitted(regressor(name, seed, strength), known, truth)
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


def fitted(learner: Any, known: np.ndarray, truth: np.ndarray | None) -> tuple[Any, float]:
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


def regressor(name: str, seed: int, strength: float = 1.0) -> Any:
    """Return the learner of numbers; `strength`: how much a line is drawn towards the mean."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    if name == "linear":
        return Ridge(alpha=strength)
    if name == "boosted":
        return HistGradientBoostingRegressor(random_state=seed)
    return RandomForestRegressor(TREES, min_samples_leaf=2, max_features=1 / 3, random_state=seed)


def levels_of(encoder: Encoder, train: Rows) -> list[np.ndarray]:
    """Return, for each category, the codes that get a column: the commonest."""
    if not encoder.levels:
        return []
    codes = encoder.encode(train)["codes"]
    kept = []
    for name, column in zip(encoder.levels, codes.T, strict=True):
        if isinstance(encoder.columns[name], Id):
            kept.append(np.empty(0, dtype=np.int64))  # with_ids
            continue
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
