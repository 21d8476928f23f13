"""Rows of a known change sent to the service at once, as if they came now."""

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.errors import NoChampion
from data.schema import Category, Rows, Schema, Series, length, take
from models.metrics import labelled
from models.outputs import as_classes, levelled
from monitoring.reference import losses_of
from projects.declaration import Project
from tasks.changes import changed
from tasks.client import REQUEST, Service, asked, told
from tasks.observing import clock
from tasks.resources import Resources

TICK = np.timedelta64(1, "ms")


def inject(
    resources: Resources,
    project: Project,
    change: str,
    dial: float | None,
    columns: Sequence[str],
    count: int,
    *,
    labels: bool,
) -> str:
    """Send so many rows of a change, again and again if there are fewer, and say how good the answers were.

    Rows get new keys and the time of the project's clock. `labels`: their truth, where it is known, is told at once.

    Raises: NoChampion, BadSetting, SourceUnavailable, TooFewRows; ServerUnavailable, Declined.
    """
    if resources.store.ledger.generation(project.name) is None:
        raise NoChampion(project.name)
    seed = uuid.uuid4().int % 2**32  # another stretch each time
    rows = drawn(project.schema, changed(project, change, dial, columns, seed), count, seed)
    if project.schema.time is not None:
        now = np.datetime64(clock(resources, project).replace(tzinfo=None), "us")
        rows[project.schema.time] = now + (np.arange(count) - count) * TICK * (resources.settings.clock == "wall")
    losses, new = [], 0
    with Service(resources.settings.service_url, resources.settings.service_key) as service:
        for start in range(0, count, REQUEST):
            some = take(rows, np.arange(start, min(start + REQUEST, count)))
            predictions = service.predict(project.name, asked(project.schema, some))["predictions"]
            truth = some[project.schema.target]
            losses.append(losses_of(truth, predicted(project.schema, predictions), project.task))
            known = take(some, labelled(truth))
            if labels and length(known):
                new += int(service.label(project.name, told(project.schema, known))["new"])
    wrong = float(np.mean(np.concatenate(losses)))
    said = f"{1 - wrong:.1%} right" if levelled(project.task) else f"mean absolute error {wrong:.4g}"
    return f"{count} answers under {change}, {said}" + (f"; {new} labels are new" if labels else "")


def drawn(schema: Schema, rows: Rows, count: int, seed: int) -> Rows:
    """Return `count` rows in an order of their own, each once a round, with new keys; entities stay what they are."""
    generator, rounds = np.random.default_rng(seed), -(-count // length(rows))
    order = np.concatenate([generator.permutation(length(rows)) for _ in range(rounds)])[:count]
    found = take(rows, order)
    found[schema.key] = np.array([f"injected-{uuid.uuid4().hex}" for _ in range(count)], dtype=object)
    return found


def predicted(schema: Schema, predictions: list[dict[str, Any]]) -> np.ndarray:
    """Return answers as the target's values (N,), or (N, steps, channels)."""
    target = schema.columns[schema.target]
    if isinstance(target, Category):
        return np.array([as_classes(one)["class"] for one in predictions], dtype=object)
    if isinstance(target, Series):
        return np.array([[one["forecast"][name] for name in target.channels] for one in predictions]).transpose(0, 2, 1)
    return np.array([one["value"] for one in predictions], dtype=float)
