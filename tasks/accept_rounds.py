"""What the keeper does about changes that people called harmless: sees that a run acts on each, once."""

import logging
from datetime import datetime, timedelta

from data.errors import HoldfastError
from monitoring.store.acceptances import Acceptance
from tasks import accepting
from tasks.forms import RunState, StartRun
from tasks.resources import Resources

logger = logging.getLogger(__name__)

OVER = {"Failed", "Crashed", "Missing", "Completed"}  # without having ended it: it died, or a server was away
FIRST, LONGEST = timedelta(seconds=30), timedelta(hours=1)
PATIENCE = timedelta(days=1)


class Acceptor:
    """One run of `accept/<project>` for each word of a person's, and another where that one died."""

    def __init__(self, resources: Resources, start_run: StartRun, run_state: RunState) -> None:
        self.resources = resources
        self.start_run, self.run_state = start_run, run_state
        self.looks: dict[int, tuple[datetime, timedelta]] = {}

    def attend(self) -> None:
        """Do what is due about every acceptance.

        Raises: HoldfastError, the first failure, after every one has been looked at.
        """
        failures, waiting = [], self.resources.store.acceptances.open_ones()
        self.looks = {one.id: self.looks[one.id] for one in waiting if one.id in self.looks}
        for asked in waiting:
            try:
                self.see_to(asked)
            except HoldfastError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def see_to(self, asked: Acceptance) -> None:
        """Start the run, look now and then how it is, and give up after a day."""
        now = self.resources.now()
        due, pause = self.looks.get(asked.id, (now, FIRST))
        if now < due:
            return
        self.looks[asked.id] = (now + pause, min(2 * pause, LONGEST))
        if asked.run is None:
            self.start(asked)
            return
        state = self.run_state(asked.run)
        if state == "Cancelled":
            self.give_up(asked, "its run was cancelled")
        elif state in OVER and now - asked.asked_at > PATIENCE:
            self.give_up(asked, "no run of a whole day came to an end")
        elif state in OVER:
            logger.warning("%s: the run that accepts incident %d died", asked.project, asked.incident_id)
            self.start(asked, asked.run)

    def start(self, asked: Acceptance, after: str = "") -> None:
        """Start the run, in the place of run `after`; there is one, however often a keeper dies."""
        parameters = {
            "project": asked.project,
            "incident": asked.incident_id,
            "reason": asked.reason,
            "acceptance": asked.id,
        }
        key = f"acceptance-{asked.project}-{asked.id}-{asked.asked_at.timestamp():.6f}-{after}".rstrip("-")
        run = self.start_run(f"accept/{asked.project}", parameters, key)
        self.resources.store.acceptances.note_run(asked.id, run)

    def give_up(self, asked: Acceptance, why: str) -> None:
        """End an acceptance that no run acts on."""
        accepting.refuse(self.resources, asked, why)
