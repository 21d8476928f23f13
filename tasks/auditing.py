"""Where people label only what they choose to look at: which rows may judge, and whether anybody else could."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np

from data.schema import Rows
from data.sources import TRAFFIC
from monitoring import audit
from monitoring.answers import join, read_shortly
from projects.declaration import Project
from tasks.observing import answers_in, asked, clock, logged_schema
from tasks.resources import Resources
from tasks.snapshot_rows import BATCH

PIECE = 50_000  # rows without a label that are looked at at once: where people choose, nearly all are such


def representative(project: Project, rows: Rows) -> np.ndarray:
    """Tell which rows of a snapshot may judge, bool (N,): of harvested ones with selected labels, the audit rows.

    Without an audit sample all may, for want of others; `unaudited` then says so.
    """
    count = len(rows[project.schema.key])
    if project.labels.coverage == "all" or not project.labels.audit_share:
        return np.ones(count, bool)
    harvested = np.char.startswith(rows[BATCH].astype(str), TRAFFIC)
    chosen = audit.drawn(rows[project.schema.key].tolist(), project.labels.audit_share)
    return np.asarray(~harvested | chosen)


def unaudited(resources: Resources, project: Project) -> str:
    """Say why the labels of the newest mature windows are no sample of what was answered; "" where they are one."""
    if project.labels.coverage == "all":
        return ""
    serving = resources.store.ledger.generation(project.name)
    answers = join([])
    if serving is not None:
        mature = resources.store.verdicts.recent(
            project.name, project.monitors.n, check="performance", generation=serving.number
        )
        parts = [answers_in(resources.store, one.window, read_shortly, ("label", "id")) for one in mature]
        answers = join([part for part in parts if len(part)])
    if not len(answers) and project.labels.audit_share:
        return ""  # nothing has been answered yet whose labels people could have chosen
    return audit.sample(answers, project.labels).selected


def to_label(resources: Resources, name: str, limit: int) -> list[dict[str, Any]]:
    """Return the audit rows that have no label yet, generation by generation and oldest first, with what was asked.

    Of a generation that is replaced, those whose labels still say what replacing it was worth. What was answered is
    left out, so that it can't sway who labels.
    """
    project, found = resources.project(name), list[dict[str, Any]]()
    if not project.labels.audit_share:
        return found
    settled = clock(resources, project) - project.governor.receipt_after - project.labels.delay
    past = resources.store.ledger.generations(name)
    for generation in past:
        since = None if generation == past[-1] else settled
        ids = islice(unlabelled(resources, project, generation.number, since), limit - len(found))
        found += told(resources, name, generation.number, list(ids))
    return found


def told(resources: Resources, name: str, generation: int, ids: list[str]) -> list[dict[str, Any]]:
    """Return what people are told of a generation's rows, in the order of their ids."""
    held = resources.store.predictions.find(name, ids)
    found = [held[id_] for id_ in ids if id_ in held]
    if not found:
        return []
    schema = logged_schema(resources, name, generation)
    rows = asked(resources, found, [*schema.identifiers, *schema.features])
    return [
        {"id": one.id, "time": one.row_time, "row": {name: plain(values[n]) for name, values in rows.items()}}
        for n, one in enumerate(found)
    ]


def unlabelled(resources: Resources, project: Project, generation: int, since: datetime | None) -> Iterator[str]:
    """Yield the ids of the audit rows that have no label yet, oldest first; a piece of the log is in memory at once.

    `since`: of rows from then on.
    """
    after, missing = -1, resources.store.labels.missing
    while waiting := missing(project.name, generation, after=after, limit=PIECE, since=since):
        after = waiting[-1][0]
        ids = [id_ for _, id_ in waiting]
        chosen = audit.drawn(ids, project.labels.audit_share)
        yield from (id_ for id_, counts in zip(ids, chosen, strict=True) if counts)


def plain(value: Any) -> Any:
    """Return a cell as JSON has it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.datetime64):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value
