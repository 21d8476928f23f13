"""Whether the service was asked about rows as the source has them: training-serving skew, seen where a batch lands.

A row that was answered and later lands with the same key must hold the same values; where it doesn't, one of the two
computes them in another way (Breck et al. 2019, Data Validation for Machine Learning: feature skew).
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from data.schema import ArrayColumn, Column, Number, Rows, length, take
from data.wording import significant
from monitoring.binning import printable
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

    Return column -> how it differs, in words. Batches without a row that was answered change nothing.
    """
    serving = resources.store.ledger.generation(project.name)
    if serving is None or not length(rows):
        return {}
    some = take(rows, np.linspace(0, length(rows) - 1, min(length(rows), ROWS)).astype(int))
    keys = some[project.schema.key].astype(str).tolist()
    answered = {
        one.id: one
        for one in resources.store.predictions.find(project.name, keys).values()
        if set(project.schema.features) <= set(logged_schema(resources, project.name, one.generation).names)
    }
    both = [position for position, key in enumerate(keys) if key in answered]
    if len(both) < LEAST:
        return {}
    names = list(project.schema.features)
    served = asked(resources, [answered[keys[position]] for position in both], names)
    found = differing(project.schema.features, served, take(some, np.array(both)), [keys[one] for one in both])
    if not found:
        close(resources, project.name, "skew", f"recovered: batch {batch} landed as it was asked about")
        return {}
    said = "; ".join(f"{name} {how}" for name, how in found.items())
    logger.warning("%s %s: training-serving skew: %s", project.name, batch, said)
    if not resources.store.incidents.open_ones(project.name, "skew"):
        text = (
            f"FAULT {project.name}: training-serving skew in batch {batch}: {said}: the service is asked other values "
            f"than the source has; retraining is blocked until a batch lands without it or a person acknowledges it"
        )
        detail: Mapping[str, Any] = {"batch": batch, "columns": list(found), "faults": found}
        tell(resources, project.name, "skew", serving.number, "skew", text, detail, "critical")
    return found


def differing(columns: Mapping[str, Column], served: Rows, landed: Rows, keys: list[str]) -> dict[str, str]:
    """Return column -> how the values of the same rows differ, for the columns where more than a few do."""
    found = {}
    for name, column in columns.items():
        apart = column.unlike(served[name], landed[name])
        if apart.mean() > SHARE:
            first = int(np.argmax(apart))
            before, after = (shown(column, rows[name][first]) for rows in (served, landed))
            example = f"{printable(keys[first])}: {before} asked, {after} landed"
            found[name] = f"differs in {apart.mean():.0%} of {len(apart)} rows ({example})"
    return found


def shown(column: Column, value: Any) -> str:
    """Write one value for people."""
    if isinstance(column, ArrayColumn):
        return column.noun
    return significant(float(value)) if isinstance(column, Number) else printable(value)
