"""The rows of one role as files: what train, judge and anchor each hold, and the batch that each row came from."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from data.batches import read_batch
from data.schema import Category, Number, Rows, Schema, row_bytes
from data.stored import Stored, write_pieces
from projects.declaration import Project
from tasks.snapshot_rows import BATCH, once

ROLES = ("train", "judge", "anchor")


def most_held(project: Project) -> int:
    """Return how many rows may be in memory at once, by the project's own word."""
    return max(1, project.training.resident * 10**6 // row_bytes(project.schema))


def write_role(folder: Path, schema: Schema, role: str, pieces: Iterable[Rows], rows: int) -> str:
    """Write so many rows and, beside them, the batch each came from; return a hash of them.

    The hash is of the rows as they are learned from, in their order: the same in every file format.
    """
    names, codes = dict[str, int](), []

    def noted() -> Iterator[Rows]:
        for piece in pieces:
            codes.append(np.array([names.setdefault(name, len(names)) for name in piece[BATCH].tolist()], np.int32))
            yield piece

    digests = write_pieces(role_file(folder, role), noted(), rows, schema)
    np.savez_compressed(origins_file(folder, role), names=np.array(list(names), str), codes=np.concatenate(codes))
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def read_role(folder: Path, schema: Schema, role: str) -> Rows:
    """Return a prepared role's rows, with the batch each came from under `BATCH`."""
    return {**read_batch(role_file(folder, role), schema), BATCH: origins(folder, role)}


def stored_role(folder: Path, schema: Schema, role: str) -> Stored:
    """Return a prepared role's rows as they stay in their file."""
    return Stored(role_file(folder, role), schema)


def some_of(project: Project, folder: Path, role: str) -> Rows:
    """Return a prepared role's rows, as `read_role` does: all that may be in memory at once, or evenly so many of them.

    Where items are ranked all are needed: what a user has rated is not listed.
    """
    schema, stored, most = project.schema, stored_role(folder, project.schema, role), most_held(project)
    if stored.rows <= most or schema.ranking:
        return read_role(folder, schema, role)
    places = np.linspace(0, stored.rows - 1, most).astype(np.int64)
    return {**stored.take(places), BATCH: origins(folder, role)[places]}


def write_labels(project: Project, folder: Path, known: Rows) -> None:
    """Keep when each row of the snapshot happened and what its label was, where they come one after the other.

    Labels of rows that have no role arrive too, and the trivial rule knows them.
    """
    path, schema = labels_file(folder), project.schema
    path.unlink(missing_ok=True)
    if schema.time is None or not follows(project):
        return
    values = known[schema.target]
    if values.dtype == object:
        names = dict[str, int]()
        codes = np.array([names.setdefault(value, len(names)) for value in values.tolist()], np.int32)
        np.savez_compressed(path, times=known[schema.time], names=np.array(list(names), str), codes=codes)
    else:
        np.savez_compressed(path, times=known[schema.time], values=values)


def labels(project: Project, folder: Path, train: Rows) -> Rows:
    """Return the times and labels of all rows as `write_labels` kept them; else the rows that train."""
    if project.schema.time is None or not follows(project):
        return train
    with np.load(labels_file(folder)) as kept:
        values = kept["values"] if "values" in kept else once(kept["names"], {})[kept["codes"]]
        return {project.schema.time: kept["times"], project.schema.target: values}


def follows(project: Project) -> bool:
    """Tell whether the trivial rule repeats the last label that had arrived: where rows come in the order of time."""
    schema = project.schema
    single = type(schema.columns[schema.target]) in (Category, Number)
    return single and schema.time is not None and not project.evaluation.exchangeable and schema.ranking is None


def labels_file(folder: Path) -> Path:
    """Return where the labels of all rows are."""
    return folder / "prepared" / "labels.npz"


def origins(folder: Path, role: str) -> np.ndarray:
    """Return the name of the batch (N,) that each row came from."""
    with np.load(origins_file(folder, role)) as kept:
        names = once(kept["names"], {})
        return np.asarray(names[kept["codes"]])


def role_file(folder: Path, role: str) -> Path:
    """Return where a role's rows are."""
    return folder / "prepared" / f"{role}.parquet"


def origins_file(folder: Path, role: str) -> Path:
    """Return where the batches of a role's rows are named."""
    return folder / "prepared" / f"{role}.origins.npz"
