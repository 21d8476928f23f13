"""Where each channel of a project's series stands in a network's one input for them. Needs numpy only."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data.schema import Series
from models.transforms import FAR


class Place(NamedTuple):
    """Of one channel, among those of the input "series"; `flag`: of its gaps, -1 where it can't have any."""

    series: str
    channel: str
    at: int
    flag: int

    @property
    def scale(self) -> str:
        """The name of its scale."""
        return f"{self.series}.{self.channel}"


def places(columns: Mapping[str, Series]) -> list[Place]:
    """Return the places of all channels, in the order in which `steps` of each series follow each other."""
    found, at = [], 0
    for name, column in columns.items():
        count = len(column.channels)
        for one, channel in enumerate(column.channels, at):
            found.append(Place(name, channel, one, one + count if column.nullable else -1))
        at += width(column)
    return found


def width(column: Series) -> int:
    """Return how many channels a series gives to the input, flags of gaps included."""
    return len(column.channels) * (1 + column.nullable)


def targets(found: Sequence[Place], wanted: Sequence[str]) -> tuple[int, ...]:
    """Return where the channels that are forecast stand, the first of each name; nothing where one is missing."""
    first = {place.channel: place.at for place in reversed(found)}
    return tuple(first[channel] for channel in wanted) if set(wanted) <= first.keys() else ()


def steps(name: str, column: Series, scales: Mapping[str, tuple[float, float]], windows: np.ndarray) -> np.ndarray:
    """Return a series (N, T, C) in standard deviations of each channel, 0 in a gap, then the flags of gaps."""
    means, deviations = np.array([scales[f"{name}.{channel}"] for channel in column.channels]).T
    gaps = np.isnan(windows)
    with np.errstate(over="ignore"):
        scaled = np.clip((windows - means) / deviations, -FAR, FAR)
    scaled[gaps] = 0.0
    made = np.concatenate([scaled, gaps], axis=2) if column.nullable else scaled
    return np.asarray(made, dtype=np.float32)
