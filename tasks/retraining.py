"""A training from its lease to its verdict, as the steps a flow calls in order.

A run works in a folder of its own (`artifacts/.runs/<token>/<project>`); its outputs move into place and are
committed under a file lock, after a check of its fencing token, so an orphaned run harms nobody.
"""

import dataclasses
import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from data.errors import Busy, HoldfastError, LostRace, NothingNew, ServerUnavailable, StaleToken
from data.versions import Snapshot
from models.cards import training
from models.declarations import Device
from models.folder import manifest_sha256
from models.judging import Judgement
from monitoring.records import Intent
from projects.declaration import Project
from tasks import comparison, harvesting, plans, promotion, registration
from tasks.choosing import chosen
from tasks.evaluation import evaluate as score
from tasks.fitting import fit as fit_version
from tasks.gathering import learned_before, note
from tasks.ingestion import write_snapshot
from tasks.pipeline import STEPS, ensure_workspace
from tasks.preparation import prepare as prepare_rows
from tasks.promoting import ATTEMPTS
from tasks.prospects import prospects
from tasks.provenance import CODE, archive_code
from tasks.reports import Report
from tasks.resources import Resources
from tasks.tournament import hold

logger = logging.getLogger(__name__)


class AlreadyDone(HoldfastError):
    """Another run has this intent: nothing is left to do."""


@dataclass
class Run:
    """One training under way: what its steps have made so far."""

    project: Project
    holder: str
    token: int
    folder: Path
    intent: int | None = None
    attempt: int | None = None
    version: str = ""
    judgement: Judgement | None = None
    outcome: str = "failed"
    lost: threading.Event = field(default_factory=threading.Event)


@contextmanager
def leased(resources: Resources, name: str, *, holder: str, intent: int | None = None) -> Iterator[Run]:
    """Take the project's lease, renew it while the block runs, and end the intent with the run's outcome.

    Raises:
        Busy: another training holds the lease.
        AlreadyDone: another run has claimed this intent, or it has ended.
    """
    project = resources.project(name)
    now = resources.now()
    if intent is not None:
        token, attempt = claimed(resources, intent, holder)
    else:
        attempt = None
        token = resources.store.leases.acquire(name, holder, resources.settings.lease_ttl, now)
    folder = resources.settings.workspace / "artifacts" / ".runs" / str(token) / name
    run = Run(project, holder, token, folder, intent, attempt)
    finished = threading.Event()
    renewing = threading.Thread(target=renew, args=(resources, run, finished), daemon=True, name="lease")
    renewing.start()
    try:
        yield run
    finally:
        finished.set()
        renewing.join()
        close(resources, run)


def claimed(resources: Resources, intent: int, holder: str) -> tuple[int, int]:
    """Take the lease for an intent and claim it; return token and attempt. Exactly one run of an attempt gets both.

    Raises: AlreadyDone; Busy, when a training that is not this intent's holds the lease.
    """
    store, now = resources.store, resources.now()
    promise = open_promise(resources, intent)
    try:
        token = store.leases.acquire(promise.project, holder, resources.settings.lease_ttl, now)
    except Busy:
        open_promise(resources, intent)
        raise
    if not store.intents.claim(intent, promise.attempt, holder, now):
        store.leases.release(promise.project, token)
        open_promise(resources, intent)
        raise AlreadyDone(f"intent {intent} was claimed by another run")
    return token, promise.attempt


def open_promise(resources: Resources, intent: int) -> Intent:
    """Return an intent that waits for a run.

    Raises: AlreadyDone.
    """
    found = resources.store.intents.get(intent)
    if found is None or found.state == "ended":
        raise AlreadyDone(f"intent {intent} is settled: {found.outcome if found else 'unknown'}")
    if found.state == "running":
        raise AlreadyDone(f"intent {intent} is already being done by run {found.run}")
    return found


def renew(resources: Resources, run: Run, finished: threading.Event) -> None:
    """Keep the lease until `finished`; once it is lost, say so to the run."""
    own = dataclasses.replace(resources)  # connections of this thread's
    pause = resources.settings.lease_seconds / 4
    while not finished.wait(pause):
        try:
            own.store.leases.renew(run.project.name, run.token, own.settings.lease_ttl, own.now())
        except StaleToken:
            run.lost.set()
            return
        except ServerUnavailable as error:
            logger.warning("%s: the lease is renewed later: %s", run.project.name, error)


def close(resources: Resources, run: Run) -> None:
    """End the intent and give the lease back, unless a newer holder has both; a failed run's intent stays open."""
    shutil.rmtree(run.folder.parent, ignore_errors=True)
    store = resources.store
    try:
        store.leases.check(run.project.name, run.token)
        if run.intent is not None and run.outcome != "failed":
            store.intents.end(run.intent, run.outcome, resources.now(), run.attempt)
        store.leases.release(run.project.name, run.token)
    except StaleToken:
        logger.warning("%s: lease %d was taken over; its outcome is dropped", run.project.name, run.token)


def guard(resources: Resources, run: Run) -> None:
    """Stop a run whose lease has gone to another.

    Raises: StaleToken.
    """
    resources.store.leases.check(run.project.name, run.token)


def collect(resources: Resources, run: Run) -> Report:
    """Land what the service saw and people labelled, then fix the snapshot this run learns from.

    Raises: NoBatch; NothingNew, which ends the intent, where no person asked for this run.
    """
    archive_code(run.folder / CODE, resources.project_file(run.project.name))  # what is edited later made nothing
    report = harvesting.harvest(resources, run.project.name)
    ensure_workspace(resources)
    now = resources.now()  # what lands from here on may not be in it
    snapshot = resources.batches.snapshot(run.project.name)
    since = plans.drifted_since(resources, run.project.name, run.intent)
    refuse_known(resources, run, snapshot, since)
    if run.intent is not None:
        note(resources, run.intent, snapshot, since, now)
    write_snapshot(run.folder / "snapshot.json", snapshot)
    return report


def refuse_known(resources: Resources, run: Run, snapshot: Snapshot, since: datetime | None) -> None:
    """Stop a run that nobody asked for, where its rows are the last training's: labels came that no batch may hold.

    Raises: NothingNew.
    """
    promise = None if run.intent is None else resources.store.intents.get(run.intent)
    if promise is None or promise.actor is not None:
        return
    if learned_before(resources, run.project, snapshot.hash, since, before=promise.opened_at):
        run.outcome = "unneeded"
        raise NothingNew(f"nothing new to learn: {run.project.name} learned from snapshot {snapshot.hash[:12]} before")


def compete(resources: Resources, run: Run, device: Device, progress: Callable[[float, str], None]) -> Report:
    """Let the contestants of the project's tournament compete on earlier rows; the winner's settings train.

    Raises: StaleToken when the lease was lost meanwhile.
    """

    def tell(share: float, what: str) -> None:
        if run.lost.is_set():
            guard(resources, run)
        progress(share, what)

    return hold(resources, run.project, run.folder, run.intent, device=device, progress=tell)


def prepare(resources: Resources, run: Run) -> Report:
    """Deal the snapshot's rows out to train, judge and anchor, and say what the training can prove with them.

    Raises: TooFewRows.
    """
    plan = plans.lay(resources, run.project, run.folder, run.intent)
    run.project = plans.applied(run.project, plan)
    counts = prepare_rows(run.project, resources.batches, run.folder)
    hoped = prospects(resources, run.project, run.folder)
    sentence = f"{counts['train']:,} rows train, {counts['judge']:,} judge, {counts['anchor']:,} anchor; "
    sentence += chosen(run.folder) + (hoped.sentence if hoped else "")
    return Report(sentence, table=[{"role": role, "rows": rows} for role, rows in counts.items()])


def fit(resources: Resources, run: Run, device: Device, progress: Callable[[float, str], None]) -> Report:
    """Train and export; each epoch is told to `progress`.

    Raises: StaleToken when the lease was lost meanwhile.
    """

    def tell(share: float, what: str) -> None:
        if run.lost.is_set():
            guard(resources, run)
        progress(share, what)

    fit_version(run.project, run.folder, device=device, progress=tell, threads=resources.settings.threads)
    return Report(training(json.loads((run.folder / "history.json").read_text())))


def evaluate(resources: Resources, run: Run) -> Report:
    """Score the version on rows it has not seen, then move the run's outputs into the workspace."""
    found = score(run.project, run.folder)
    publish(resources, run)
    metric = run.project.evaluation.metric
    value = found["judge"][metric]
    sentence = f"{metric} {value['value']:.3f} on {found['rows']['judge']} judge rows, baseline {found['baseline']:.3f}"
    table = [{"rows": "judge", "metric": name, **numbers} for name, numbers in found["judge"].items()]
    return Report(sentence, table=table)


def publish(resources: Resources, run: Run) -> None:
    """Move the outputs to `artifacts/<project>/` and commit each step, so that `dvc repro` has nothing to do."""
    target = resources.artifacts(run.project.name)
    target.mkdir(parents=True, exist_ok=True)
    with resources.workspace.lock():
        guard(resources, run)
        for name in ("snapshot.json", plans.PLAN, *(made for step in STEPS for made in step.makes)):
            replace(run.folder / name, target / name)
        for step in STEPS:
            resources.workspace.commit(f"{step.name}@{run.project.name}")


def replace(source: Path, target: Path) -> None:
    """Put a copy of a file or a folder in the place of `target`."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def register(resources: Resources, run: Run) -> Report:
    """Give the version to the registry as a candidate, with its card, metrics and lineage."""
    guard(resources, run)
    run.version = registration.register(resources, run.project, run.folder, holder=run.holder, token=run.token)
    url = resources.models.version_url(run.project.name, run.version)
    return Report(f"version {run.version} is a candidate", links={f"version {run.version} in MLflow": url})


def judge(resources: Resources, run: Run) -> Report:
    """Compare the candidate with the champion on the same rows, gate by gate."""
    guard(resources, run)
    judgement = comparison.judge_version(resources, run.project, run.folder)
    registration.tell_verdict(
        resources,
        run.project,
        run.version,
        judgement,
        manifest=manifest_sha256(run.folder / "model"),
        champion=judgement.champion,
        token=run.token,
    )
    run.judgement = judgement
    url = resources.models.version_url(run.project.name, run.version)
    return Report(judgement.sentence, table=judgement.table(), links={f"version {run.version} in MLflow": url})


def settle(resources: Resources, run: Run) -> Report:
    """Act on the judgement: promote, keep the champion, refuse, or ask a person.

    Where another version came to serve meanwhile, this one is judged anew against it.

    Raises: LostRace, the champion changes faster than a version is judged.
    """
    for _ in range(ATTEMPTS):
        guard(resources, run)
        if run.judgement is None:
            raise HoldfastError("judge comes before settle")
        try:
            report, run.outcome = promotion.settle(
                resources, run.project, run.version, run.judgement, intent=run.intent, token=run.token
            )
        except LostRace as lost:
            logger.info("%s: %s", run.project.name, lost)
            judge(resources, run)
        else:
            return report
    raise LostRace(f"{run.project.name} got {ATTEMPTS} other champions while version {run.version} was judged")
