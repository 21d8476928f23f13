"""Rows that no training has seen: what a project file says the world has in store, and changes put into known rows.

A change that a project declares is rows of their own; an injection (`data.injection`) is put into the source's rows, of
any project that has a column for it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.batches import coerce, keys_in
from data.columns.category import words_of
from data.errors import BadSetting, NoBatch, TooFewRows, nearest
from data.injection import INJECTIONS
from data.requests import objections
from data.schema import Rows, concatenate, length, take
from data.sources import Batch, fetch
from data.validation import validate
from projects.declaration import Project, Source
from tasks.resources import Resources
from tasks.snapshot_rows import BATCH, gather, newest_of_each_key

HOLD = "hold"  # the ledger's word for a change that is kept out of the batches
DIAL = 0.6  # how much an injection changes where nobody says


def good_rows(project: Project, source: Source) -> Rows:
    """Return the rows of a source that meet every expectation, as accepted batches would have them.

    Raises: SourceUnavailable, TooFewRows.
    """
    parts = []
    for batch in fetch(source):
        typed, _ = coerce(batch.frame.reset_index(drop=True), project.schema)
        checked = validate(typed, project.schema, project.expectations)
        if checked.refused is None and checked.good.any():
            good = take(typed, checked.good)
            parts.append({**good, BATCH: np.full(length(good), batch.name, dtype=object)})
    if not parts:
        raise TooFewRows(f"good rows in the source of {project.name}", 0, 1)
    rows = concatenate(parts)
    return take(rows, newest_of_each_key(rows, project.schema))


def known_rows(resources: Resources, project: Project) -> tuple[Rows, str]:
    """Return the rows of a project's accepted batches, or, before any was landed, of its source; and which they are.

    Raises: SourceUnavailable, TooFewRows.
    """
    try:
        snapshot = resources.batches.snapshot(project.name)
    except NoBatch:
        rows = good_rows(project, project.source)
        return rows, f"{length(rows):,} rows of its source"
    with TemporaryDirectory(prefix="holdfast-rows-") as cache:
        rows = gather(resources.batches, snapshot, project.schema, Path(cache)).all()
    return rows, f"{length(rows):,} rows of snapshot {snapshot.hash[:12]}"


def later(project: Project, name: str) -> Rows:
    """Return the labelled rows that a declared change brings: those that the service takes, one by one.

    Raises: BadSetting, SourceUnavailable, TooFewRows.
    """
    if name not in project.changes:
        raise BadSetting(f"{project.name} declares no change {name!r}; {nearest(name, project.changes)}")
    schema, parts = project.schema, []
    for batch in fetch(project.changes[name]):
        typed, _ = coerce(batch.frame.reset_index(drop=True), schema)
        bad = np.any([mask for mask, _ in schema.columns[schema.target].objections(typed[schema.target])], axis=0)
        taken = ~np.isin(np.arange(length(typed)), list(objections(typed, schema))) & ~bad
        parts.append(take(typed, taken))
    if not sum(map(length, parts)):
        raise TooFewRows(f"good rows in the change {name} of {project.name}", 0, 1)
    rows = concatenate(parts)
    return take(rows, newest_of_each_key(rows, schema))


def injections(project: Project) -> list[str]:
    """Return the names of the injections that some feature of a project can take."""
    return [name for name, one in INJECTIONS.items() if any(map(one.fits, project.schema.features.values()))]


def changed(project: Project, name: str, dial: float | None, columns: Sequence[str], seed: int) -> Rows:
    """Return the rows of a change by its name: a declared one's as they are, else the source's with an injection.

    `dial`: 0 to 1, how much an injection changes; `columns`: into which, all that it fits where none is named. Rows
    with an injection have keys of their own, others with another dial: they are other rows, which nobody answered yet.

    Raises: BadSetting, also for a dial or columns that would change nothing; SourceUnavailable, TooFewRows.
    """
    if name in project.changes:
        if dial is not None or columns:
            option = "--column" if dial is None else "--dial"
            raise BadSetting(f"the rows of {name} are sent as they are: {without_option(project, option)}")
        return later(project, name)
    if dial is not None and name in INJECTIONS and not INJECTIONS[name].dialled:
        raise BadSetting(f"{name} is the same at any strength: {without_option(project, '--dial')}")
    dial = DIAL if dial is None else dial
    features = project.schema.features
    fitting = {} if name not in INJECTIONS else {c: f for c, f in features.items() if INJECTIONS[name].fits(f)}
    if not fitting:
        known = {*project.changes, *injections(project)}
        raise BadSetting(f"{project.name} has no change {name!r}; {nearest(name, known)}")
    for column in columns:
        if column not in fitting:
            raise BadSetting(f"{name} can't be put into {column!r}; {nearest(column, fitting)}")
    rows, drawn = good_rows(project, project.source), np.random.default_rng(seed)
    found = {column: values for column, values in rows.items() if column != BATCH}
    for column in columns or fitting:
        found[column] = INJECTIONS[name].apply(fitting[column], rows[column], dial, drawn)
    key = project.schema.key
    found[key] = np.array([f"{one}~{name}-{dial:g}" for one in rows[key].tolist()], dtype=object)
    return found


def without_option(project: Project, option: str) -> str:
    """Say what to do with an option that is for injections only, --dial for those that have a strength."""
    named = " or ".join(name for name in injections(project) if INJECTIONS[name].dialled or option != "--dial")
    return f"leave out {option}" + (f", or name an injection: {named}" if named else "")


def hold_back(resources: Resources, project: Project, name: str) -> None:
    """Keep the rows of a change out of this home's batches from now on, until another change is named.

    Raises: BadSetting.
    """
    if name not in project.changes:
        raise BadSetting(f"{project.name} declares no change {name!r}; {nearest(name, project.changes)}")
    if held(resources, project) != name:
        resources.store.ledger.decide(
            project.name,
            kind=HOLD,
            subject=f"change {name}",
            reason=f"the rows of {name} are kept out of the batches, to be met later",
            inputs={"change": name},
            now=resources.now(),
        )


def held(resources: Resources, project: Project) -> str | None:
    """Return the declared change that is kept out of this home's batches, if one is."""
    lines = resources.store.ledger.decisions(project.name, kinds=(HOLD,), limit=1)
    name = str(lines[0].inputs["change"]) if lines else None
    return name if name in project.changes else None


def held_keys(resources: Resources, project: Project) -> frozenset[str]:
    """Return the keys of the rows that are kept out of this home's batches."""
    name = held(resources, project)
    return frozenset() if name is None else frozenset(later(project, name)[project.schema.key].tolist())


def held_within(resources: Resources, project: Project, keys: frozenset[str]) -> list[str]:
    """Return the accepted batches that hold rows which are to be kept out."""
    try:
        snapshot = resources.batches.snapshot(project.name)
    except NoBatch:
        return []
    with TemporaryDirectory(prefix="holdfast-rows-") as cache:
        paths = sorted(resources.batches.restore(snapshot, Path(cache)))
        return [path.stem for path in paths if not keys.isdisjoint(keys_in(path, project.schema))]


def without(batch: Batch, key: str, keys: frozenset[str]) -> Batch | None:
    """Return a batch without the rows of these keys; None where none is left."""
    if not keys or key not in batch.frame.columns:
        return batch
    kept = batch.frame[~np.isin(words_of(batch.frame[key], ())[0].astype(str), list(keys))]
    return replace(batch, frame=kept) if len(kept) else None
