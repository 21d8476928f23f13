"""A version answers beside the champion for a while: in its shadow, or a share of its rows. People start and stop it.

The keeper places it and looks after it (tasks.trial_rounds); the service runs it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data.errors import BadSetting, HoldfastError, NoTrial, StaleVerdict
from models.judging import hindering
from models.predictor import read_version
from monitoring.effects import NewDecision
from monitoring.records import Generation, Message
from monitoring.store.endings import Ending
from monitoring.store.trials import Mode, Trial
from projects.declaration import Project
from tasks.observing import logged_schema
from tasks.registration import judged
from tasks.reports import Report
from tasks.resources import Resources
from tasks.trial_comparison import compare

logger = logging.getLogger(__name__)

GOVERNOR = "governor"
MOST = 0.5


def start(resources: Resources, name: str, version: str, *, mode: Mode, share: float, actor: str) -> Report:
    """Let a version answer beside the champion: one that passed its gates, or about which people are asked.

    `share`: of the keys, for a canary.

    Raises:
        BadSetting: the share is none.
        NoTrial: it may not, or another version does already.
        StaleVerdict: it was not judged against what serves.
        NoSuchVersion, Corrupt: it is gone, or not what was judged.
        LostRace: another champion came meanwhile.
    """
    if mode == "canary" and not 0 < share <= MOST:
        raise BadSetting(f"--canary {share:g}: a share of the keys above 0 and at most {MOST:g}")
    project, serving = resources.project(name), resources.store.ledger.generation(name)
    if serving is None:
        raise NoTrial(f"nothing of {name} serves yet, so there is nothing to run beside")
    manifest = checked(resources, project, serving, version)
    rollout = project.rollout
    margins = {
        "metric": project.evaluation.metric,
        "minimum_rows": rollout.minimum_rows,
        "error_margin": rollout.error_margin,
        "latency_margin": rollout.latency_margin,
        "metric_margin": rollout.metric_margin,
    }
    said = f"answers {share:.3g} of the keys" if mode == "canary" else "answers in the shadow"
    why = f"version {version} {said} of generation {serving.number} (version {serving.version})"
    run_id, now = resources.models.run_of(name, version), resources.now()
    share = share if mode == "canary" else 0.0
    new = Trial(0, name, version, run_id, manifest, serving.number, mode, share, margins, actor, now)
    inputs = {"version": version, "champion": serving.version, "mode": mode, "share": share, "actor": actor}
    trial = resources.store.trials.start(new, NewDecision(name, "trial", f"version {version}", why, inputs))
    logger.info("%s: trial %d: %s", name, trial.id, why)
    return Report(f"trial {trial.id}: {why}; holdfast trial show {name}", table=[line(trial)])


def checked(resources: Resources, project: Project, serving: Generation, version: str) -> str:
    """Return the manifest of a version that may run beside what serves.

    Raises: NoTrial, StaleVerdict, NoSuchVersion, Corrupt.
    """
    name, about = project.name, f"version {version} of {project.name}"
    if version == serving.version:
        raise NoTrial(f"{about} is the champion")
    resources.models.known(name, version)
    verdict = judged(resources, name, version)
    if verdict is None or verdict.inputs["champion"] != serving.version:
        against = verdict.inputs["champion"] or "no champion" if verdict else "nothing"
        raise StaleVerdict(
            f"{about} was judged against {against}, not against version {serving.version}: judge it anew"
        )
    failed, asked = hindering(verdict.inputs["gates"]), resources.store.approvals.latest(name, version)
    if asked is not None and asked.answer in ("rejected", "expired"):
        raise NoTrial(f"{about} was {asked.answer} by {asked.actor}: it can't be tried")
    if failed and (asked is None or asked.answer == "void"):
        raise NoTrial(f"{about} failed {', '.join(failed)}, and people are not asked about it: it can't be tried")
    manifest = str(verdict.inputs["manifest"])
    with TemporaryDirectory(dir=resources.settings.home) as scratch:
        folder = resources.models.download(name, version, Path(scratch) / "model")
        theirs = read_version(
            folder, features=project.features, manifest=manifest, project=resources.project_file(name)
        ).schema
    ours = logged_schema(resources, name, serving.number)
    if list(theirs.features.items()) != list(ours.features.items()) or theirs.identifiers != ours.identifiers:
        raise NoTrial(f"{about} reads other columns than version {serving.version}: it can't answer the same rows")
    return manifest


def offer(resources: Resources, project: Project, version: str) -> None:
    """Start the trial that a project declares for versions that wait for a person; asking goes on without one.

    A newer challenger takes the place of an older one, but not of a trial that a person has started.
    """
    rollout = project.rollout
    if rollout.mode == "none" or resources.store.ledger.generation(project.name) is None:
        return
    try:
        before = resources.store.trials.open(project.name)
        if before is not None and before.version == version:
            return
        if before is not None and before.actor == GOVERNOR:
            end(resources, before, "superseded", f"version {version} is the newer challenger")
        start(resources, project.name, version, mode=rollout.mode, share=rollout.share, actor=GOVERNOR)
    except HoldfastError as error:
        logger.warning("%s: no trial of version %s: %s", project.name, version, error)


def stop(resources: Resources, name: str, *, actor: str, reason: str) -> Report:
    """End the trial of a project.

    Raises: NoTrial.
    """
    trial = resources.store.trials.open(name)
    if trial is None:
        resources.project(name)
        raise NoTrial(f"no version of {name} is on trial")
    if not end(resources, trial, "stopped", f"stopped by {actor}: {reason}"):
        ended = resources.store.trials.get(trial.id)
        return Report(f"trial {trial.id} has ended already: {ended.reason if ended else ''}")
    return Report(f"trial {trial.id} of version {trial.version} is stopped; the champion answers alone")


def end(
    resources: Resources, trial: Trial, outcome: Ending, reason: str, messages: Sequence[Message] = (), **facts: Any
) -> bool:
    """End a trial on record; return False where it has ended."""
    inputs = {"trial": trial.id, "outcome": outcome, "version": trial.version, "generation": trial.generation, **facts}
    line = NewDecision(
        trial.project, "trial", f"version {trial.version}", f"trial {trial.id} {outcome}: {reason}", inputs
    )
    done = resources.store.trials.end(trial.id, outcome, reason, resources.now(), decision=line, messages=messages)
    if done:
        logger.info("%s: trial %d %s: %s", trial.project, trial.id, outcome, reason)
    return done


def show(resources: Resources, name: str) -> dict[str, Any]:
    """Return the trial of a project that goes on, else the last one, with how both versions do.

    Raises: NoTrial.
    """
    trial = resources.store.trials.open(name)
    if trial is not None:
        return {**line(trial), "compared": compare(resources, trial)}
    past = resources.store.trials.history(name)
    if not past:
        resources.project(name)
        raise NoTrial(f"no version of {name} was ever on trial: holdfast trial start {name} VERSION --shadow")
    return {**line(past[-1]), "compared": past[-1].compared}


def line(trial: Trial) -> dict[str, Any]:
    """Return what a trial is, in plain JSON values."""
    return {
        "trial": trial.id,
        "project": trial.project,
        "version": trial.version,
        "generation": trial.generation,
        "mode": trial.mode,
        "share": trial.share,
        "started": trial.started_at.isoformat(),
        "by": trial.actor,
        "ended": trial.ended_at.isoformat() if trial.ended_at else None,
        "outcome": trial.outcome or "goes on",
        "reason": trial.reason,
    }
