"""What a governor is measured against: the first version for ever, retraining by the calendar, the last known label.

A calendar asks no gate: each version serves as soon as it is trained, on every row whose label had come by then.
"""

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from data.batches import write_batch
from data.errors import TooFewRows
from data.schema import Category, Series, length, take
from data.versions.folder import FolderBatches
from models import baselines
from models.outputs import Outputs
from models.predictor import Predictor, read_version
from projects.declaration import Project
from tasks.backtest import Played, Retraining, Tell
from tasks.backtest_stream import Stream, singly
from tasks.evaluation import repeated_past
from tasks.fitting import fit
from tasks.ingestion import write_snapshot
from tasks.observing import utc
from tasks.preparation import prepare

ASKED = 60  # rows left out on average, for nobody judges here; the steps ask for 20


def scheduled(
    project: Project,
    stream: Stream,
    name: str,
    every: timedelta | None,
    *,
    first: Predictor,
    since: datetime,
    until: datetime,
    folder: Path,
    threads: int,
    tell: Tell,
) -> Played:
    """Replay with a retraining each `every`, None for never; the first version is the governor's own."""
    played = Played(name, np.full(len(stream), None, dtype=object))
    batches, serving, landed = FolderBatches(folder / "batches"), first, datetime.fromtimestamp(0, since.tzinfo)
    now = since
    while now < until:
        before, now = now, min(now + every, until) if every else until
        which = stream.come(before, now)
        if len(which):
            played.predicted[which] = singly(serving.predict(stream.asked(which)))
        tell(now)
        if every is None or now >= until:
            continue
        began = time.perf_counter()
        landed = add(batches, project, stream, landed, now)
        try:
            serving, rows = trained(project, batches, folder, threads)
        except TooFewRows as error:
            played.retrainings.append(Retraining(now, name, "failed", str(error), error.rows, 0.0))
            continue
        spent = time.perf_counter() - began
        played.retrainings.append(Retraining(now, name, "promoted", "the calendar asks no gate", rows, spent))
    return played


def add(batches: FolderBatches, project: Project, stream: Stream, after: datetime, now: datetime) -> datetime:
    """Take in the rows whose labels have come since the last time, and return `now`."""
    rows = take(stream.rows, stream.known(after, now))

    def write(path: Path) -> None:
        write_batch(path, rows, project.schema)

    if length(rows):
        batches.land(project.name, f"known-{now:%Y%m%dT%H%M%S%f}", write, length(rows))
    return now


def trained(project: Project, batches: FolderBatches, folder: Path, threads: int) -> tuple[Predictor, int]:
    """Prepare and fit on everything known, as the training flow does, and return what answers."""
    snapshot = batches.snapshot(project.name)
    share = min(max(ASKED / snapshot.rows, 1e-9), 0.5)
    evaluation = replace(project.evaluation, judge=share, anchor=0.0)
    learner = replace(project, evaluation=evaluation, labels=replace(project.labels, delay=timedelta(0)))
    write_snapshot(folder / "snapshot.json", snapshot)
    prepare(learner, batches, folder)
    fit(learner, folder, device="cpu", progress=lambda _share, _what: None, threads=threads)
    return read_version(folder / "model", features=project.features), snapshot.rows


def trivial(project: Project, stream: Stream, since: datetime) -> Played:
    """Answer each row with the newest label that had arrived by then; a forecast repeats its row's last season."""
    target = stream.schema.columns[stream.schema.target]
    levels = target.levels if isinstance(target, Category) else ()
    if isinstance(target, Series):
        name = "last season"
        outputs = Outputs(repeated_past(project, target, stream.rows), channels=target.channels)
    else:
        name = "previous label"
        truth = stream.rows[stream.schema.target]
        values = baselines.last_arrived(stream.seen, truth, stream.seen, project.labels.delay, levels)
        outputs = Outputs(values, tuple(levels))
    played = Played(name, np.full(len(stream), None, dtype=object))
    replayed = stream.come(since, utc(stream.seen[-1]))
    played.predicted[replayed] = singly(outputs)[replayed]
    return played
