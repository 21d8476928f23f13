"""The encoder for a few rows given as lists of values, where a call of numpy costs more than the numbers in it."""

from operator import itemgetter
from typing import Any

import numpy as np

from data.columns.category import objects
from data.schema import ArrayColumn, Number, Rows, Text
from models.encoding import Encoder
from models.transforms import UNSEEN


class RowEncoder:
    """Turns lists of values, in the order of the schema's features, into the arrays that `Encoder.encode` returns.

    Only for an encoder without derived features: a project's own code takes columns.
    """

    def __init__(self, encoder: Encoder) -> None:
        features = encoder.schema.features
        places = {name: place for place, name in enumerate(features)}
        self.encoder = encoder
        self.arrays = {name: places[name] for name, column in features.items() if isinstance(column, ArrayColumn)}
        self.texts = {name: places[name] for name, column in features.items() if isinstance(column, Text)}
        self.numbers = [places[name] for name, column in features.items() if isinstance(column, Number)]
        self.pick = itemgetter(*self.numbers) if len(self.numbers) > 1 else None
        self.codes = [(places[name], table) for name, table in encoder.tables.items()]

    def encode(self, rows: list[list[Any]]) -> dict[str, np.ndarray]:
        """Return the network's inputs by name for validated rows, at least one."""
        inputs: dict[str, np.ndarray] = {}
        if self.arrays or self.texts:
            inputs = self.encoder.encode_arrays(self.columns(rows))
        if self.pick is not None:
            inputs["numbers"] = self.encoder.scaling(np.array([self.pick(row) for row in rows], dtype=np.float64))
        elif self.numbers:
            place = self.numbers[0]
            inputs["numbers"] = self.encoder.scaling(np.array([[row[place]] for row in rows], dtype=np.float64))
        if self.codes:
            coded = [[table.get(row[place], UNSEEN) for place, table in self.codes] for row in rows]
            inputs["codes"] = np.array(coded, dtype=np.int64)
        return inputs

    def columns(self, rows: list[list[Any]]) -> Rows:
        """Return the values that are arrays, and the texts, as columns."""
        made = {name: np.stack([row[place] for row in rows]) for name, place in self.arrays.items()}
        for name, place in self.texts.items():
            made[name] = objects([row[place] for row in rows])
        return made
