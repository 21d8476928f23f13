"""A training from its rows to what follows from its verdict, as the steps a flow calls in order.

A run works in a folder of its own (`artifacts/.runs/<token>/<project>`); its outputs move into place and are
committed under a file lock, after a check of its fencing token, so an orphaned run harms nobody.
"""

import json
import logging
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from data.errors import HoldfastError, LostRace, NothingNew
from data.versions import Snapshot
from models.cards import training
from models.declarations import Device
from models.folder import manifest_sha256
from tasks import comparison, harvesting, plans, promotion, registration
from tasks.choosing import chosen
from tasks.evaluation import evaluate as score
from tasks.fitting import fit as fit_version
from tasks.gathering import learned_before, note
from tasks.ingestion import write_snapshot
from tasks.leases import Run, guard, held
from tasks.pipeline import STEPS, ensure_workspace
from tasks.preparation import prepare as prepare_rows
from tasks.promoting import ATTEMPTS
from tasks.prospects import prospects
from tasks.provenance import CODE, archive_code
from tasks.reports import Report
from tasks.resources import Resources
from tasks.tournament import hold

logger = logging.getLogger(__name__)


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
    return hold(resources, run.project, run.folder, run.intent, device=device, progress=held(resources, run, progress))


def prepare(
    resources: Resources, run: Run, progress: Callable[[float, str], None] = lambda _share, _what: None
) -> Report:
    """Deal the snapshot's rows out to train, judge and anchor, and say what the training can prove with them.

    Raises: TooFewRows.
    """
    plan = plans.lay(resources, run.project, run.folder, run.intent)
    run.project = plans.applied(run.project, plan)
    counts = prepare_rows(run.project, resources.batches, run.folder, progress)
    hoped = prospects(resources, run.project, run.folder)
    sentence = f"{counts['train']:,} rows train, {counts['judge']:,} judge, {counts['anchor']:,} anchor; "
    sentence += chosen(run.folder) + (hoped.sentence if hoped else "")
    return Report(sentence, table=[{"role": role, "rows": rows} for role, rows in counts.items()])


def fit(resources: Resources, run: Run, device: Device, progress: Callable[[float, str], None]) -> Report:
    """Train and export; each epoch is told to `progress`.

    Raises: StaleToken when the lease was lost meanwhile.
    """
    still = held(resources, run, progress)
    fit_version(run.project, run.folder, device=device, progress=still, threads=resources.settings.threads)
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
