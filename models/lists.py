"""Lists: which items a version puts first for a user, and how many of them the user came to like.

Needs numpy only, also when serving.
"""

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from data.columns.category import objects
from data.schema import Rows, take
from models.encoding import Encoder
from models.transforms import UNSEEN

if TYPE_CHECKING:
    from models.predictor import Predictor

FIRST = UNSEEN + 1  # the code of the first item
LISTED = 10  # items of a list that is judged
RECALL, NDCG = f"recall@{LISTED}", f"ndcg@{LISTED}"
LIST_METRICS = (RECALL, NDCG)
Scores = Callable[[int], np.ndarray]
"""Place of an asked user -> the score (I,) of each code of the item."""


@dataclass(frozen=True)
class Rated:
    """Which items each user has rated, in codes: those of user u are `items[starts[u] : starts[u + 1]]`, ascending."""

    starts: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, encoder: Encoder, rows: Rows) -> "Rated":
        """Collect what rows say, of users and items that the encoder learned."""
        found = pairs(encoder, rows)
        known = np.unique(found[(found > UNSEEN).all(axis=1)], axis=0)
        users = encoder.spec.cardinalities[places(encoder)[0]]
        return cls(np.searchsorted(known[:, 0], np.arange(users + 1)), known[:, 1])

    def by(self, user: int) -> np.ndarray:
        """Return the codes of what a user has rated."""
        return np.asarray(self.items[self.starts[user] : self.starts[user + 1]])

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values, some 2 bytes a rating: differences, packed."""
        return {name: packed(np.diff(values, prepend=0)) for name, values in vars(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, str]) -> "Rated":
        """Undo `to_json`; ValueError for what it did not write."""
        return cls(*(np.cumsum(unpacked(stored[name])) for name in ("starts", "items")))


def packed(values: np.ndarray) -> str:
    """Return whole numbers as text."""
    return base64.b64encode(zlib.compress(values.astype("<i4").tobytes(), 9)).decode()


def unpacked(text: str) -> np.ndarray:
    """Undo `packed`."""
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<i4").astype(np.int64)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def places(encoder: Encoder) -> tuple[int, int]:
    """Return where the user and the item stand among the codes."""
    ranking, names = encoder.schema.ranking, list(encoder.levels)
    assert ranking is not None
    return names.index(ranking.user), names.index(ranking.item)


def pairs(encoder: Encoder, rows: Rows) -> np.ndarray:
    """Return the codes (N, 2) of each row's user and item."""
    return encoder.encode(rows)["codes"][:, list(places(encoder))]


def scores(predictor: "Predictor", row: Rows) -> np.ndarray:
    """Return the score (I,) of each code of the item for one row, whichever item that names; -inf for no item."""
    encoder = predictor.encoder
    ranking, place = encoder.schema.ranking, places(encoder)[1]
    assert ranking is not None
    items = np.arange(FIRST, encoder.spec.cardinalities[place])
    if encoder.features is None:
        inputs = repeated(encoder.encode(row), len(items))
        inputs["codes"][:, place] = items
    else:  # what a project derives may follow from the item
        inputs = encoder.encode(repeated(row, len(items)) | {ranking.item: objects(list(encoder.levels[ranking.item]))})
    found = np.full(FIRST + len(items), -np.inf)
    found[items] = predictor.infer(inputs)[:, 1] if len(items) else 0.0
    return found


def repeated(one: Mapping[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """Return the values of one row so many times."""
    return {name: np.repeat(values, times, axis=0) for name, values in one.items()}


def first(found: np.ndarray, left_out: np.ndarray, most: int) -> np.ndarray:
    """Return the codes of the items with the highest scores (I,), the best first; equal ones in the order of ids."""
    left = found.copy()
    left[left_out] = -np.inf
    order = np.lexsort((np.arange(len(left)), -left))[:most]
    return np.asarray(order[np.isfinite(left[order])])


@dataclass(frozen=True)
class Asked:
    """The U users who liked something among held-out rows: their names, a row of each, and what they liked, in codes.

    What was never learned can't be listed and counts as missed.
    """

    users: np.ndarray
    rows: Rows
    codes: np.ndarray
    liked: list[np.ndarray]

    @classmethod
    def of(cls, encoder: Encoder, held: Rows) -> "Asked":
        """Find who liked what."""
        ranking, target = encoder.schema.ranking, encoder.schema.target
        assert ranking is not None
        held = take(held, held[target].astype(float) >= ranking.liked)
        codes = pairs(encoder, held)
        users, at, which = np.unique(held[ranking.user].astype(str), return_index=True, return_inverse=True)
        order = np.argsort(which, kind="stable")
        liked = np.split(codes[order, 1], np.cumsum(np.bincount(which, minlength=len(users)))[:-1])
        return cls(users, take(held, at), codes[at, 0], liked if len(users) else [])

    def judged(self, scores_of: Scores, rated: Rated) -> dict[str, np.ndarray]:
        """Return by metric the parts (U, 2) of lists that leave out what was rated before."""
        found = {metric: np.ones((len(self.users), 2)) for metric in LIST_METRICS}
        worth = 1 / np.log2(np.arange(LISTED) + 2)
        for at, (user, liked) in enumerate(zip(self.codes.tolist(), self.liked, strict=True)):
            listed = first(scores_of(at), np.r_[np.arange(FIRST), rated.by(user)], LISTED)
            hits = np.isin(listed, liked)
            found[RECALL][at, 0] = hits.sum() / len(liked)
            found[NDCG][at, 0] = worth[: len(listed)][hits].sum() / worth[: len(liked)].sum()
        return found

    def by_network(self, predictor: "Predictor", rated: Rated) -> dict[str, np.ndarray]:
        """Return the parts of a version's lists."""
        return self.judged(lambda at: scores(predictor, take(self.rows, np.array([at]))), rated)

    def by_popularity(self, encoder: Encoder, train: Rows, rated: Rated) -> dict[str, np.ndarray]:
        """Return the parts of lists of what most have rated."""
        count = encoder.spec.cardinalities[places(encoder)[1]]
        popular = np.bincount(pairs(encoder, train)[:, 1], minlength=count).astype(float)
        return self.judged(lambda _: popular, rated)
