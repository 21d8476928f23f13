"""How unusual a row is, by what a network could not say again of its series. Needs numpy only, also when serving."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.errors import BadDeclaration
from data.schema import Anomaly, Series
from models.channels import places
from models.transforms import one_size


@dataclass(frozen=True, eq=False)
class Scoring:
    """What is left of each value of a reconstruction, standardised (N, outputs), as one error a row.

    `reach`: units of the error that each value stands for (outputs,); `counted`: what its square counts in the row's:
    all alike, or those of the newest steps.
    """

    reach: np.ndarray
    counted: np.ndarray

    @property
    def newest(self) -> int:
        """How many of the last values count."""
        return int((self.counted > 0).sum())

    def errors(self, left: np.ndarray) -> np.ndarray:
        """Return each row's error (N,), in units."""
        return np.asarray(np.sqrt((left * self.reach) ** 2 @ self.counted))


def scoring(target: Anomaly, columns: Mapping[str, Series], scales: Mapping[str, tuple[float, float]]) -> Scoring:
    """Say what counts of a reconstruction of all channels of `columns`.

    Raises: BadDeclaration without a series, for another number of units than of channels, or for more steps than a
        window has.
    """
    if not columns:
        raise BadDeclaration("anomalies are looked for in a Series: the schema has none beside its target")
    (steps,), deviations = one_size(columns), [scales[place.scale][1] for place in places(columns)]
    units = np.atleast_1d(target.unit)
    if len(units) not in (1, len(deviations)):
        raise BadDeclaration(f"Anomaly(unit=…) has {len(units)} units for {len(deviations)} channels")
    newest = target.newest or steps
    if newest > steps:
        raise BadDeclaration(f"Anomaly(newest={newest}): a window has {steps} steps")
    counted = np.repeat(np.arange(steps) >= steps - newest, len(deviations)) / (newest * len(deviations))
    return Scoring(np.tile(np.array(deviations) / units, steps), counted)


def scores(errors: np.ndarray) -> np.ndarray:
    """Return what is left to 1, and the score error / (1 + error) of errors (N,): (N, 2)."""
    return np.column_stack([1 / (1 + errors), errors / (1 + errors)])
