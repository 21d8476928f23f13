"""How one column becomes numbers that a network takes. Needs numpy only, also when serving."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from data.errors import BadDeclaration
from data.schema import ArrayColumn, Category, Column, Id, Image, Number, Rows, Series

NULL, UNSEEN = 0, 1  # codes of every category, before those of its levels
MOST_IDS = 200_000  # of one column; they are kept in the version, some 10 bytes each
FAR = 1e6  # standard deviations; keeps a monstrous number finite in float32
ROUNDING = 1e-12  # of the mean: less spread is the rounding of a constant, and would blow up its first movement
K = TypeVar("K", bound=Column)


@dataclass(frozen=True, eq=False)
class Scaling:
    """What standardises number columns: their means and deviations (F,), and the places of those that may be null."""

    means: np.ndarray
    deviations: np.ndarray
    flagged: list[int]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return numbers (N, F), NaN where null, in standard deviations, 0 where null, then the flags of nulls."""
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            scaled = (values - self.means) / self.deviations
        np.minimum(np.maximum(scaled, -FAR, out=scaled), FAR, out=scaled)
        if missing.any():
            scaled[missing] = 0.0
        if not self.flagged:
            return np.asarray(scaled, dtype=np.float32)
        return np.concatenate([scaled, missing[:, self.flagged]], axis=1, dtype=np.float32)


def of_kind(columns: Mapping[str, Column], kind: type[K]) -> dict[str, K]:
    """Return the columns of one kind, by name."""
    return {name: column for name, column in columns.items() if isinstance(column, kind)}


def scales_of(columns: Mapping[str, Column], rows: Rows, target: str) -> dict[str, tuple[float, float]]:
    """Return mean and standard deviation of each number, and as `series.channel` of each channel of a series.

    `columns`: the target among them. A channel of a series target that another series has too keeps that scale.
    """
    found: dict[str, tuple[float, float]] = {}
    for name, column in columns.items():
        if isinstance(column, Number):
            found[name] = scale(rows[name])
        if isinstance(column, Series):
            found |= {f"{name}.{one}": scale(rows[name][:, :, at]) for at, one in enumerate(column.channels)}
    series = of_kind(columns, Series)
    asked = series[target].channels if target in series else ()
    for name, column in series.items():
        found |= {f"{target}.{one}": found[f"{name}.{one}"] for one in column.channels if one in asked}
    return found


def scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the finite values; 1 for the latter where it would be nothing."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(known.mean()), float(known.std())
    if not np.isfinite([mean, deviation]).all():
        return float(np.sort(known)[len(known) // 2]), float(np.abs(known).max())  # a mean of two may overflow
    return mean, deviation if deviation > ROUNDING * abs(mean) else 1.0


def levels_seen(column: Category | Id, values: np.ndarray) -> tuple[str, ...]:
    """Return the declared levels that occur, in declared order; of ids the commonest, in the order of their names."""
    if isinstance(column, Id):
        counts = Counter(value for value in values.tolist() if value is not None)
        return tuple(sorted(sorted(counts, key=lambda one: (-counts[one], one))[:MOST_IDS]))
    seen = set(values.tolist())
    return tuple(level for level in column.levels if level in seen)


def pixels(column: Image, pictures: np.ndarray) -> np.ndarray:
    """Return pictures (N, H, W) or (N, H, W, C) as float32 (N, C, H, W), not yet scaled."""
    shaped = pictures.reshape(len(pictures), column.height, column.width, column.channels)
    return np.ascontiguousarray(shaped.transpose(0, 3, 1, 2), dtype=np.float32)


def codes(known: Mapping[str | None, int], values: np.ndarray) -> np.ndarray:
    """Return each value's code (N,) int64 by a `code_table`: null and unseen levels have codes of their own."""
    return np.array([known.get(value, UNSEEN) for value in values.tolist()], dtype=np.int64)


def code_table(levels: tuple[str, ...]) -> dict[str | None, int]:
    """Return the code of each level and of null; whatever is missing here is unseen."""
    return {None: NULL, **{level: index + 2 for index, level in enumerate(levels)}}


def one_size(columns: Mapping[str, ArrayColumn]) -> tuple[int, ...]:
    """Return the height and width, or the length, of columns of one kind, which go to the network together.

    Raises: BadDeclaration.
    """
    shapes = [column.shape[:2] if isinstance(column, Image) else column.shape[:1] for column in columns.values()]
    if len(set(shapes)) > 1:
        kind = type(next(iter(columns.values()))).__name__
        wanted = "height and width" if kind == "Image" else "length"
        raise BadDeclaration(f"{kind} columns of one project must have one {wanted}")
    return shapes[0]
