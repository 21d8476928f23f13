"""Frames that Evidently can take: no column that would stop the whole report, no text that a browser would run."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from data.schema import Number, Rows, length, take
from monitoring.binning import Incomputable, count, printable
from monitoring.columns import read, rows_in
from monitoring.reference import SAMPLE, Reference

if TYPE_CHECKING:
    import pandas as pd

HUGE = 1e100  # squares of larger values overflow
SHOWN = 30  # levels of a category that are shown by name
LONGEST = 60  # characters of a level or of a column's name


def sampled(observed: Rows, seed: int) -> Rows:
    """Return at most 20,000 rows, the same ones every time."""
    rows = length(observed)
    if rows <= SAMPLE:
        return observed
    return take(observed, np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False)))


def showable(reference: Reference, observed: Rows) -> tuple[Rows, dict[str, str]]:
    """Return the columns that can be drawn, of at most 20,000 rows, and why the others can't.

    One of these would stop the report for all.
    """
    found = {name: f"not in the reference: {why}" for name, why in reference.broken.items()}
    seen, broken = read(reference.columns, observed, rows_in(observed))
    found |= broken
    some = sampled(seen, reference.seed)
    for name, values in some.items():
        try:
            counts = count(reference.binnings[name], values)
        except Incomputable as error:
            found[name] = str(error)
            continue
        if counts[:-1].sum() == 0 or reference.counts[name][:-1].sum() == 0:
            found[name] = "has no value in the window or in the reference"
        elif isinstance(reference.columns[name], Number):
            both = np.concatenate([values, reference.sample[name]])
            if not np.nanmax(np.abs(both)) < HUGE:
                found[name] = "has values too large to draw, or infinite ones"
    return {name: values for name, values in some.items() if name not in found}, found


def titles(names: list[str]) -> dict[str, str]:
    """Return the text under which each column is shown; no two are the same."""
    shown: dict[str, str] = {}
    for name in names:
        title = safe(name)
        shown[name] = title if title not in shown.values() else f"{title} #{len(shown)}"
    return shown


def frames(reference: Reference, observed: Rows, shown: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (reference, window) with the columns of `shown`, under their titles, filled with safe text."""
    import pandas as pd

    known, current = {}, {}
    for name, title in shown.items():
        before, now = reference.sample[name], observed[name]
        if isinstance(reference.columns[name], Number):
            known[title], current[title] = before.astype(float), now.astype(float)
        else:
            texts = _texts(before, now)
            known[title], current[title] = _levels(before, texts), _levels(now, texts)
    return pd.DataFrame(known), pd.DataFrame(current)


def _texts(before: np.ndarray, now: np.ndarray) -> dict[Any, str]:
    """Return the text of each level; the rarest ones of both together share one."""
    sizes = Counter(before.tolist()) + Counter(now.tolist())
    levels = [level for level, _ in sizes.most_common() if level is not None and level == level]  # noqa: PLR0124 - NaN
    named = {level: safe(str(level)) for level in levels[:SHOWN]}
    return {**dict.fromkeys(levels, "(other)"), **named}


def _levels(values: np.ndarray, shown: dict[Any, str]) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = [shown.get(value) for value in values.tolist()]
    return result


def safe(text: str) -> str:
    """Return text that shows as itself in a page and can neither end a script nor start one."""
    return html.escape(printable(text, LONGEST), quote=True)
