"""What a predictor answers. Needs numpy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Outputs:
    """Answers for N rows: class probabilities (N, K) in the order of `levels`, or values (N, 1) without levels."""

    values: np.ndarray
    levels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def predictions(self) -> np.ndarray:
        """The likeliest class of each row (object array of str), or its value (float64)."""
        if not self.levels:
            return self.values[:, 0]
        classes: np.ndarray = np.array(self.levels, dtype=object)[self.values.argmax(axis=1)]
        return classes

    @property
    def confidences(self) -> np.ndarray:
        """The probability of the likeliest class, (N,); NaN where a value was predicted."""
        return self.values.max(axis=1) if self.levels else np.full(len(self.values), np.nan)

    def answers(self) -> list[dict[str, Any]]:
        """Return one answer per row, in plain JSON values."""
        if not self.levels:
            return [{"value": value} for value in self.values[:, 0].tolist()]
        best = self.values.argmax(axis=1).tolist()
        return [
            {
                "class": self.levels[index],
                "confidence": row[index],
                "probabilities": dict(zip(self.levels, row, strict=True)),
            }
            for index, row in zip(best, self.values.tolist(), strict=True)
        ]
