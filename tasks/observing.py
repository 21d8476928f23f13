"""Windows of the log as arrays: what was asked, what was answered, what turned out to be true."""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.descriptors import describe
from data.packing import unpack_rows
from data.schema import Rows
from models.predictor import Predictor, read_version
from monitoring.logged import answered
from monitoring.records import Generation, Prediction, Verdict, WindowKey
from projects.declaration import Project
from tasks.resources import Resources


def clock(resources: Resources, project: Project) -> datetime:
    """Return "now" on the project's clock: wall time, or in a replay (`HOLDFAST_CLOCK=data`) the newest time sent."""
    if resources.settings.clock == "data":
        return resources.store.predictions.newest_time(project.name) or resources.now()
    return resources.now()


def judged_windows(resources: Resources, project: Project) -> list[tuple[WindowKey, Verdict]]:
    """Return every window that has a data verdict, oldest first, over all generations."""
    verdicts = resources.store.verdicts.all(project.name, check="data")
    return [(verdict.window, verdict) for verdict in verdicts]


def predictor_of(resources: Resources, generation: Generation) -> Predictor:
    """Return the predictor of a generation, as the keeper fetched it; the project's feature code is checked."""
    folder = resources.settings.home / "generations" / generation.project / str(generation.number)
    features = resources.project(generation.project).features
    return cached_predictor(folder, generation.manifest_sha256, features)


@lru_cache(maxsize=8)
def cached_predictor(folder: Path, manifest: str, features: object) -> Predictor:
    """Read a version folder once a process."""
    return read_version(folder, features=features, manifest=manifest)  # type: ignore[arg-type]


def observed(predictor: Predictor, predictions: list[Prediction]) -> Rows:
    """Return the monitored columns of logged predictions: what came, described, and what was answered."""
    if not predictions:
        return {}
    rows = unpack_rows(predictor.schema, [prediction.features for prediction in predictions])
    return {**describe(predictor.encoder.columns, predictor.encoder.derive(rows)), **answered(predictions)}


def utc(moment: np.datetime64) -> datetime:
    """Return an aware datetime."""
    return datetime.fromtimestamp(int(moment.astype("datetime64[us]").astype(int)) / 1e6, tz=UTC)
