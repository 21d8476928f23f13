"""Whether the service was asked about rows as the source has them: training-serving skew, seen where a batch lands.

A row that was answered and later lands with the same key must hold the same values; where it doesn't, one of the two
computes them in another way (Breck et al. 2019, Data Validation for Machine Learning: feature skew).
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from data.schema import ArrayColumn, Column, Number, Rows, length, take
from data.wording import moment, significant
from monitoring.binning import printable
from monitoring.records import Generation, Prediction, Spell
from monitoring.windows import TICK
from projects.declaration import Project
from tasks.observing import asked, logged_schema
from tasks.resources import Resources
from tasks.telling import close, tell

logger = logging.getLogger(__name__)

ROWS = 20_000  # of a batch that are looked for in the log
LEAST = 20  # rows that were both answered and landed
SHARE = 0.01  # of them that differ: a corrected value here and there is no skew


def look_for_skew(resources: Resources, project: Project, batch: str, rows: Rows) -> dict[str, str]:
    """Compare a landed batch with what the service was asked; open a fault where columns differ, close it where none.

    Return column -> how it differs, in words. Batches without a row that was answered change nothing, and nor does a
    second look. What was asked from the first row on that differs, until a batch without skew begins, is spoiled.
    """
    serving = resources.store.ledger.generation(project.name)
    answered, landed = answered_rows(resources, project, rows) if serving is not None else ([], {})
    if serving is None or len(answered) < LEAST:
        return {}
    columns = project.schema.features
    served = asked(resources, answered, list(columns))
    apart = differing(columns, served, landed)
    if not apart:
        recovered(resources, project.name, batch, min(one.row_time for one in answered))
        return {}
    ids = [one.id for one in answered]
    found = {name: how(columns[name], ids, which, served[name], landed[name]) for name, which in apart.items()}
    wrong = [one.row_time for one, spoiled in zip(answered, np.any([*apart.values()], axis=0), strict=True) if spoiled]
    found_skew(resources, serving, batch, found, Spell(min(wrong), max(wrong) + TICK))
    return found


def answered_rows(resources: Resources, project: Project, rows: Rows) -> tuple[list[Prediction], Rows]:
    """Return what the service answered of a batch, as far as it was asked what the schema has today, and those rows."""
    if not length(rows):
        return [], rows
    some = take(rows, np.linspace(0, length(rows) - 1, min(length(rows), ROWS)).astype(int))
    keys, features = some[project.schema.key].astype(str).tolist(), set(project.schema.features)
    known = {
        one.id: one
        for one in resources.store.predictions.find(project.name, keys).values()
        if features <= set(logged_schema(resources, project.name, one.generation).names)
    }
    both = [position for position, key in enumerate(keys) if key in known]
    return [known[keys[position]] for position in both], take(some, np.array(both, dtype=int))


def found_skew(resources: Resources, serving: Generation, batch: str, found: Mapping[str, str], spell: Spell) -> None:
    """Open the fault, or let the one that is open reach over these rows too."""
    name, store = serving.project, resources.store
    said = "; ".join(f"{column} {why}" for column, why in found.items())
    logger.warning("%s %s: training-serving skew: %s", name, batch, said)
    assert spell.until is not None
    if not store.incidents.open_ones(name, "skew"):
        text = (
            f"FAULT {name}: training-serving skew in batch {batch}: {said}: the service is asked other values than the "
            f"source has; what it was asked since {moment(spell.since)} is not learned from, and retraining is blocked "
            f"until a batch lands without it or a person acknowledges it"
        )
        detail: dict[str, Any] = {"batch": batch, "columns": list(found), "faults": dict(found)}
        detail |= {"since": spell.since.isoformat(), "until": spell.until.isoformat()}
        tell(resources, name, "skew", serving.number, "skew", text, detail, "critical")
    for incident in store.incidents.open_ones(name, "skew"):
        store.incidents.spoil(incident.id, spell.since, spell.until, resources.now())


def recovered(resources: Resources, name: str, batch: str, begins: datetime) -> None:
    """Close the skew: what was asked before the batch's first row stays spoiled, from which on there is none."""
    for incident in resources.store.incidents.open_ones(name, "skew"):
        if incident.spell is not None:
            resources.store.incidents.spoil(incident.id, incident.spell.since, begins, resources.now())
    close(resources, name, "skew", f"recovered: batch {batch} landed as it was asked about")


def differing(columns: Mapping[str, Column], served: Rows, landed: Rows) -> dict[str, np.ndarray]:
    """Return column -> which of the rows differ (N,), for the columns where more than a few do."""
    apart = {name: column.unlike(served[name], landed[name]) for name, column in columns.items()}
    return {name: rows for name, rows in apart.items() if rows.mean() > SHARE}


def how(column: Column, keys: list[str], apart: np.ndarray, served: np.ndarray, landed: np.ndarray) -> str:
    """Say how a column's values differ where they are `apart` (N,), with the first as an example."""
    first = int(np.argmax(apart))
    before, after = (shown(column, values[first]) for values in (served, landed))
    example = f"{printable(keys[first])}: {before} asked, {after} landed"
    return f"differs in {apart.mean():.0%} of {len(apart)} rows ({example})"


def shown(column: Column, value: Any) -> str:
    """Write one value for people."""
    if isinstance(column, ArrayColumn):
        return column.noun
    return significant(float(value)) if isinstance(column, Number) else printable(value)
