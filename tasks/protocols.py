"""How rows are dealt out again and again to see what a recipe is worth: who learns, who is asked, in each training.

A version is judged by its roles (tasks/preparation.py). A protocol judges what makes versions: it registers nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data.errors import BadDeclaration, TooFewRows
from data.schema import Category, Rows, length
from models.declarations import PROTOCOL, PROTOCOLS
from projects.declaration import Project
from tasks.preparation import newest_of_each, roles

QUARTILES = (0.25, 0.5, 0.75)  # a number is stratified by


@dataclass(frozen=True)
class Fold:
    """One training of a protocol: the positions of the rows that it learns from, and of those it is asked about."""

    name: str
    train: np.ndarray
    test: np.ndarray


def deal(protocol: str, project: Project, rows: Rows, seed: int) -> list[Fold]:
    """Return the trainings of a protocol on rows, which are oldest first where they have a time.

    Rows of one entity are never on both sides, but where the newest of each are asked about.

    Raises: BadDeclaration, TooFewRows.
    """
    found = PROTOCOL.fullmatch(protocol)
    if found is None:
        raise BadDeclaration(f"no protocol {protocol!r}; known: {PROTOCOLS}")
    folds = [fold for fold in dealt(protocol, found, project, rows, seed) if len(fold.train) and len(fold.test)]
    if not folds:
        raise TooFewRows(f"rows of {project.name} for {protocol}", length(rows), 2)
    return folds


def dealt(protocol: str, found: "re.Match[str]", project: Project, rows: Rows, seed: int) -> Iterator[Fold]:
    """Yield the trainings of a protocol that is spelled right."""
    if protocol == "holdout":
        role = roles(project, rows).astype(str)
        yield Fold(protocol, np.flatnonzero(role == "train"), np.flatnonzero(role == "judge"))
    elif protocol == "stratified-holdout":
        share = project.evaluation.judge
        yield from by_place(protocol, stratified(project, rows, round(1 / share), seed), only=0)
    elif protocol == "time-split":
        yield from in_time(project, rows, [1 - project.evaluation.judge, 1.0])
    elif protocol == "last-of-each":
        newest = newest_of_each(project.schema, rows, project.evaluation.judge)
        yield Fold(protocol, np.flatnonzero(~newest), np.flatnonzero(newest))
    elif found["origins"]:
        parts = int(found["origins"]) + 1
        yield from in_time(project, rows, [part / parts for part in range(1, parts + 1)])
    elif found["folds"]:
        yield from by_place("fold", stratified(project, rows, int(found["folds"]), seed))
    elif protocol == "leave-one-out":
        yield from left_out(rows[project.schema.entity_column])
    else:
        yield from left_out(groups(project, rows, found["column"]))


def by_place(name: str, places: np.ndarray, only: int | None = None) -> Iterator[Fold]:
    """Yield a training for each fold (or for `only` one) of rows that have their fold as a number (N,)."""
    for place in range(int(places.max()) + 1) if only is None else [only]:
        label = name if only is not None else f"{name} {place + 1}"
        yield Fold(label, np.flatnonzero(places != place), np.flatnonzero(places == place))


def left_out(groups: np.ndarray) -> Iterator[Fold]:
    """Yield a training for each group (N,), which is asked about the group's rows."""
    names = groups.astype(str)
    for name in np.unique(names):
        yield Fold(str(name), np.flatnonzero(names != name), np.flatnonzero(names == name))


def groups(project: Project, rows: Rows, column: str) -> np.ndarray:
    """Return the groups that are left out one by one: `group` is the project's entity, else a column's values.

    Raises: BadDeclaration.
    """
    schema = project.schema
    if column == "group":
        if schema.entity is None or schema.entity == schema.key:
            why = "by-group leaves out one entity at a time: name it in the schema, or a column, as by-<column>"
            raise BadDeclaration(f"{project.name}: {why}")
        return np.asarray(rows[schema.entity])
    if not isinstance(schema.columns.get(column), Category):
        known = [name for name, one in schema.columns.items() if isinstance(one, Category)]
        raise BadDeclaration(f"by-{column}: no category {column!r}; known: {', '.join(known) or 'none'}")
    return np.asarray(rows[column])


def stratified(project: Project, rows: Rows, count: int, seed: int) -> np.ndarray:
    """Return a fold, 0 to count - 1, for each row (N,): the same for an entity's rows, and like in its targets.

    Entities are shuffled, put in the order of their (first) target, and dealt out in turn; a number is taken by its
    quarter.

    Raises: TooFewRows.
    """
    entities, first, which = np.unique(
        rows[project.schema.entity_column].astype(str), return_index=True, return_inverse=True
    )
    if not 2 <= count <= len(entities):
        raise TooFewRows(f"entities of {project.name} for {count} folds", len(entities), max(count, 2))
    order = np.random.default_rng(seed).permutation(len(entities))
    kinds = strata(project, rows)[first]
    order = order[np.argsort(kinds[order], kind="stable")]
    places = np.empty(len(entities), dtype=np.int64)
    places[order] = np.arange(len(entities)) % count
    return np.asarray(places[which])


def strata(project: Project, rows: Rows) -> np.ndarray:
    """Return which kind of target each row (N,) has."""
    truth = rows[project.schema.target]
    if isinstance(project.schema.columns[project.schema.target], Category):
        return np.asarray(truth.astype(str))
    numbers = truth.astype(float).reshape(len(truth), -1).mean(axis=1)
    return np.asarray(np.searchsorted(np.quantile(numbers, QUARTILES), numbers))


def in_time(project: Project, rows: Rows, edges: list[float]) -> Iterator[Fold]:
    """Yield a training for each stretch of time between two shares of the rows, on what was known when it began.

    Raises: BadDeclaration, without a time column.
    """
    schema = project.schema
    if schema.time is None:
        raise BadDeclaration(f"{project.name} has no time column, so nothing says which rows were first")
    times = rows[schema.time]
    ordered, delay = np.sort(times), np.timedelta64(project.labels.delay)
    for number, (start, end) in enumerate(pairwise(edges), start=1):
        first = ordered[min(int(len(ordered) * start), len(ordered) - 1)]
        last = ordered[int(len(ordered) * end)] if end < 1 else None
        known = (times < first - delay) if delay else times < first
        asked = (times >= first) & (np.ones(len(times), dtype=bool) if last is None else times < last)
        yield Fold(f"origin {number}", np.flatnonzero(known), np.flatnonzero(asked))
