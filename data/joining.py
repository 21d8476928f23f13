"""Rows joined with facts of other sources, each as it stood at the row's own time: what came later is not looked at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from data.cells import is_null, times
from data.errors import BadDeclaration, SchemaMismatch, SourceUnavailable
from data.sources import Batch, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd


@dataclass(frozen=True)
class Facts:
    """What another source says of a key from a time on: a customer's plan, a station's weather.

    `key`: the column that names whom a fact is about, in both sources (in the base `on`, where it has another name);
    `time`: from when on it was **known**, which may be later than what it tells of; `columns`: those that are joined;
    `within`: how old a fact may be, any age if left out. Two facts of one key and time that differ are refused, or the
    last one given counts.
    """

    source: Callable[[], Any]
    key: str
    time: str
    columns: tuple[str, ...]
    on: str | None = None
    within: timedelta | None = None
    repeated: Literal["refuse", "last"] = "refuse"

    def __post_init__(self) -> None:
        if not self.columns or {self.key, self.time} & set(self.columns):
            raise BadDeclaration(f"Facts(columns={self.columns}): at least one, beside the key and the time")
        if self.within is not None and self.within < timedelta(0):
            raise BadDeclaration(f"Facts(within={self.within}): how old a fact may be, not less than nothing")


@dataclass(frozen=True)
class Joined:
    """The batches of a source, each row with the newest of each kind of facts that was known at its `time`.

    A fact of the row's very moment is known at it. A column `c` of the facts `weather` becomes `weather_c`, and is null
    where nothing was known: declare it nullable. An accepted batch stays as it is, whatever facts arrive or are
    corrected afterwards; rows of the base are corrected by a batch of another name.
    """

    base: Callable[[], Any]
    time: str
    facts: Mapping[str, Facts]

    def __call__(self) -> "Iterator[Batch]":
        """Yield the base's batches with the facts beside their rows.

        Raises: SourceUnavailable, SchemaMismatch.
        """
        import pandas as pd

        given = self.base()
        if isinstance(given, pd.DataFrame):
            raise SourceUnavailable("Joined: the base gives one frame that grows; divide it into batches by its split")
        known = {name: settled(name, facts) for name, facts in self.facts.items()}
        for batch in fetch(lambda: given):
            yield Batch(batch.name, self.beside(batch.frame.reset_index(drop=True), known), once=True)

    def beside(self, rows: "pd.DataFrame", known: "Mapping[str, pd.DataFrame]") -> "pd.DataFrame":
        """Return rows with what was known of each at its time."""
        import pandas as pd

        need(rows, (self.time, *(facts.on or facts.key for facts in self.facts.values())))
        at, _ = times(rows[self.time])
        found = [rows]
        for name, facts in self.facts.items():
            frame, on = known[name], rows[facts.on or facts.key]
            places = as_of(frame[facts.key].to_numpy(), frame[facts.time].to_numpy(), words(on), at, facts.within)
            beside = frame[list(facts.columns)].reindex(places).set_axis(rows.index)
            found.append(beside.add_prefix(f"{name}_"))
        joined = pd.concat(found, axis=1)
        if not joined.columns.is_unique:
            twice = joined.columns[joined.columns.duplicated()][0]
            raise SourceUnavailable(f"Joined: {twice!r} stands in the base already; give the facts another name")
        return joined


def settled(name: str, facts: Facts) -> "pd.DataFrame":
    """Return the facts of a source: complete, one for each key (as text) and time (datetime64[us], in UTC).

    Raises: SourceUnavailable, SchemaMismatch.
    """
    import pandas as pd

    frames = [batch.frame for batch in fetch(facts.source)]
    if not frames:  # nulls would stay in the batches for good
        raise SourceUnavailable(f"the facts {name!r}: their source has no batch yet")
    frame = pd.concat(frames, ignore_index=True)
    need(frame, (facts.key, facts.time, *facts.columns))
    known, unread = times(frame[facts.time])
    blank = [is_null(key) or is_null(at) for key, at in zip(frame[facts.key], frame[facts.time], strict=True)]
    if unread or any(blank):
        why = next(iter(unread.values()), f"a fact without {facts.key} or {facts.time}")
        raise SourceUnavailable(f"the facts {name!r}: {why}")
    stands = frame.assign(**{facts.key: words(frame[facts.key]), facts.time: known})
    wanted = stands[[facts.key, facts.time, *facts.columns]]
    if facts.repeated == "refuse":
        differing = wanted[~wanted.astype(str).duplicated()]
        again = differing[differing.duplicated([facts.key, facts.time])]
        if len(again):
            first = again.iloc[0]
            raise SourceUnavailable(
                f"the facts {name!r} tell two things of {first[facts.key]!r} at {first[facts.time]}; "
                "mend them, or declare repeated='last'"
            )
    return wanted.drop_duplicates([facts.key, facts.time], keep="last", ignore_index=True)


def as_of(
    fact_keys: np.ndarray, fact_times: np.ndarray, keys: np.ndarray, at: np.ndarray, within: timedelta | None
) -> np.ndarray:
    """Return for each row (M,) the position of the newest fact of its key that is not later than it; -1 for none.

    Keys are text, None where unknown; times datetime64, NaT where unknown: of such rows nothing is known.
    """
    known = np.array([key is not None for key in keys.tolist()], dtype=bool) & ~np.isnat(at)
    _, codes = np.unique(np.r_[fact_keys, np.where(known, keys, "")].astype(str), return_inverse=True)
    both, asks = np.r_[fact_times, at], np.arange(len(codes)) >= len(fact_keys)
    order = np.lexsort((asks, both, codes))  # of equal times the facts come first
    newest = np.maximum.accumulate(np.where(asks[order], -1, np.arange(len(order))))
    fact = np.where(newest >= 0, order[newest], -1)
    fact[(newest >= 0) & (codes[fact] != codes[order])] = -1
    found = np.full(len(codes), -1)
    found[order] = fact
    found = np.where(known, found[len(fact_keys) :], -1)
    if within is not None and len(fact_keys):
        found = np.where((found >= 0) & (at - fact_times[found] <= np.timedelta64(within)), found, -1)
    return found


def words(cells: "pd.Series[Any]") -> np.ndarray:
    """Return keys as text (N,), None where null; 7.0 is 7, as pandas reads whole numbers beside nulls."""
    made = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells.tolist()):
        whole = isinstance(cell, float) and cell.is_integer()
        made[i] = None if is_null(cell) else str(int(cell) if whole else cell)
    return made


def need(frame: "pd.DataFrame", names: tuple[str, ...]) -> None:
    """Refuse a frame without these columns.

    Raises: SchemaMismatch.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise SchemaMismatch(missing, [str(name) for name in frame.columns])
