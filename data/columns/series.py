"""Windows of series: several channels over time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data.columns.base import ArrayColumn, Objections, Rows, opened
from data.columns.number import Number
from data.declared import declared
from data.errors import BadDeclaration


@declared
class Series(ArrayColumn):
    """Values of some channels at `length` steps, oldest first. A gap is bad data unless it is `nullable`."""

    length: int
    channels: tuple[str, ...]
    nullable: bool = False

    dtype = np.float64
    noun = "a series"

    def __post_init__(self) -> None:
        if self.length < 1 or not self.channels or len(set(self.channels)) < len(self.channels):
            raise BadDeclaration(f"Series(length={self.length}, channels={self.channels}): a step, and distinct names")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one window: (length, channels)."""
        return (self.length, len(self.channels))

    def read(self, cell: object) -> np.ndarray:
        """Read an array, or nested lists or their JSON: a list a step, or for one channel a number a step.

        Raises: ValueError.
        """
        array = numeric(opened(cell, "a series"))
        if array.shape == (self.length,) and len(self.channels) == 1:
            array = array[:, None]
        if array.shape != self.shape:
            raise ValueError(f"its shape is {array.shape}, not {self.shape}")
        if np.isinf(array).any():
            raise ValueError(f"holds a number that is not finite{self.place(np.isinf(array))}")
        gaps = np.isnan(array)
        if gaps.all():
            raise ValueError("holds no number")
        if gaps.any() and not self.nullable:
            raise ValueError(f"has a gap{self.place(gaps)}")
        return np.where(gaps, np.nan, array)  # one and the same NaN, so that equal windows are equal bytes

    def to_request(self, values: np.ndarray) -> list[Any]:
        """Return a list a step, null in a gap."""
        cells = values.astype(object)
        cells[np.isnan(values)] = None
        return list(cells.tolist())

    def place(self, found: np.ndarray) -> str:
        """Say where the first of some values stands."""
        step, channel = np.argwhere(found)[0].tolist()
        return f" at step {step} of {self.channels[channel]}"

    def objections(self, values: np.ndarray) -> Objections:
        """Return which windows have gaps, where they may have none."""
        gaps = np.isnan(values).any(axis=(1, 2))
        return [(np.isinf(values).any(axis=(1, 2)), "a number that is not finite")] + (
            [] if self.nullable else [(gaps, "a gap")]
        )

    def describe(self, name: str, values: np.ndarray) -> Rows:
        """Return of each channel the mean, the spread, the last value and the trend, and the share of gaps.

        The trend is the mean of the newer half less that of the older; what has no value there is NaN.
        """
        half = max(1, self.length // 2)
        means, newer, older = mean(values), mean(values[:, -half:]), mean(values[:, :half])
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.sqrt(mean((values - means[:, None]) ** 2))
        found = {"mean": means, "spread": spread, "last": values[:, -1], "trend": newer - older}
        columns = {
            f"{name}.{channel}.{part}": np.ascontiguousarray(of[:, at])
            for at, channel in enumerate(self.channels)
            for part, of in found.items()
        }
        return {**columns, f"{name}.gaps": np.isnan(values).mean(axis=(1, 2))}

    def described(self, name: str) -> dict[str, Number]:
        """Return the columns of `describe`."""
        null = self.nullable
        kinds = {
            "mean": Number(nullable=null),
            "spread": Number(low=0.0, nullable=null),
            "last": Number(nullable=null),
            "trend": Number(nullable=null),
        }
        columns = {f"{name}.{channel}.{part}": kind for channel in self.channels for part, kind in kinds.items()}
        return {**columns, f"{name}.gaps": Number(low=0.0, high=1.0 if null else 0.0)}

    def words(self) -> str:
        """Say what the column holds."""
        listed = ", ".join(self.channels[:8]) + (f", … ({len(self.channels)})" if len(self.channels) > 8 else "")
        return f"{self.length} steps of {listed}{', with gaps' if self.nullable else ''}"

    def narrowed(self, after: "Series") -> Iterator[str]:
        """Yield which windows `after` no longer accepts."""
        if after.length != self.length:
            yield f"has {after.length} steps and had {self.length}"
        if after.channels != self.channels:
            yield f"has the channels {', '.join(after.channels)} and had {', '.join(self.channels)}"
        if self.nullable and not after.nullable:
            yield "may no longer have gaps"


def numeric(given: object) -> np.ndarray:
    """Return nested lists of numbers and nulls as float64; ValueError for anything else."""
    try:
        array = np.asarray(given)
    except ValueError:
        raise ValueError("its steps differ in length") from None
    if array.dtype == object:  # nulls, or numbers too long for 64 bits
        flat = [np.nan if value is None else value for value in array.ravel().tolist()]
        if all(type(value) is float or (type(value) is int and abs(value) < 2**63) for value in flat):
            array = np.array(flat, dtype=np.float64).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        raise ValueError("its values are not numbers")
    return array.astype(np.float64)


def mean(values: np.ndarray) -> np.ndarray:
    """Average (N, T, C) over time, leaving gaps out: (N, C), NaN where there is nothing but gaps."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found: np.ndarray = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    return found
