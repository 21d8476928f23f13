"""Whether something was wrong: known late, or never."""

from typing import TYPE_CHECKING, Any

import numpy as np

from data.columns.base import Misfits
from data.columns.category import Category, words_of
from data.declared import declared
from data.errors import BadDeclaration

if TYPE_CHECKING:
    import pandas as pd

SAID = {"True": "true", "False": "false", "1": "true", "0": "false"}


@declared
class Anomaly(Category):
    """A target that nobody has to know: true or false once somebody has looked, null until then.

    `unit`: the error of a reconstruction, in the series' own unit, one for all channels or one each, that scores one
    half. It belongs to the question and not to a version, so that the scores of versions compare. `newest`: the steps
    at the end of a window whose error counts, all of them where it isn't said: few find a failure sooner.
    """

    levels: tuple[str, ...] = ("false", "true")
    nullable: bool = True
    unit: float | tuple[float, ...] = 1.0
    newest: int | None = None

    def __post_init__(self) -> None:
        if self.levels != ("false", "true") or self.open or not self.nullable:
            raise BadDeclaration("Anomaly(…) is true, false or null: say no more of it than its unit")
        if not (np.isfinite(self.unit).all() and np.greater(self.unit, 0).all() and np.size(self.unit)):
            raise BadDeclaration(f"Anomaly(unit={self.unit}): above 0, one for all channels or one each")
        if self.newest is not None and self.newest < 1:
            raise BadDeclaration(f"Anomaly(newest={self.newest}): at least one step")

    def typed(self, cells: "pd.Series[Any]") -> tuple[np.ndarray, Misfits]:
        """Type cells as the words true and false, None where null."""
        values, bad = words_of(cells, self.levels)
        return np.array([SAID.get(one, one) for one in values.tolist()], dtype=object), bad

    def to_request(self, values: np.ndarray) -> list[Any]:
        """Return the values as a request in JSON gives them."""
        return [None if value is None else value == "true" for value in values.tolist()]

    def words(self, _most: int = 8) -> str:
        """Say what the column holds."""
        return "true, false, or nothing as long as nobody has looked"
