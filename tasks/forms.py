"""What the keeper does about questions to people: shows a form, tells, reminds, ends them, and tidies up after."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from data.errors import HoldfastError, NoSuchVersion
from monitoring.store.approvals import Approval
from tasks import approving, asking
from tasks.resources import Resources

logger = logging.getLogger(__name__)

StartRun = Callable[[str, dict[str, Any], str], str]
RunState = Callable[[str], str]
EndRun = Callable[[str, str, str], bool]

LOST = {"Failed", "Crashed", "Missing", "Completed"}  # a run that a person cancelled is made anew by the reminder only
LOOK = timedelta(seconds=30)
LONGEST = timedelta(hours=1)
STAGES = {"rejected": "refused", "expired": "refused", "void": "candidate"}


class Forms:
    """One form in the orchestrator for each open question.

    `end_run(run, how, why)` ends a form that waits, and tells whether it has ended; one at work ends by itself.
    """

    def __init__(self, resources: Resources, start_run: StartRun, run_state: RunState, end_run: EndRun) -> None:
        self.resources = resources
        self.start_run, self.run_state, self.end_run = start_run, run_state, end_run
        self.looks: dict[int, tuple[datetime, timedelta]] = {}

    def attend(self) -> None:
        """Do what is due about every question.

        Raises: HoldfastError, the first failure, after every question has been looked at.
        """
        failures = []
        for approval in self.resources.store.approvals.unclosed():
            try:
                self.see_to(approval)
            except HoldfastError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def see_to(self, approval: Approval) -> None:
        """Do what is due about one question."""
        now = self.resources.now()
        if approval.answered_at is not None:
            self.close(approval)
        elif approval.expires_at <= now:
            approving.expire(self.resources, approval)
        elif approval.reminded_at is None and now - approval.asked_at >= (approval.expires_at - approval.asked_at) / 2:
            self.remind(approval)
        elif approval.run is None:
            self.show(approval)
        else:
            self.look(approval)

    def show(self, approval: Approval) -> None:
        """Make the form, and tell people where it is; where it can't be made in time they are told without it."""
        store, now = self.resources.store.approvals, self.resources.now()
        try:
            run = self.begin(approval)
        except HoldfastError:
            late = (now - approval.asked_at).total_seconds() > self.resources.settings.intent_grace_seconds
            if approval.told_at is None and late:
                store.told(approval.id, now, asking.question(self.resources, approval, None))
            raise
        store.note_run(approval.id, run, now, asking.question(self.resources, approval, run))

    def begin(self, approval: Approval, after: str = "") -> str:
        """Start the run that shows the form, in the place of run `after`; there is one, however often a keeper dies.

        Its key holds the time too: other homes that use the same orchestrator count from 1 as well.
        """
        parameters = {"project": approval.project, "version": approval.version}
        key = f"approval-{approval.project}-{approval.id}-{approval.asked_at.timestamp():.6f}-{after}"
        return self.start_run(f"ask/{approval.project}", parameters, key.rstrip("-"))

    def look(self, approval: Approval) -> None:
        """Look now and then whether the form is there still, and make a new one where it is lost."""
        assert approval.run is not None
        now = self.resources.now()
        due, pause = self.looks.get(approval.id, (now, LOOK))
        if now < due:
            return
        gone = self.run_state(approval.run) in LOST
        if gone:
            run = self.begin(approval, approval.run)
            self.resources.store.approvals.note_run(approval.id, run, now)
            logger.info("%s: the form about version %s is made anew", approval.project, approval.version)
        pause = min(2 * pause, LONGEST) if gone else LOOK  # what makes it fail may stay for a while
        self.looks[approval.id] = (now + pause, pause)

    def remind(self, approval: Approval) -> None:
        """Ask once more, by a form that is there; people are reminded, form or not."""
        store, now, run = self.resources.store.approvals, self.resources.now(), approval.run
        try:
            if run is not None and self.run_state(run) in {*LOST, "Cancelled"}:
                run = self.begin(approval, run)
                store.note_run(approval.id, run, now)
        finally:
            store.reminded(approval.id, now, asking.reminder(self.resources, approval, run))

    def close(self, approval: Approval) -> None:
        """Tell the registry and the form of an answer; done once both have heard it."""
        self.mark(approval)
        how = "Answered" if approval.answer in ("approved", "rejected") else "Closed"
        if approval.run is None or self.end_run(approval.run, how, approving.told(approval)):
            self.resources.store.approvals.closed(approval.id, self.resources.now())
            self.looks.pop(approval.id, None)

    def mark(self, approval: Approval) -> None:
        """Let a version's page say that the answer was no; what was promoted or asked anew since says so itself."""
        name, version = approval.project, approval.version
        serving = self.resources.store.ledger.generation(name)
        latest = self.resources.store.approvals.latest(name, version)
        outlived = (serving and serving.version == version) or (latest and latest.id != approval.id)
        if approval.answer not in STAGES or outlived:
            return
        models = self.resources.models
        try:
            models.tag(name, version, {"stage": STAGES[approval.answer]})
            models.drop_alias(name, "challenger", version)
            line = f"{approval.answer.upper()}: {approving.told(approval)}"
            models.head(name, version, line, asking.asked_gates(self.resources, approval))
        except NoSuchVersion:
            logger.info("%s: version %s is gone from the registry", name, version)
