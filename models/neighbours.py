"""What people who are alike say: the simple learner beside networks that rate and rank items for users.

User-based neighbours on what is left of a rating after the biases of both (Herlocker et al. 1999, An Algorithmic
Framework for Performing Collaborative Filtering); lists count how many of those who share items hold one, by cosine.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

ALIKE = 40  # neighbours of a user
DOUBT = 5.0  # imagined ratings at the mean beside those of each user or item
TOGETHER = 64  # users whose neighbours are looked for at once


@dataclass(frozen=True)
class Neighbours:
    """Fitted: biases (users,), (items,), what is left of ratings and which there are (users, items), unit rows."""

    user: np.ndarray
    item: np.ndarray
    left: csr_matrix
    rated: csr_matrix

    @classmethod
    def fit(cls, pairs: np.ndarray, ratings: np.ndarray, shape: tuple[int, int]) -> "Neighbours":
        """Learn from pairs of codes (N, 2) and standardised ratings (N,)."""
        users, items = pairs.T
        item = damped(items, ratings, shape[1])
        user = damped(users, ratings - item[items], shape[0])
        left = ratings - item[items] - user[users]
        ones = np.ones(len(left))
        return cls(user, item, csr_matrix((left, (users, items)), shape), csr_matrix((ones, (users, items)), shape))

    def predict(self, pairs: np.ndarray) -> np.ndarray:
        """Return standardised ratings (N,) of pairs of codes (N, 2)."""
        users, items = pairs.T
        found = self.user[users] + self.item[items]
        distinct, which = np.unique(users, return_inverse=True)
        unit, there = normalised(self.left), abs(self.left).sign()
        for start in range(0, len(distinct), TOGETHER):
            near = nearest(unit, distinct[start : start + TOGETHER])
            asked = np.flatnonzero((which >= start) & (which < start + TOGETHER))
            places = (which[asked] - start, items[asked])
            said, weight = (np.asarray((near @ one).toarray()) for one in (self.left, there))
            found[asked] += said[places] / (weight[places] + 1.0)
        return np.asarray(found)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return how much each item (U, items) is held by those who are like each user, by code (U,)."""
        return np.asarray((nearest(normalised(self.rated), users) @ self.rated).toarray())


def damped(owners: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return each owner's mean, drawn towards 0 where there are few values."""
    sums = np.bincount(owners, weights=values, minlength=count)
    return np.asarray(sums / (np.bincount(owners, minlength=count) + DOUBT))


def normalised(matrix: csr_matrix) -> csr_matrix:
    """Return rows of length 1; an empty one stays empty."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return csr_matrix(matrix.multiply((1 / np.where(lengths > 0, lengths, 1.0))[:, None]))


def nearest(unit: csr_matrix, users: np.ndarray) -> csr_matrix:
    """Return how alike the nearest others are (U, users): cosines above 0, nobody being a neighbour of their own."""
    alike = np.asarray((unit[users] @ unit.T).toarray())
    alike[np.arange(len(users)), users] = 0.0
    if alike.shape[1] > ALIKE:
        least = np.partition(alike, -ALIKE, axis=1)[:, [-ALIKE]]
        alike[alike < least] = 0.0
    return csr_matrix(np.maximum(alike, 0.0))
