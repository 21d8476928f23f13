"""A network's embedding of a row as a few numbers to watch: fixed directions, found once for a reference.

Pearson 1901, On lines and planes of closest fit: the directions in which rows differ most. What is left beside them
is watched as one length, since rows of a new kind often move where the known ones never did.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.schema import ArrayColumn, Column, Number, Rows, Text

DIRECTIONS = 4  # on small pictures as good as 8, and the fewer columns share the false alarms
WIDE = 50  # columns from which on a shift may hide in many small ones
LEAST = 50  # rows that directions are found from


@dataclass(frozen=True, eq=False)
class Projection:
    """`mean` (D,) and `axes` (K, D) of embeddings; the axes are of length 1 and at right angles."""

    mean: np.ndarray
    axes: np.ndarray

    @property
    def columns(self) -> dict[str, Column]:
        """What `apply` returns."""
        return {**{f"embedding {at + 1}": Number() for at in range(len(self.axes))}, "embedding rest": Number()}

    def apply(self, embedded: np.ndarray) -> Rows:
        """Return where each of N embeddings (N, D) lies along the axes, and how far beside them."""
        with np.errstate(all="ignore"):  # a network may answer with infinities, which are counted as such
            centred = embedded.astype(np.float64) - self.mean
            along = centred @ self.axes.T
            rest = np.linalg.norm(centred - along @ self.axes, axis=1)
        return dict(zip(self.columns, [*along.T, rest], strict=True))


def wanted(columns: Mapping[str, Column]) -> bool:
    """Tell whether the embedding is watched of rows with these features: pictures, texts, clips, or very many columns.

    A few plain columns are seen better one by one.
    """
    taken = any(name.startswith("embedding ") for name in columns)
    whole = any(isinstance(column, ArrayColumn | Text) for column in columns.values())
    return not taken and (len(columns) > WIDE or whole)


def fit(embedded: np.ndarray, held_out: np.ndarray) -> Projection | None:
    """Find the directions in which embeddings (N, D) differ most; None where they can't be found.

    They are found on rows that the network learned from, where there are enough: then the held-out ones, which the
    reference counts, are as new to them as a window's.
    """
    learned = embedded[~held_out]
    rows = np.asarray(learned if len(learned) >= LEAST else embedded, dtype=np.float64)
    if len(rows) < LEAST or not np.isfinite(rows).all():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        mean = rows.mean(axis=0)
        centred = rows - mean
        if not np.isfinite((centred**2).sum()):
            return None
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    real = spread > 1e-9 * max(float(spread[0]), 1e-30)
    axes = axes[real][:DIRECTIONS]
    return Projection(mean, axes * np.where(axes.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)) if len(axes) else None
