"""What a predictor answers. Needs numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Cutoff(NamedTuple):
    """From which probability, 0 to 1, on `level` is answered; below it the likeliest other level is."""

    level: str
    at: float


def decided(values: np.ndarray, levels: Sequence[str], cutoff: Cutoff | None = None) -> np.ndarray:
    """Return which level is answered, as its place (N,), for probabilities (N, K): the likeliest, or by the cutoff."""
    if cutoff is None or cutoff.level not in levels:
        return np.asarray(values.argmax(axis=1))
    place = tuple(levels).index(cutoff.level)
    others = values.copy()
    others[:, place] = -np.inf
    return np.where(values[:, place] >= cutoff.at, place, others.argmax(axis=1))


@dataclass(frozen=True)
class Outputs:
    """Answers for N rows: class probabilities (N, K) in the order of `levels`, or values (N, 1) without levels."""

    values: np.ndarray
    levels: tuple[str, ...] = ()
    cutoff: Cutoff | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def codes(self) -> np.ndarray:
        """The place (N,) of the level that is answered: the likeliest, or the one the cutoff decides for."""
        return decided(self.values, self.levels, self.cutoff)

    @property
    def predictions(self) -> np.ndarray:
        """The level that is answered to each row (object array of str), or its value (float64)."""
        if not self.levels:
            return self.values[:, 0]
        classes: np.ndarray = np.array(self.levels, dtype=object)[self.codes]
        return classes

    @property
    def confidences(self) -> np.ndarray:
        """The probability of the level that is answered, (N,); NaN where a value was predicted."""
        if not self.levels:
            return np.full(len(self.values), np.nan)
        return np.asarray(self.values[np.arange(len(self.values)), self.codes])

    def answers(self) -> list[dict[str, Any]]:
        """Return one answer per row, in plain JSON values."""
        if not self.levels:
            return [{"value": value} for value in self.values[:, 0].tolist()]
        return [
            {
                "class": self.levels[index],
                "confidence": row[index],
                "probabilities": dict(zip(self.levels, row, strict=True)),
            }
            for index, row in zip(self.codes.tolist(), self.values.tolist(), strict=True)
        ]
