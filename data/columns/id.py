"""Ids: names of people and things, learned from the training rows instead of declared."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from data.cells import shown
from data.columns.base import Misfits, Objections, Rows
from data.columns.category import TextColumn, words_of
from data.columns.number import Number
from data.declared import declared
from data.errors import BadDeclaration

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 200  # characters
POLICIES = ("refuse", "mean")


@declared
class Id(TextColumn):
    """Who or what a row is about, by name. A version knows the ids of its training rows, and new ones come each day.

    `unknown`: a request about an id that the version never learned is refused, or answered as for the mean of all.
    """

    unknown: Literal["refuse", "mean"] = "mean"

    def __post_init__(self) -> None:
        if self.unknown not in POLICIES:
            raise BadDeclaration(f"Id(unknown={self.unknown!r}): {' or '.join(map(repr, POLICIES))}")

    def typed(self, cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
        """Type cells as str, None where null; text that no request could say is none."""
        values, bad = words_of(cells, ())
        strange = {i: shown(value) for i, value in enumerate(values) if value is not None and not fits_id(value)}
        return values, bad | {i: f"{said} is not 1 to {LONGEST} printable characters" for i, said in strange.items()}

    def objections(self, values: np.ndarray) -> Objections:
        """Return which ids are missing, and which no request could say."""
        missing = np.array([value is None for value in values], dtype=bool)
        strange = np.array([value is not None and not fits_id(value) for value in values], dtype=bool)
        return [(missing, "missing"), (strange, f"not 1 to {LONGEST} printable characters")]

    def describe(self, _name: str, _values: np.ndarray) -> Rows:
        """Return nothing: what can be said of an id, a version says that knows which ones it learned."""
        return {}

    def described(self, _name: str) -> dict[str, Number]:
        """Return nothing, as `describe`."""
        return {}

    def words(self) -> str:
        """Say what the column holds."""
        return f"an id; one that was never learned is {'refused' if self.unknown == 'refuse' else 'taken for the mean'}"

    def narrowed(self, after: "Id") -> Iterator[str]:
        """Yield which ids `after` no longer accepts."""
        if after.unknown == "refuse" and self.unknown != "refuse":
            yield "no longer takes ids that were never learned"


def fits_id(value: str) -> bool:
    """Whether a text can be an id."""
    return 0 < len(value) <= LONGEST and value.isprintable()
