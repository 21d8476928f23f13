"""The encoder for a few rows given as lists of values, where a call of numpy costs more than the numbers in it."""

from operator import itemgetter
from typing import Any

import numpy as np

from data.schema import Image, Number
from models.encoding import UNSEEN, Encoder, code_table, pixels


class RowEncoder:
    """Turns lists of values, in the order of the schema's features, into the arrays that `Encoder.encode` returns.

    Only for an encoder without derived features: a project's own code takes columns.
    """

    def __init__(self, encoder: Encoder) -> None:
        features = encoder.schema.features
        places = {name: place for place, name in enumerate(features)}
        self.encoder = encoder
        self.images = [(places[name], column) for name, column in features.items() if isinstance(column, Image)]
        self.numbers = [places[name] for name, column in features.items() if isinstance(column, Number)]
        self.pick = itemgetter(*self.numbers) if len(self.numbers) > 1 else None
        self.codes = [(places[name], code_table(levels)) for name, levels in encoder.levels.items()]

    def encode(self, rows: list[list[Any]]) -> dict[str, np.ndarray]:
        """Return the network's inputs by name for validated rows, at least one."""
        inputs = {}
        if self.images:
            inputs["image"] = self.pictures(rows)
        if self.pick is not None:
            inputs["numbers"] = self.encoder.scaled(np.array([self.pick(row) for row in rows], dtype=np.float64))
        elif self.numbers:
            place = self.numbers[0]
            inputs["numbers"] = self.encoder.scaled(np.array([[row[place]] for row in rows], dtype=np.float64))
        if self.codes:
            coded = [[table.get(row[place], UNSEEN) for place, table in self.codes] for row in rows]
            inputs["codes"] = np.array(coded, dtype=np.int64)
        return inputs

    def pictures(self, rows: list[list[Any]]) -> np.ndarray:
        """Return all pictures of each row (N, C, H, W), 0 to 1."""
        made = [
            pixels(column, np.stack([row[place] for row in rows])) / np.float32(column.high)
            for place, column in self.images
        ]
        return made[0] if len(made) == 1 else np.concatenate(made, axis=1)
