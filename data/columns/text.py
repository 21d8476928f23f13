"""Texts."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from data.cells import encodable, is_null, shown
from data.columns.base import Misfits, Objections, Rows, each
from data.columns.category import TextColumn
from data.columns.number import Number
from data.declared import declared

if TYPE_CHECKING:
    import pandas as pd

WORD = re.compile(r"\w+|[^\w\s]")  # a word, or a mark by itself


@declared
class Text(TextColumn):
    """What somebody wrote, at most so many characters. Empty text is bad data."""

    longest: int = 2000

    def read(self, cell: object) -> str:
        """Return the text; ValueError for what is none, is empty or is too long."""
        if is_null(cell):
            raise ValueError("is missing")
        if not isinstance(cell, str):
            raise ValueError(f"{shown(cell)} is not text")  # noqa: TRY004 (callers catch one error)
        if not encodable(cell):
            raise ValueError(f"{shown(cell)} is not Unicode text")
        if not cell.strip():
            raise ValueError("is empty")
        if len(cell) > self.longest:
            raise ValueError(f"has {len(cell)} characters, {self.longest} are allowed")
        if "\0" in cell:
            raise ValueError("holds a NUL")
        return cell

    def typed(self, cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
        """Type cells as str."""
        blank = np.empty(len(cells), dtype=object)
        blank[:] = ""
        return each(cells, self.read, blank)

    def objections(self, values: np.ndarray) -> Objections:
        """Return which texts are empty or too long."""
        sizes = np.array([len(value) for value in values], dtype=int)
        empty = np.array([not value.strip() for value in values], dtype=bool)
        return [(empty, "is empty"), (sizes > self.longest, f"more than {self.longest} characters")]

    def describe(self, name: str, values: np.ndarray) -> Rows:
        """Return the length in characters and in words, and the share of characters that are no letters."""
        texts = values.tolist()
        solid = ["".join(text.split()) for text in texts]
        symbols = [sum(not one.isalpha() for one in text) / max(len(text), 1) for text in solid]
        return {
            f"{name}.characters": np.array([len(text) for text in texts], dtype=np.float64),
            f"{name}.words": np.array([len(WORD.findall(text)) for text in texts], dtype=np.float64),
            f"{name}.symbols": np.array(symbols, dtype=np.float64),
        }

    def described(self, name: str) -> dict[str, Number]:
        """Return the columns of `describe`."""
        return {
            f"{name}.characters": Number(low=1, high=self.longest, integer=True),
            f"{name}.words": Number(low=0, high=self.longest, integer=True),
            f"{name}.symbols": Number(low=0.0, high=1.0),
        }

    def words(self) -> str:
        """Say what the column holds."""
        return f"a text of at most {self.longest} characters"

    def narrowed(self, after: "Text") -> Iterator[str]:
        """Yield which texts `after` no longer accepts."""
        if after.longest < self.longest:
            yield f"has at most {after.longest} characters and had {self.longest}"


def words(text: str) -> list[str]:
    """Return a text's words in small letters, its marks by themselves."""
    return WORD.findall(text.lower())
