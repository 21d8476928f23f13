"""Words as numbers: a vocabulary learned from training rows and kept in the version. Needs numpy only."""

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from data.columns.text import words

NOTHING, UNKNOWN = 0, 1  # codes before those of the words: after a text's end, and of a word that training hardly saw
LEAST = 2  # texts that a word occurs in: what is said once teaches nothing, and shows training what is unknown
MOST = 20_000  # words
LONGEST = 256  # words of a text that the network reads; what comes later is cut off
STEP = 8  # a text's places are a multiple of it


@dataclass(frozen=True)
class Vocabulary:
    """The words that a text column's codes stand for, commonest first, and how many places a text has."""

    known: tuple[str, ...]
    places: int

    @classmethod
    def fit(cls, texts: np.ndarray) -> "Vocabulary":
        """Learn the words of at least two of the training texts, and the length of the longest one."""
        said = [words(text) for text in texts.tolist()]
        counts = Counter(word for one in said for word in set(one))
        known = sorted((word for word, count in counts.items() if count >= LEAST), key=lambda one: (-counts[one], one))
        longest = max((len(one) for one in said), default=1)
        return cls(tuple(known[:MOST]), min(LONGEST, -(-max(longest, 1) // STEP) * STEP))

    def __len__(self) -> int:
        return len(self.known) + 2

    @cached_property
    def table(self) -> dict[str, int]:
        """The code of each word."""
        return {word: code for code, word in enumerate(self.known, start=2)}

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the codes (N, places) int64 of each text's first words."""
        made = np.full((len(texts), self.places), NOTHING, dtype=np.int64)
        for at, text in enumerate(texts):
            codes = [self.table.get(word, UNKNOWN) for word in words(text)[: self.places]]
            made[at, : len(codes)] = codes
        return made

    def unknown(self, texts: np.ndarray) -> np.ndarray:
        """Return the share (N,) of each text's words that the vocabulary lacks."""
        said = [words(text) for text in texts.tolist()]
        found = [sum(word not in self.table for word in one) / max(len(one), 1) for one in said]
        return np.array(found, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Vocabulary":
        """Undo `to_json`."""
        return cls(tuple(stored["known"]), int(stored["places"]))
