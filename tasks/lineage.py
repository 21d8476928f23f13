"""Which rows a generation was made from, by their keys: a row may come again in another batch, and is the same row."""

import dataclasses
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.errors import HoldfastError
from data.schema import Schema
from data.versions import Snapshot
from monitoring.records import Generation
from projects.declaration import Project
from tasks.champions import brought
from tasks.preparation import roles
from tasks.registration import snapshot_of
from tasks.resources import Resources
from tasks.snapshot_rows import TEXT, gather

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The keys (N,) of the rows in a generation's snapshot, and of those of them that trained it."""

    keys: np.ndarray
    trained: np.ndarray

    def knew(self, keys: np.ndarray) -> np.ndarray:
        """Tell which of these (N,) were there when it was made."""
        return np.isin(keys.astype(TEXT), self.keys)

    def learned(self, keys: np.ndarray) -> np.ndarray:
        """Tell from which of these (N,) it learned."""
        return np.isin(keys.astype(TEXT), self.trained)


NOTHING = Lineage(np.empty(0, TEXT), np.empty(0, TEXT))


def lineage_of(resources: Resources, project: Project, generation: Generation) -> Lineage:
    """Return what a generation was made from, its roles dealt out by its own schema.

    Raises: Corrupt.
    """
    snapshot = snapshot_made_from(resources, generation)
    with TemporaryDirectory(dir=resources.settings.home, prefix=".lineage-") as scratch:
        schema = schema_of(resources, project, generation, Path(scratch))
        rows = gather(resources.batches, snapshot, schema, Path(scratch) / "batches").known
    found = roles(dataclasses.replace(project, schema=schema), rows)
    return Lineage(rows[schema.key], rows[schema.key][found == "train"])


def schema_of(resources: Resources, project: Project, generation: Generation, scratch: Path) -> Schema:
    """Return the schema of a generation; today's, where its version can't be read any more."""
    try:
        return brought(resources, generation, scratch).schema
    except HoldfastError as error:
        logger.warning("%s: generation %d can't be read: %s", generation.project, generation.number, error)
        return project.schema


def snapshot_made_from(resources: Resources, generation: Generation) -> Snapshot:
    """Return the snapshot that a generation learned from.

    Raises: Corrupt.
    """
    return snapshot_of(resources, generation.project, generation.version, generation.run_id)
