"""Which rows a generation was made from, by their keys: a row may come again in another batch, and is the same row."""

import dataclasses
import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.errors import Corrupt, NoSuchVersion, WrittenBefore
from data.schema import Schema
from monitoring.records import Generation
from projects.declaration import Project
from tasks.observing import cached_schema, logged_schema
from tasks.preparation import roles
from tasks.provenance import DEALT
from tasks.registration import made, snapshot_of
from tasks.resources import Resources
from tasks.snapshot_rows import among, gather

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The keys (N,) of the rows in a generation's snapshot, and of those of them that trained it."""

    keys: np.ndarray
    trained: np.ndarray

    def knew(self, keys: np.ndarray) -> np.ndarray:
        """Tell which of these (N,) were there when it was made."""
        return among(keys, self.keys)

    def learned(self, keys: np.ndarray) -> np.ndarray:
        """Tell from which of these (N,) it learned."""
        return among(keys, self.trained)


NOTHING = Lineage(np.empty(0, object), np.empty(0, object))


def lineage_of(resources: Resources, project: Project, generation: Generation) -> Lineage:
    """Return what a generation was made from, its roles dealt out by its own schema and shares.

    One whose files are gone can't be asked either; of it, where its batches lack what today's rows need, nothing is
    known.

    Raises: Corrupt, ServerUnavailable.
    """
    snapshot = snapshot_of(resources, generation.project, generation.version, generation.run_id)
    with TemporaryDirectory(dir=resources.settings.home, prefix=".lineage-") as scratch:
        own = as_made(resources, project, generation, Path(scratch) / "model")
        try:
            rows = gather(resources.batches, snapshot, own.schema, Path(scratch) / "batches").known
        except WrittenBefore as error:
            logger.warning("%s: what generation %d learned from: %s", generation.project, generation.number, error)
            return NOTHING
    keys = rows[own.schema.key]
    return Lineage(keys, keys[roles(own, rows) == "train"])


def as_made(resources: Resources, project: Project, generation: Generation, scratch: Path) -> Project:
    """Return the project with the schema and the shares of a generation, as far as they are on record."""
    dealt = made(resources, generation.project, generation.version).inputs["facts"].get(DEALT, "{}")
    own = project.of_schema(schema_of(resources, project, generation, scratch))
    return dataclasses.replace(own, evaluation=dataclasses.replace(own.evaluation, **json.loads(dealt)))


def schema_of(resources: Resources, project: Project, generation: Generation, scratch: Path) -> Schema:
    """Return the schema of a generation, whatever became of its code; today's, where its files are gone.

    Raises: ServerUnavailable.
    """
    try:
        return logged_schema(resources, generation.project, generation.number)
    except (Corrupt, OSError):
        logger.info("%s: generation %d is fetched for its schema", generation.project, generation.number)
    try:
        folder = resources.models.download(generation.project, generation.version, scratch)
        return cached_schema(folder, generation.manifest_sha256)
    except (Corrupt, NoSuchVersion) as error:
        logger.warning("%s: generation %d can't be read: %s", generation.project, generation.number, error)
        return project.schema
