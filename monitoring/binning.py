"""Bins that a reference fixes, and what falls into them: the one form in which columns are compared.

A number's values fall into the reference's quantiles (or, with few distinct values, one bin a value), a category's
into its levels (rare ones share one), and always one bin is for what the reference never showed and one for nulls.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from data.schema import Category, Column, Number

QUANTILES = 20
LEVELS = 50
RARE = 0.005  # share of the reference under which a level shares a bin
ABSENT = 255  # code of a row that has no value to compare, such as an output on a row the model learned from


def printable(value: object, longest: int = 40) -> str:
    """Return a value from data as text that any file, database and terminal can hold."""
    text = str(value)
    shown = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text[:longest])
    return shown + ("…" if len(text) > longest else "")


class Incomputable(ValueError):
    """A column's values can't be compared with its reference; the message says why."""


@dataclass(frozen=True)
class Binning:
    """How one column's values become codes: `value_bins` bins of values, then unseen, then null.

    `cuts` are the inner quantiles, or the values themselves; `levels` have a bin each, `rare` share one.
    `novel` is the probability that a row of an unchanged world has a value the reference never showed
    (Good 1953: the share of rows whose value was seen once).
    """

    kind: Literal["quantiles", "values", "levels"]
    cuts: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    novel: float = 0.0

    @property
    def value_bins(self) -> int:
        """Bins of values that the reference showed."""
        if self.kind == "levels":
            return len(self.levels) + bool(self.rare)
        return len(self.cuts) + (self.kind == "quantiles")

    @property
    def bins(self) -> int:
        """All bins."""
        return self.value_bins + 2

    @property
    def ordered(self) -> int:
        """Leading bins that have an order."""
        return 0 if self.kind == "levels" else self.value_bins

    @property
    def names(self) -> tuple[str, ...]:
        """What each bin holds, for people."""
        return (*self._value_names(), "(unseen)", "(null)")

    def _value_names(self) -> list[str]:
        if self.kind == "levels":
            return [*map(printable, self.levels), *(["(rare)"] if self.rare else [])]
        if self.kind == "values":
            return [f"{value:g}" for value in self.cuts]
        edges = ["", *(f"{cut:.4g}" for cut in self.cuts), ""]
        return [f"({low}, {high}]" for low, high in pairwise(edges)]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def binning_from_json(stored: Mapping[str, Any]) -> Binning:
    """Read what `Binning.to_json` wrote."""
    keys: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return Binning(**keys)


def bin_column(column: Column, values: np.ndarray) -> Binning:
    """Choose the bins of a column from the reference's values (N,).

    Raises: Incomputable.
    """
    if isinstance(column, Number):
        return _bin_numbers(_finite(_numbers(values)))
    if isinstance(column, Category):
        return _bin_levels(level_counts(values))
    raise Incomputable(f"a {type(column).__name__} is described before it is compared")


def _bin_numbers(finite: np.ndarray) -> Binning:
    distinct, counts = np.unique(finite, return_counts=True)
    if len(distinct) <= QUANTILES:
        novel = float((counts == 1).sum()) / max(len(finite), 1)
        return Binning("values", cuts=tuple(distinct.tolist()), novel=novel)
    bins = min(QUANTILES, max(4, len(finite) // 20))
    cuts = np.unique(np.quantile(finite, np.arange(1, bins) / bins, method="inverted_cdf"))
    return Binning("quantiles", cuts=tuple(cuts[cuts < distinct[-1]].tolist()))


def _bin_levels(counts: Counter[Any]) -> Binning:
    seen = {level: rows for level, rows in counts.items() if isinstance(level, str)}
    total = max(sum(seen.values()), 1)
    by_size = sorted(seen, key=lambda level: (-seen[level], level))
    levels = [level for level in by_size[:LEVELS] if seen[level] >= RARE * total]
    rare = [level for level in by_size if level not in set(levels)]
    novel = sum(rows == 1 for rows in seen.values()) / total
    return Binning("levels", levels=tuple(levels), rare=tuple(rare), novel=novel)


def encode(binning: Binning, values: np.ndarray) -> np.ndarray:
    """Return each value's bin, uint8 (N,).

    Raises: Incomputable.
    """
    if binning.kind == "levels":
        lookup = _lookup(binning)
        unseen, null = binning.value_bins, binning.value_bins + 1
        try:
            coded = (null if value is None or value != value else lookup.get(value, unseen) for value in values)  # noqa: PLR0124 - NaN
            return np.fromiter(coded, dtype=np.uint8, count=len(values))
        except (TypeError, ValueError) as error:
            raise Incomputable(f"values are no levels: {error}") from error
    return _encode_numbers(binning, _numbers(values))


def _encode_numbers(binning: Binning, values: np.ndarray) -> np.ndarray:
    cuts = np.asarray(binning.cuts)
    codes = np.searchsorted(cuts, values, side="left")
    if binning.kind == "values":
        if len(cuts) == 0:
            codes = np.full(len(values), binning.value_bins)
        else:
            near = np.where(codes < len(cuts), codes, len(cuts) - 1)
            lower = np.maximum(near - 1, 0)
            with np.errstate(over="ignore", invalid="ignore"):  # values may lie 3e308 apart
                near = np.where(np.abs(values - cuts[lower]) < np.abs(values - cuts[near]), lower, near)
                same = np.isclose(values, cuts[near], rtol=1e-9, atol=1e-12)
            codes = np.where(same, near, binning.value_bins)
    codes[np.isnan(values)] = binning.value_bins + 1
    return np.asarray(codes, dtype=np.uint8)


def count(binning: Binning, values: np.ndarray) -> np.ndarray:
    """Count the values in each bin, int64 (bins,).

    Raises: Incomputable.
    """
    if binning.kind != "levels":
        return np.bincount(encode(binning, values), minlength=binning.bins)
    lookup, result = _lookup(binning), np.zeros(binning.bins, dtype=np.int64)
    for level, rows in level_counts(values).items():
        null = level is None or level != level  # noqa: PLR0124 - NaN
        result[binning.bins - 1 if null else lookup.get(level, binning.value_bins)] += rows
    return result


def _lookup(binning: Binning) -> dict[Any, int]:
    codes = {level: code for code, level in enumerate(binning.levels)}
    return {**codes, **dict.fromkeys(binning.rare, len(binning.levels))}


def _numbers(values: np.ndarray) -> np.ndarray:
    if values.ndim != 1 or values.dtype.kind not in "fiub":
        raise Incomputable(f"values are no numbers but {values.dtype} of {values.ndim} dimensions")
    with np.errstate(over="ignore"):  # a longer float becomes infinite
        return values.astype(np.float64, copy=False)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.isfinite(values)])


def level_counts(values: np.ndarray) -> Counter[Any]:
    """Count each value.

    Raises: Incomputable.
    """
    if values.ndim != 1:
        raise Incomputable(f"values are no levels but have {values.ndim} dimensions")
    try:
        return Counter(values.tolist())
    except TypeError as error:
        raise Incomputable(f"values are no levels: {error}") from error
