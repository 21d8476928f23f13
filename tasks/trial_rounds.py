"""What the keeper does for versions on trial: place them, compare them, end those that fall behind."""

import json
import logging
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from data.errors import Corrupt, HoldfastError, NoSuchVersion
from monitoring.records import Generation
from monitoring.store.endings import Ending
from monitoring.store.trials import Trial
from tasks import messages
from tasks.ingestion import write_atomically
from tasks.placing import fetched, whole
from tasks.resources import Resources
from tasks.trial_comparison import compare
from tasks.trials import end

logger = logging.getLogger(__name__)

COMPARE = timedelta(seconds=3)
PATIENCE = 20  # a comparison that takes a second is made every 20


class TrialRounds:
    """One round looks at every trial that goes on, and takes away what those before have left."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.due: dict[int, datetime] = {}

    def attend(self) -> None:
        """Look once.

        Raises: HoldfastError, the first failure, after every trial has been looked at.
        """
        going = self.resources.store.trials.open_ones()
        self.tidy({one.project: one.id for one in going})
        failures = []
        for trial in going:
            try:
                self.see(trial)
            except HoldfastError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def see(self, trial: Trial) -> None:
        """Bring one trial to disk, or to its end."""
        asked = self.resources.store.approvals.latest(trial.project, trial.version)
        if asked and asked.answered_at and asked.answered_at >= trial.started_at and asked.answer != "approved":
            self.over(trial, "rejected", f"people were asked about version {trial.version}: {asked.why}")
            return
        problem = str((trial.measured or {}).get("problem", ""))
        if problem:
            self.roll_back(trial, "unfit", f"the service can't run it: {problem}")
            return
        try:
            self.place(trial)
        except (Corrupt, NoSuchVersion) as error:
            self.roll_back(trial, "unfit", f"it is not what was judged: {error}")
            return
        self.weigh(trial)

    def place(self, trial: Trial) -> None:
        """Download a trial's version, verify it, move it into place, and point at it last.

        Raises: Corrupt, NoSuchVersion.
        """
        home = self.home(trial.project)
        target, scratch = home / f"trial-{trial.id}", home / f".trial-{trial.id}.part"
        pointer = {
            "trial": trial.id,
            "mode": trial.mode,
            "share": trial.share,
            "generation": trial.generation,
            "version": trial.version,
            "folder": target.name,
            "manifest_sha256": trial.manifest_sha256,
        }
        text, path = json.dumps(pointer) + "\n", home / "trial.json"
        if path.exists() and path.read_text() == text:
            return
        features, file = self.resources.project(trial.project).features, self.resources.project_file(trial.project)
        if not whole(target, features, trial.manifest_sha256, file):
            shutil.rmtree(target, ignore_errors=True)
            try:
                fetched(self.resources, as_generation(trial), scratch).replace(target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        write_atomically(path, text)
        logger.info("%s: version %s is on disk for trial %d", trial.project, trial.version, trial.id)

    def weigh(self, trial: Trial) -> None:
        """Compare the two versions every few seconds, and end a trial that fell behind by a declared margin."""
        now = self.resources.now()
        if now < self.due.get(trial.id, now):
            return
        found = compare(self.resources, trial)
        self.due[trial.id] = now + max(COMPARE, PATIENCE * (self.resources.now() - now))
        self.resources.store.trials.compared(trial.id, found)
        if found["behind"]:
            self.roll_back(trial, "behind", "; ".join(found["behind"]))

    def roll_back(self, trial: Trial, outcome: Ending, why: str) -> None:
        """End a trial and tell people, once."""
        page = self.resources.models.version_url(trial.project, trial.version)
        text = f"trial {trial.id} ended, version {trial.version} of {trial.project} answers nothing any more: {why}"
        told = messages.alerts(
            self.resources.settings,
            trial.project,
            f"trial-{trial.id}",
            "trial",
            f"{text}. Generation {trial.generation} goes on alone.",
            links={f"version {trial.version} in MLflow": page},
            trial=trial.id,
            version=trial.version,
        )
        end(self.resources, trial, outcome, why, told)
        self.remove(trial.project)

    def over(self, trial: Trial, outcome: Ending, why: str) -> None:
        """End a trial of which people know."""
        end(self.resources, trial, outcome, why)
        self.remove(trial.project)

    def tidy(self, going: dict[str, int]) -> None:
        """Take away what trials that are over have left on disk."""
        for left in (self.resources.settings.home / "generations").glob("*/*trial*"):
            number = going.get(left.parent.name)
            if left.is_dir() and left.name != f"trial-{number}":
                shutil.rmtree(left, ignore_errors=True)
            elif left.is_file() and (number is None or left.name != "trial.json"):
                left.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Point the service at no trial any more."""
        (self.home(name) / "trial.json").unlink(missing_ok=True)

    def home(self, name: str) -> Path:
        """Return where a project's generations stand."""
        return self.resources.settings.home / "generations" / name


def as_generation(trial: Trial) -> Generation:
    """Return a trial's version as what is fetched."""
    return Generation(
        trial.project,
        trial.generation,
        trial.version,
        trial.run_id,
        trial.manifest_sha256,
        trial.started_at,
        trial.actor,
        "",
        [],
    )
