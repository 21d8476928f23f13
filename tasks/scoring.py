"""Answering many rows at once with the champion, into the same durable log as the service and into one file.

A row's key is its prediction's id, and the log holds an id once: a run that was killed goes on where it stopped,
and the same batch again gives the answers that were given.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil

from data import quarantine
from data.batches import file_sha256
from data.errors import BadSetting, LostRace, NoChampion, SourceUnavailable
from data.packing import pack_all
from data.requests import Requests, read_requests
from data.schema import Rows, length, take
from data.sources import Batch, fetch, file_batch, read_file
from models.outputs import Outputs
from models.predictor import Predictor
from monitoring.records import Generation, Prediction
from projects.declaration import Project
from tasks.observing import predictor_of, utc
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)

CHUNK = 1000  # rows predicted together and committed together
Progress = Callable[[float, str], None]


@dataclass
class Scored:
    """What became of one batch. `answered` counts what this run logged, `known` what the log held already."""

    batch: str
    file: Path
    answered: int = 0
    known: int = 0
    unfit: dict[int, str] = field(default_factory=dict)
    generations: set[int] = field(default_factory=set)

    def row(self) -> dict[str, Any]:
        """One line of a table."""
        generations = ", ".join(map(str, sorted(self.generations)))
        counts = {"answered": self.answered, "known": self.known, "quarantined": len(self.unfit)}
        return {"batch": self.batch, **counts, "generations": generations, "file": str(self.file)}


def score(
    resources: Resources, name: str, *, file: Path | None = None, out: Path | None = None, progress: Progress
) -> Report:
    """Answer every row of `file`, or of the project's `scoring` source, and write one Parquet file a batch.

    `out`: the Parquet file; HOME/scores/<project>/<batch>.parquet if left out. Rows that the service would refuse
    go to quarantine as `score.<batch>`.

    Raises: NoChampion; SourceUnavailable; SchemaMismatch; BadSetting when there is nothing to read.
    """
    project = resources.project(name)
    if resources.store.ledger.generation(name) is None:
        raise NoChampion(name)
    scored = [
        score_batch(resources, project, batch, out or target(resources, name, batch.name), progress)
        for batch in batches_of(project, file)
    ]
    if not scored:
        return Report("the scoring source has no batch")
    answered, known, unfit = (sum(row.row()[key] for row in scored) for key in ("answered", "known", "quarantined"))
    sentence = f"{answered:,} rows answered, {known:,} had been before, {unfit:,} in quarantine"
    links = {f"{one.batch}.parquet": str(one.file) for one in scored if one.file.exists()}
    return Report(sentence, links=links, table=[one.row() for one in scored])


def batches_of(project: Project, file: Path | None) -> Iterator[Batch]:
    """Yield what is to be scored: one file of a person's, or the project's declared source.

    Raises: BadSetting, SourceUnavailable.
    """
    if file is None and project.scoring is None:
        raise BadSetting(
            f"{project.name} declares no source of rows to score: name a CSV or Parquet file, "
            f"or declare Project(scoring=Files('…'))"
        )
    if file is None:
        assert project.scoring is not None
        yield from fetch(project.scoring)
        return
    try:
        yield Batch(file_batch(file), read_file(file))
    except (OSError, ValueError) as error:
        raise SourceUnavailable(f"{file}: {error}") from error


def target(resources: Resources, name: str, batch: str) -> Path:
    """Return where a batch's answers go unless somebody says so."""
    return resources.settings.home / "scores" / name / f"{batch}.parquet"


def score_batch(resources: Resources, project: Project, batch: Batch, out: Path, progress: Progress) -> Scored:
    """Answer one batch, chunk by chunk, each durable before the next; the file stands when all of it is answered."""
    generation, predictor = champion(resources, project.name)
    requests = read_requests(batch.frame, predictor.schema, batch.name, predictor.encoder.levels)
    scored = Scored(batch.name, out, unfit=dict(requests.unfit))
    rows = length(requests.rows)
    with parquet(out) as write:
        for start in range(0, rows, CHUNK):
            newer = promoted_meanwhile(resources, generation)
            if newer is not None:
                if newer[1].schema != predictor.schema:
                    raise LostRace(f"{project.name} was promoted to another schema meanwhile: score {batch.name} again")
                generation, predictor = newer
            chosen = np.arange(start, min(start + CHUNK, rows))
            write(resources, answer(resources, generation, predictor, requests, chosen, scored))
            progress(min(1.0, (start + CHUNK) / max(1, rows)), f"{batch.name}: {chosen[-1] + 1:,} of {rows:,} rows")
    if scored.unfit:
        reasons = {position: [why] for position, why in scored.unfit.items()}
        frame = batch.frame.reset_index(drop=True)
        quarantine.add(resources.batches, project.name, f"score.{batch.name}"[:80], frame, reasons)
    tell(resources, project.name, scored)
    return scored


def champion(resources: Resources, name: str) -> tuple[Generation, Predictor]:
    """Return what serves now, from this machine's verified copy.

    Raises: NoChampion; SourceUnavailable while the keeper has not brought it here.
    """
    generation = resources.store.ledger.generation(name)
    if generation is None:
        raise NoChampion(name)
    folder = resources.settings.home / "generations" / name / str(generation.number)
    if not folder.is_dir():
        raise SourceUnavailable(
            f"generation {generation.number} of {name} is not on this machine: `holdfast up` brings it"
        )
    return generation, predictor_of(resources, generation)


def promoted_meanwhile(resources: Resources, before: Generation) -> tuple[Generation, Predictor] | None:
    """Return what serves now if it isn't `before` any more and is on this machine: the service waits for that too."""
    serving = resources.store.ledger.generation(before.project)
    if serving is None or serving.number == before.number:
        return None
    try:
        return champion(resources, before.project)
    except SourceUnavailable:
        return None


def answer(
    resources: Resources,
    generation: Generation,
    predictor: Predictor,
    requests: Requests,
    chosen: np.ndarray,
    scored: Scored,
) -> list[Prediction]:
    """Return the logged answers of some rows; those that the log lacks are predicted and committed first."""
    rows = take(requests.rows, chosen)
    ids = rows[predictor.schema.key].tolist()
    packed = pack_all(predictor.schema, rows)
    known = resources.store.predictions.find(generation.project, ids)
    missing = np.array([i for i, id_ in enumerate(ids) if id_ not in known], dtype=np.int64)
    outputs = predictor.predict(take(rows, missing))
    fresh = fresh_predictions(generation, predictor, rows, missing, packed, outputs, resources.now())
    stored = {one.id: one for one in resources.store.predictions.append(fresh)} | known
    scored.answered += sum(one.id not in known for one in fresh)
    answered = []
    for i, id_ in enumerate(ids):
        position = int(requests.positions[chosen[i]])
        if id_ not in stored:
            scored.unfit[position] = "the answer is not a finite number: nothing was logged"
        elif stored[id_].features != packed[i]:
            scored.unfit[position] = (
                f"{id_!r} was answered before, for other features: a key names one answer, so give each row one of its "
                "own, as by the day it stands for"
            )
        else:
            answered.append(stored[id_])
            scored.known += id_ in known
            scored.generations.add(stored[id_].generation)
    return answered


def fresh_predictions(
    generation: Generation,
    predictor: Predictor,
    rows: Rows,
    missing: np.ndarray,
    packed: list[bytes],
    outputs: Outputs,
    at: datetime,
) -> list[Prediction]:
    """Return the predictions of the rows at `missing` whose outputs are finite, as the service would log them.

    `at`: when they are answered.
    """
    schema = predictor.schema
    finite = outputs.finite
    made = []
    for place, output, ok in zip(missing.tolist(), outputs.answers(), finite.tolist(), strict=True):
        if not ok:
            continue
        time = rows[schema.time][place] if schema.time else np.datetime64("NaT")
        row_time = at if np.isnat(time) else utc(time)
        id_ = rows[schema.key][place]
        made.append(Prediction(id_, generation.project, generation.number, at, row_time, packed[place], output))
    return made


@contextmanager
def parquet(path: Path) -> Iterator[Callable[[Resources, list[Prediction]], None]]:
    """Yield a function that appends logged answers to a Parquet file; the file appears whole, at the end.

    Columns: id, generation, version, answered_at, row_time; class, confidence and probability_<level>, or value.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    for rest in path.parent.glob(f".{path.name}.*.part"):  # of runs that were killed
        if not psutil.pid_exists(int(rest.name.split(".")[-3])):
            rest.unlink(missing_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.part")
    versions: dict[int, str] = {}
    writers: list[pq.ParquetWriter] = []

    def write(resources: Resources, answered: list[Prediction]) -> None:
        if not answered:
            return
        if {one.generation for one in answered} - versions.keys():
            past = resources.store.ledger.generations(answered[0].project)
            versions.update({each.number: each.version for each in past})
        lines = [line(one, versions[one.generation]) for one in answered]
        if not writers:
            writers.append(pq.ParquetWriter(half, pa.Table.from_pylist(lines).schema, compression="zstd"))
        writers[0].write_table(pa.Table.from_pylist(lines, schema=writers[0].schema))

    try:
        yield write
        for writer in writers:
            writer.close()
        if writers:
            half.replace(path)
        else:
            path.unlink(missing_ok=True)  # no row was fit: an older file would pass for this run's
    finally:
        half.unlink(missing_ok=True)


def line(one: Prediction, version: str) -> dict[str, Any]:
    """Return one answer as a row of the file."""
    known = {"id": one.id, "generation": one.generation, "version": version}
    known |= {"answered_at": one.at, "row_time": one.row_time}
    output = dict(one.output)
    shares = output.pop("probabilities", {})
    return {**known, **output, **{f"probability_{level}": share for level, share in shares.items()}}


def tell(resources: Resources, name: str, scored: Scored) -> None:
    """Write to the ledger what was scored, and the hash of the file that holds it."""
    row = scored.row()
    digest = file_sha256(scored.file) if scored.file.exists() else None
    reason = f"{scored.answered} rows answered, {scored.known} had been before, {len(scored.unfit)} in quarantine"
    resources.store.ledger.decide(
        name,
        kind="score",
        subject=f"batch {scored.batch}",
        reason=reason,
        inputs={**row, "sha256": digest},
        now=resources.now(),
    )
    logger.info("%s %s: %s", name, scored.batch, reason)
