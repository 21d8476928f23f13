"""What a window shows when not the world but its instruments have changed: for people to mend, not to learn from."""

from collections.abc import Mapping

import numpy as np

from data.schema import Category, Rows
from monitoring.binning import Incomputable, count, printable
from monitoring.reference import Reference, misfits
from monitoring.wording import ABSENT

UNLIKELY = 1e-9  # probability that an unchanged window looks like this
NULL_JUMP = 0.1  # more nulls than the reference, as a share of the rows, before sensors are blamed
NULL_SIGMAS = 5.0
BOUNDS_JUMP = 0.01  # share of rows out of bounds, where the reference has such rows too


def tallies(reference: Reference, seen: Rows) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the binned counts of every column that can be compared, and why the others can't."""
    counts, broken = {}, {}
    for name in reference.watched:
        if name not in seen:
            continue
        try:
            counts[name] = count(reference.binnings[name], seen[name])
        except Incomputable as error:
            broken[name] = str(error)
    return counts, broken


def faults(reference: Reference, observed: Rows, counts: Mapping[str, np.ndarray], minimum_rows: int) -> dict[str, str]:
    """Return column -> what is wrong with it, in words, for every comparable column in fault.

    `counts` are those of `tallies`. Whether a column is constant or null shows only from `minimum_rows` on.
    """
    found: dict[str, str] = {}
    for name, tally in counts.items():
        wrong = _out_of_bounds(reference, name, observed[name], tally)
        if wrong is None and tally.sum() >= minimum_rows:
            wrong = _null(reference, name, tally) or _constant(reference, name, observed[name], tally)
        if wrong is not None:
            found[name] = wrong
    return found


def _out_of_bounds(reference: Reference, name: str, values: np.ndarray, tally: np.ndarray) -> str | None:
    if _all_known(reference, name, tally):
        return None
    bad, example = misfits(reference.columns[name], values)
    usual = reference.out_of_bounds(name)
    if bad <= len(values) * (usual + BOUNDS_JUMP if usual else 0.0):
        return None
    infinite = isinstance(example, float) and np.isinf(example)
    what = "is infinite" if infinite else f"breaks its schema (as {printable(example)})"
    return f"{what} in {bad} of {len(values)} rows"


def _all_known(reference: Reference, name: str, tally: np.ndarray) -> bool:
    """Tell whether every value is a level that the schema knows, without looking at each value again."""
    column, binning = reference.columns[name], reference.binnings[name]
    if not isinstance(column, Category) or tally[-2]:
        return False
    return {*binning.levels, *binning.rare} <= {*column.levels}


def _null(reference: Reference, name: str, counts: np.ndarray) -> str | None:
    """Return the fault of a null share far above the reference's, and above that of any window of its history."""
    known, rows = reference.counts[name], int(counts.sum())
    before, now = known[-1] / known.sum(), counts[-1] / rows
    if before == 1.0 or now - before < NULL_JUMP or now - _worst_nulls(reference, name, rows) < NULL_JUMP:
        return None
    spread = np.sqrt(max(before * (1 - before), 1 / known.sum()) * (1 / rows + 1 / known.sum()))
    if now < 1.0 and (now - before) / spread < NULL_SIGMAS:
        return None
    return f"{ABSENT} every row" if now == 1.0 else f"{ABSENT} {now:.0%} of rows, {before:.1%} in the reference"


def _worst_nulls(reference: Reference, name: str, rows: int) -> float:
    """Return the highest null share of a window in the history; rows that may be resampled have no such thing."""
    nulls = reference.codes_of(name) == reference.binnings[name].bins - 1
    if reference.exchangeable or len(nulls) < rows:
        return 0.0
    until = np.concatenate([[0], np.cumsum(nulls)])
    return float((until[rows:] - until[:-rows]).max() / rows)


def _constant(reference: Reference, name: str, values: np.ndarray, tally: np.ndarray) -> str | None:
    """Return the fault of a feature that has one value, where windows of the reference never had."""
    if name in reference.outputs or reference.binnings[name].value_bins < 2 or np.count_nonzero(tally[:-1]) != 1:
        return None
    known = [value for value in values.tolist() if value is not None and value == value]  # noqa: PLR0124 - NaN
    if any(value != known[0] for value in known):
        return None
    codes = reference.codes_of(name)
    commonest = np.bincount(codes).max() / len(codes)
    if len(known) * np.log(commonest) > np.log(UNLIKELY) or longest_run(codes) * 2 > len(known):
        return None
    shown = f"{known[0]:.4g}" if isinstance(known[0], float) else printable(known[0])
    return f"is constant ({shown})"


def longest_run(codes: np.ndarray) -> int:
    """Return the length of the longest stretch of equal codes."""
    if not len(codes):
        return 0
    edges = np.flatnonzero(np.diff(codes)) + 1
    return int(np.diff(np.concatenate([[0], edges, [len(codes)]])).max())
