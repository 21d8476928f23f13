"""What a project's recipe is worth: trained as often as a protocol asks, with the steps that make its versions.

Encoder, network, threshold and baselines are the production ones; what only a version needs (an export, golden rows)
is left out. Trainings run beside each other, a process a core.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from data.schema import Rows, length, take
from models.encoding import Encoder
from models.learners import learned_answers, neighbours
from models.lists import Asked, Rated
from models.outputs import Outputs
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import fit
from projects import discovery
from projects.declaration import Project
from tasks.changes import known_rows
from tasks.choosing import learned
from tasks.evaluation import baseline_values, telling
from tasks.fitting import cutoff_of
from tasks.plans import Plan
from tasks.protocols import Fold, deal
from tasks.resources import Resources
from tasks.role_files import follows
from tasks.snapshot_rows import BATCH

NETWORK = "network"
MEMORY = Path("/dev/shm")  # noqa: S108 ( of this machine: checkpoints that nobody goes on from need no disk)
TRAININGS = 4  # a process of their own pays from so many on: it starts in seconds
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Answered:
    """What one training answered to its test rows: outputs by model, the network's first."""

    fold: str
    seed: int
    test: np.ndarray  # positions of the rows
    learned: int  # rows
    outputs: dict[str, Outputs]
    seconds: dict[str, float]
    epochs: list[tuple[float, float]]  # training and validation loss
    users: np.ndarray | None = None  # whose lists were judged, where items are ranked
    lists: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)  # model -> metric -> parts (U, 2)


@dataclass(frozen=True)
class Evaluated:
    """A protocol's trainings, and the rows they were about."""

    project: Project
    protocol: str
    rows: Rows
    origin: str
    seeds: int
    trainings: list[Answered]
    seconds: float  # of the wall clock


def evaluate(
    resources: Resources,
    name: str,
    protocol: str,
    *,
    seeds: int = 1,
    processes: int | None = None,
    progress: Progress = lambda _share, _what: None,
) -> Evaluated:
    """Train and ask as often as the protocol says, from so many seeds; nothing is registered.

    Raises: BadDeclaration, TooFewRows, SourceUnavailable.
    """
    started, project = time.monotonic(), resources.project(name)
    rows, origin = known_rows(resources, project)
    rows = telling(project, rows)
    first = project.training.seed
    jobs = [(fold, seed) for seed in range(first, first + seeds) for fold in deal(protocol, project, rows, seed)]
    count = processes or (min(cores(), len(jobs)) if len(jobs) >= TRAININGS else 1)
    found = []
    for answered in run(project, resources.settings.project_folders, rows, jobs, count):
        found.append(answered)
        progress(len(found) / len(jobs), f"{len(found)} of {len(jobs)} trainings")
    return Evaluated(project, protocol, rows, origin, seeds, found, time.monotonic() - started)


def run(
    project: Project, folders: Sequence[Path], rows: Rows, jobs: list[tuple[Fold, int]], processes: int
) -> Iterator[Answered]:
    """Yield what each training answered, in the order of the jobs."""
    threads = max(1, cores() // processes)
    if processes == 1:
        yield from (once(project, rows, fold, seed, None) for fold, seed in jobs)
        return
    setting = (project.name, tuple(folders), rows, threads)
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=settle, initargs=setting) as pool:
        yield from pool.map(in_child, jobs)


CHILD: dict[str, Any] = {}  # what a child process works with; set once, when it starts


def settle(name: str, folders: tuple[Path, ...], rows: Rows, threads: int) -> None:
    """Load the project in a child process, for a declaration can't travel there."""
    CHILD.update(project=discovery.load(name, folders), rows=rows, threads=threads)


def in_child(job: tuple[Fold, int]) -> Answered:
    """Do one training in a child process."""
    return once(CHILD["project"], CHILD["rows"], *job, CHILD["threads"])


def once(project: Project, rows: Rows, fold: Fold, seed: int, threads: int | None) -> Answered:
    """Learn from the fold's rows and answer the others, with the baselines beside."""
    project = replace(project, training=replace(project.training, seed=seed))
    train, test = take(rows, fold.train), take(rows, fold.test)
    train = take(train, learned(project, train, Plan(), warm=False)[0])
    started = time.perf_counter()
    plain = {name: values for name, values in train.items() if name != BATCH}
    encoder = Encoder.fit(project.schema, project.features, plain, project.model)
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as work:
        trained = fit(
            project.model,
            project.training,
            encoder,
            plain,
            workdir=Path(work),
            progress=lambda _: None,
            threads=threads,
        )
    cutoff = cutoff_of(project, project.training, encoder, trained.network, plain)
    seconds = {NETWORK: time.perf_counter() - started}
    predictor = Predictor(encoder, Inside(trained.network, encoder.spec), 0.0, cutoff)
    asked = {name: test[name] for name in test if name not in (project.schema.target, BATCH)}
    outputs = {NETWORK: predictor.predict(asked)}
    labels = rows if follows(project) else train  # in time order those of other rows arrive too
    outputs["trivial"] = Outputs(baseline_values(project, labels, test, predictor.levels), predictor.levels)
    for name in project.evaluation.baselines:
        simple = learned_answers((name,), encoder, plain, test, seed=seed)[name]
        seconds[name] = simple.seconds
        outputs[name] = Outputs(simple.values, predictor.levels)
    liked = Asked.of(encoder, test) if project.schema.ranking else None
    lists = listed(predictor, liked, plain) if liked else {}
    losses = [(epoch.train_loss, epoch.validation_loss) for epoch in trained.history]
    users = liked.users if liked else None
    return Answered(fold.name, seed, fold.test, length(plain), outputs, seconds, losses, users, lists)


def listed(predictor: Predictor, asked: Asked, train: Rows) -> dict[str, dict[str, np.ndarray]]:
    """Judge the network's lists, those of the most popular items, and those of the neighbours."""
    encoder = predictor.encoder
    rated = Rated.of(encoder, train)
    near = neighbours(encoder, train)
    return {
        NETWORK: asked.by_network(predictor, rated),
        "popularity": asked.by_popularity(encoder, train, rated),
        "neighbours": asked.judged(lambda at: near.scores(asked.codes[[at]])[0], rated),
    }


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
