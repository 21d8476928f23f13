"""What windows are compared with: the binned counts of every row that the champion was judged to fit.

Kept beside the counts: the bins of single rows in time order (for calibration), a sample of observed rows (for
reports), and how wrong the champion was on rows held out from it (for performance).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from data.errors import TooFewRows
from data.schema import Category, Column, Number, Rows, length
from models.metrics import labelled
from models.outputs import Task, levelled
from monitoring.binning import ABSENT, Binning, Incomputable, bin_column, count, encode, level_counts
from monitoring.columns import comparable, read
from monitoring.held_out import HeldOut
from monitoring.kept import Kept
from monitoring.projections import Projection

SAMPLE = 20_000  # rows kept for reports
RESAMPLED = 20_000  # rows kept for calibration where rows are exchangeable
HISTORY = 200_000  # newest rows kept for calibration where they are not
LOSSES = 50_000
NOVEL = 0.5  # share of rows with a value that only they have: names, not levels
MINIMUM = 20  # rows under which a reference says nothing
OUTPUTS = ("prediction", "confidence")


@dataclass(frozen=True, eq=False)  # hashed by identity, so that calibrations can be cached
class Reference:
    """Everything a verdict needs to know of an unchanged world. Immutable once built.

    `counts`: int64 (bins,) of each column; `codes`: uint8 (rows, columns) in time order, or a random sample
    where rows are exchangeable, ABSENT where an output is not held out; `losses`: one per held-out row, oldest
    first: 1 for a wrong class and 0 for a right one, or the absolute error; `broken`: column -> why it can't
    be compared; `moments`: mean and standard deviation of a number's finite values; `origin`: which rows these
    are, for people; `window_rows`: rows that a window is expected to have, 0 where nobody knows, `rows_a_quarter`:
    rows that come in a quarter of a year, likewise; `times`: of the rows in `codes`, seconds since 1970, empty where
    nobody knows; `importance`:
    column -> what the metric loses without it, for columns where that was measured; `projection`: makes the
    embedding's columns, where these are watched; `held`: held-out rows, for estimates without labels; `kept`: where
    its calibrations are, None where each process makes its own.
    """

    columns: Mapping[str, Column]
    binnings: Mapping[str, Binning]
    counts: Mapping[str, np.ndarray]
    moments: Mapping[str, tuple[float, float]]
    codes: np.ndarray
    sample: Rows
    losses: np.ndarray
    task: str
    exchangeable: bool
    rows: int
    seed: int
    broken: Mapping[str, str]
    origin: str = ""
    window_rows: int = 0
    rows_a_quarter: float = 0.0
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    importance: Mapping[str, float] = field(default_factory=dict)
    projection: Projection | None = None
    held: HeldOut | None = None
    kept: Kept | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns that the champion makes, which only held-out rows can refer to."""
        return outputs(self.projection, self.columns)

    @property
    def watched(self) -> tuple[str, ...]:
        """The columns that can be compared, in the order of `codes`."""
        return tuple(self.binnings)

    def codes_of(self, name: str) -> np.ndarray:
        """Return the bins of single rows of one column that have a value to compare."""
        codes = self.codes[:, self.watched.index(name)]
        return np.asarray(codes[codes != ABSENT])

    def out_of_bounds(self, name: str) -> float:
        """Return the share of sampled rows that break the column's own bounds or levels."""
        return self._out_of_bounds[name]

    @cached_property
    def _out_of_bounds(self) -> dict[str, float]:
        rows = max(length(self.sample), 1)
        return {name: misfits(self.columns[name], self.sample[name])[0] / rows for name in self.watched}


def build(
    columns: Mapping[str, Column],
    observed: Rows,
    *,
    held_out: np.ndarray,
    losses: np.ndarray,
    task: Task,
    exchangeable: bool,
    ignore: tuple[str, ...] = (),
    seed: int = 0,
    origin: str = "",
    window_rows: int = 0,
    rows_a_quarter: float = 0.0,
    times: np.ndarray | None = None,
    importance: Mapping[str, float] | None = None,
    projection: Projection | None = None,
) -> Reference:
    """Make a reference from rows as `Predictor.observe` gives them, oldest first.

    Args:
        columns: `Predictor.monitored`.
        observed: rows the champion was judged to fit, topped up with the newest it learned from.
        held_out: bool (N,), true where the champion did not learn from the row; only there do outputs count.
        losses: of the labelled held-out rows, oldest first, as `losses_of` gives them.
        task: what the champion answers.
        exchangeable: whether rows may be resampled one by one.
        ignore: columns not watched.
        seed: of the samples drawn here and of every calibration.
        origin: which rows these are, for people.
        window_rows: rows that a window is expected to have, 0 where nobody knows.
        rows_a_quarter: rows that come in a quarter of a year, 0 where nobody knows.
        times: of the rows, datetime64 (N,), None where nobody knows.
        importance: what the metric loses without a column.
        projection: what made the embedding's columns, if there are any.

    Raises: TooFewRows.
    """
    rows = len(held_out)
    if rows < MINIMUM:
        raise TooFewRows("a reference", rows, MINIMUM)
    rng = np.random.default_rng(seed)
    kept = _drawn(rows, RESAMPLED, rng) if exchangeable else np.arange(max(rows - HISTORY, 0), rows)
    watched = {name: column for name, column in columns.items() if name not in ignore}
    answers = outputs(projection, watched)
    seen, broken = read(watched, observed, rows)
    binned, codes, unfit = _bin_all({name: watched[name] for name in seen}, seen, held_out, kept, answers)
    return Reference(
        columns={name: watched[name] for name in binned},
        binnings={name: binning for name, (binning, _) in binned.items()},
        counts={name: counts for name, (_, counts) in binned.items()},
        moments={name: moments(seen[name]) for name in binned if isinstance(watched[name], Number)},
        codes=np.stack(codes, axis=1) if codes else np.empty((len(kept), 0), np.uint8),
        sample=_sample(watched, list(binned), seen, held_out, _drawn(rows, SAMPLE, rng), answers),
        losses=np.asarray(losses, dtype=np.float64)[-LOSSES:],
        task=task,
        exchangeable=exchangeable,
        rows=rows,
        seed=seed,
        broken={**broken, **unfit},
        origin=origin,
        window_rows=window_rows,
        rows_a_quarter=rows_a_quarter,
        times=np.zeros(0) if times is None else seconds(times[kept]),
        importance=dict(importance or {}),
        projection=projection,
    )


def outputs(projection: Projection | None, columns: Iterable[str]) -> tuple[str, ...]:
    """Return which of the columns a champion makes of its rows."""
    forecast = [name for name in columns if name.startswith("prediction.")]
    return (*OUTPUTS, *forecast, *(projection.columns if projection else ()))


def seconds(times: np.ndarray) -> np.ndarray:
    """Return datetime64 (N,) as float64 seconds since 1970, in UTC."""
    return np.asarray(times.astype("datetime64[us]").astype(np.int64) / 1e6)


def _drawn(rows: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the positions of at most so many rows, in order."""
    return np.sort(rng.choice(rows, most, replace=False)) if rows > most else np.arange(rows)


def _bin_all(
    watched: Mapping[str, Column], observed: Rows, held_out: np.ndarray, kept: np.ndarray, answers: tuple[str, ...]
) -> tuple[dict[str, tuple[Binning, np.ndarray]], list[np.ndarray], dict[str, str]]:
    """Return bins and counts, the bins of the kept rows, and the columns that can't be binned, with the reason."""
    binned, codes, broken = {}, [], {}
    for name, column in watched.items():
        counted = held_out if name in answers else np.ones(len(held_out), bool)
        try:
            binned[name] = _bin_one(name, column, observed, counted)
        except Incomputable as error:
            broken[name] = str(error)
            continue
        values = encode(binned[name][0], observed[name][kept])
        codes.append(np.where(counted[kept], values, ABSENT).astype(np.uint8))
    return binned, codes, broken


def _bin_one(name: str, column: Column, observed: Rows, counted: np.ndarray) -> tuple[Binning, np.ndarray]:
    """Return a column's bins and their counts, from the rows that count."""
    if counted.sum() < MINIMUM:
        raise Incomputable(f"only {counted.sum()} held-out rows")
    values = observed[name] if counted.all() else observed[name][counted]
    comparable(column, values)
    binning = bin_column(column, values)
    if binning.novel > NOVEL:
        raise Incomputable("nearly every row has a value of its own")
    return binning, count(binning, values)


def _sample(
    columns: Mapping[str, Column],
    names: list[str],
    observed: Rows,
    held_out: np.ndarray,
    which: np.ndarray,
    answers: tuple[str, ...],
) -> Rows:
    """Take the rows for reports; an output on a row the champion learned from is blanked."""
    sample = {name: observed[name][which] for name in names}
    for name in names:
        if isinstance(columns[name], Category):
            sample[name] = np.array([one if isinstance(one, str) else None for one in sample[name]], dtype=object)
    for name in set(answers) & set(sample):
        sample[name][~held_out[which]] = np.nan if isinstance(columns[name], Number) else None
    return sample


def moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of a number's finite values; NaN without any."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    with np.errstate(over="ignore", invalid="ignore"):
        return float(finite.mean()), float(finite.std())


def misfits(column: Column, values: np.ndarray) -> tuple[int, Any]:
    """Count the values that break the column's bounds or levels, or are infinite; and give one of them.

    Nulls are no misfits. `values` are such as the column's binning can count.
    """
    if isinstance(column, Number):
        slack = 1e-6 * max(abs(column.low or 0.0), abs(column.high or 0.0), 1.0)
        low = -np.inf if column.low is None else column.low - slack
        high = np.inf if column.high is None else column.high + slack
        bad = np.isinf(values) | (values < low) | (values > high)
        return int(np.count_nonzero(bad)), float(values[np.argmax(bad)]) if bad.any() else None
    if not isinstance(column, Category) or column.open:
        return 0, None
    levels = {*column.levels, None}
    strange = {value: rows for value, rows in level_counts(values).items() if value not in levels and value == value}  # noqa: PLR0124 - NaN
    return sum(strange.values()), next(iter(strange), None)


def losses_of(truth: np.ndarray, predicted: np.ndarray, task: str) -> np.ndarray:
    """Return how wrong each answer was, float64 (N,): 0 or 1 for a class, the (mean) absolute error for numbers.

    What nobody called an anomaly is taken for none, as it is in training.
    """
    if task == "anomaly":
        truth = np.where(labelled(truth), truth, "false")
    if levelled(task):
        return np.asarray((truth.astype(str) != predicted.astype(str)).astype(np.float64))
    apart = np.abs(truth.astype(np.float64) - predicted.astype(np.float64))
    return np.asarray(apart.mean(axis=tuple(range(1, apart.ndim))) if apart.ndim > 1 else apart)
