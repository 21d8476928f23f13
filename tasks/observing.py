"""Windows of the log as arrays: what was asked, what was answered, what turned out to be true."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data.packing import unpack_rows
from data.schema import Number, Rows, Schema, Series, concatenate, schema_from_json, take
from data.unpacking import unpack_features
from models.declarations import Features
from models.features import features_sha256
from models.folder import PREDICTOR, verified
from models.predictor import Predictor, read_version
from monitoring.answers import Answers, Reader, join, objects, read_labels
from monitoring.projections import Projection
from monitoring.records import Generation, Prediction, Truth, WindowKey
from monitoring.store import Store
from projects.declaration import Project
from tasks.resources import Resources

EVER = datetime.fromtimestamp(0, UTC)  # before any row


def clock(resources: Resources, project: Project) -> datetime:
    """Return "now" on the project's clock: wall time, or in a replay (`HOLDFAST_CLOCK=data`) the newest time sent."""
    if resources.settings.clock == "data":
        return resources.store.predictions.newest_time(project.name) or resources.now()
    return resources.now()


def predictor_of(resources: Resources, generation: Generation) -> Predictor:
    """Return the predictor of a generation, as the keeper fetched it; the project's feature code is checked."""
    folder = resources.settings.home / "generations" / generation.project / str(generation.number)
    features, file = resources.project(generation.project).features, resources.project_file(generation.project)
    code = Code(features_sha256(features) if features else None, file, features)
    return cached_predictor(folder, generation.manifest_sha256, code)


@dataclass(frozen=True)
class Code:
    """A project's own code that a version may need; the file is loaded anew each time, so its hash tells it apart."""

    sha256: str | None
    file: Path
    features: Features | None = field(compare=False)


@lru_cache(maxsize=8)
def cached_predictor(folder: Path, manifest: str, code: Code) -> Predictor:
    """Read a version folder once a process."""
    return read_version(folder, features=code.features, manifest=manifest, project=code.file)


def logged_schema(resources: Resources, name: str, number: int) -> Schema:
    """Return the schema by which a generation's answers are logged, whatever the project file says today."""
    generation = next(one for one in resources.store.ledger.generations(name) if one.number == number)
    folder = resources.settings.home / "generations" / name / str(number)
    return cached_schema(folder, generation.manifest_sha256)


@lru_cache(maxsize=32)
def cached_schema(folder: Path, manifest: str) -> Schema:
    """Read a version's schema once a process."""
    return schema_from_json(json.loads(verified(folder, manifest)[PREDICTOR])["encoder"]["schema"])


def asked(resources: Resources, predictions: list[Prediction], names: list[str]) -> Rows:
    """Return these columns of logged predictions, each row read by the schema of the generation that answered it."""
    lanes: dict[tuple[str, int], list[int]] = {}
    for position, prediction in enumerate(predictions):
        lanes.setdefault((prediction.project, prediction.generation), []).append(position)
    parts = []
    for (name, number), positions in lanes.items():
        schema = logged_schema(resources, name, number)
        rows = unpack_rows(schema, [predictions[position].features for position in positions])
        parts.append({column: rows[column] for column in names})
    return take(concatenate(parts), np.argsort(np.concatenate(list(lanes.values()))))


def observed(
    store: Store,
    predictor: Predictor,
    window: WindowKey,
    read: Reader,
    projection: Projection | None = None,
    also: Sequence[str] = (),
) -> tuple[Rows, Answers]:
    """Return the monitored columns of a window of the log, and its answers: what came, described, and what was said.

    With the `projection` of the reference also what the network made of it, for which it is asked again. `also`: of
    `label`, `id` and `row_time` those that the answers should come with. Pictures are in memory a stretch at a time.
    """
    parts: dict[str, list[np.ndarray]] = {}
    said: list[Answers] = []

    def take_in(features: Sequence[bytes], outputs: Sequence[str], *more: Sequence[Any]) -> None:
        rows = unpack_features(predictor.schema, features)
        came = predictor.encoder.describe(predictor.encoder.derive(rows))
        for name, values in {**came, **embedded(predictor, rows, projection)}.items():
            parts.setdefault(name, []).append(values)
        said.append(with_columns(read(outputs), also, more))

    store.predictions.scan(window, ("features", "output", *also), take_in)
    answers = join(said)
    rows = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
    return ({**rows, **answers.watched} if said else {}), answers


def answers_in(store: Store, window: WindowKey, read: Reader, also: Sequence[str] = ()) -> Answers:
    """Return the answers of a window of the log alone, with what `also` names of each row."""
    said: list[Answers] = []
    store.predictions.scan(
        window, ("output", *also), lambda outputs, *more: said.append(with_columns(read(outputs), also, more))
    )
    return join(said)


def with_columns(answers: Answers, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> Answers:
    """Return answers with more columns of the log."""
    found = dict(zip(names, columns, strict=True))
    return replace(
        answers,
        labels=read_labels(found["label"]) if "label" in found else None,
        ids=objects(found["id"]) if "id" in found else None,
        times=objects(found["row_time"]) if "row_time" in found else None,
    )


def embedded(predictor: Predictor, rows: Rows, projection: Projection | None) -> Rows:
    """Return the watched columns of the network's embedding; none without a projection."""
    return projection.apply(predictor.embed(rows)) if projection is not None and predictor.embeds else {}


def utc(moment: np.datetime64) -> datetime:
    """Return an aware datetime."""
    return datetime.fromtimestamp(int(moment.astype("datetime64[us]").astype(int)) / 1e6, tz=UTC)


def truth_of(schema: Schema, said: Sequence[Truth | None]) -> np.ndarray:
    """Return what people said as the target's column (N,), or (N, steps, channels) of a forecast."""
    target = schema.columns[schema.target]
    if isinstance(target, Number | Series):
        shape = target.shape if isinstance(target, Series) else ()
        return np.array([0.0 if one is None else one for one in said], dtype=np.float64).reshape(len(said), *shape)
    labels = np.empty(len(said), dtype=object)
    labels[:] = [str(one) for one in said]
    return labels
