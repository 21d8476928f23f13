"""One round of the keeper: make what is true on disk, in the registry and in Prefect what the ledger says.

Each duty stands alone: a server that is away stops only the duties that need it, and the next round tries again.
"""

import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from data.environment import child_environment
from data.errors import Corrupt, DeliveryFailed, HoldfastError
from monitoring import alerts
from monitoring.records import Generation, Intent, Message
from tasks import model_cards, promotion, reminding, watching
from tasks.accept_rounds import Acceptor
from tasks.aliases import alarm
from tasks.forms import EndRun, Forms, RunState, StartRun
from tasks.hooking import Hook
from tasks.messages import ways
from tasks.person_runs import TERMINAL
from tasks.placing import intact, marks, place, pointed
from tasks.requesting import Requester
from tasks.resources import Resources
from tasks.trial_rounds import TrialRounds

logger = logging.getLogger(__name__)

Emit = Callable[[str, dict[str, Any]], None]
Duty = Callable[[], None]

DEAD = {"Failed", "Crashed", "Cancelled", "Missing"}
ALIAS_SECONDS = 5.0


class Keeper:
    """Sees the ledger's promises through. `emit`, `start_run`, `run_state` and `end_run` speak to the orchestrator."""

    def __init__(
        self, resources: Resources, emit: Emit, start_run: StartRun, run_state: RunState, end_run: EndRun
    ) -> None:
        self.resources = resources
        self.emit, self.start_run, self.run_state = emit, start_run, run_state
        self.reporting: subprocess.Popen[bytes] | None = None
        self.reconciled_at = resources.now() - timedelta(seconds=ALIAS_SECONDS)
        self.requester = Requester(resources, start_run, run_state)
        self.hook = Hook(resources)
        self.trials = TrialRounds(resources)
        self.acceptor = Acceptor(resources, start_run, run_state)
        self.forms = Forms(resources, start_run, run_state, end_run)
        self.refused: set[tuple[str, int]] = set()
        self.broken: set[str] = set()
        self.marks: dict[str, object] = {}
        self.asked: dict[tuple[int, int], datetime] = {}
        self.channels = ways(resources.settings, {"prefect": self.send_event})

    def round(self) -> None:
        """Do every duty once.

        Raises: HoldfastError, the first failure, after every duty has been tried.
        """
        failures = [error for duty in self.duties() if (error := self.attempt(duty))]
        if failures:
            raise failures[0]

    def attempt(self, duty: Duty) -> HoldfastError | None:
        """Do one duty; a failure is returned so that the others still get their turn.

        A bug, or what a stranger's data made of one, stops no other duty either; its traceback is logged once.
        """
        name = named(duty)
        try:
            duty()
        except HoldfastError as error:
            return error
        except Exception as error:
            if name not in self.broken:
                logger.exception("%s failed unexpectedly; the other duties go on", name)
            self.broken.add(name)
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return HoldfastError(f"{name} failed unexpectedly: {said[:200]}; the traceback is in the keeper's log")
        self.broken.discard(name)
        return None

    def duties(self) -> list[Duty]:
        """Return what there is to do: what answers requests first."""
        names = self.resources.store.ledger.projects()
        each: list[Duty] = [partial(self.requester.answer, one) for one in self.resources.store.requests.open_ones()]
        each += [partial(self.fetch, name) for name in names]
        each += [self.remind, self.deliver, self.see_intents_through, self.forms.attend, self.decide_again, self.report]
        each += [self.hook.attend, self.trials.attend, self.acceptor.attend]
        if (self.resources.now() - self.reconciled_at).total_seconds() >= ALIAS_SECONDS:
            self.reconciled_at = self.resources.now()
            judged = self.resources.store.ledger.judged()  # the first champion is asked for before anything serves
            each += [partial(self.requester.reconcile, name) for name in sorted({*names, *judged})]
            each += [partial(model_cards.renew, self.resources, name) for name in names]
        return each

    def fetch(self, name: str) -> None:
        """Bring the serving generation to disk, verified, and point the service at it; again where that is spoiled.

        A generation that fails its checks is answered with a rollback, once.
        """
        serving = self.resources.store.ledger.generation(name)
        home = self.resources.settings.home / "generations" / name
        if serving is None or (name, serving.number) in self.refused or self.stands(serving, home):
            return
        try:
            place(self.resources, serving, home)
        except Corrupt as error:
            self.refused.add((name, serving.number))
            logger.exception("%s: generation %d is not served", name, serving.number)
            said = f"version {serving.version} of {name} is not what was promoted, and is not served: {error}"
            alarm(self.resources, serving, said)
            promotion.rollback(self.resources, name, None, actor="keeper", reason=str(error))

    def stands(self, serving: Generation, home: Path) -> bool:
        """Tell whether the service is pointed at a generation whose files are sound; they are read when they change."""
        if pointed(home) != serving.number:
            return False
        found = marks(home / str(serving.number))
        if self.marks.get(serving.project) != found:
            if not intact(serving, home):
                logger.warning("%s: generation %d is spoiled on this disk", serving.project, serving.number)
                return False
            self.marks[serving.project] = found
        return True

    def remind(self) -> None:
        """Tell people again of what they have not acknowledged."""
        reminding.remind(self.resources)

    def deliver(self) -> None:
        """Send what waits in the outbox: alerts to people, events to the orchestrator."""
        alerts.drain(self.resources.store, self.channels, self.resources.now())

    def send_event(self, message: Message) -> None:
        """Give an event to the orchestrator, with the ids that the store gave out.

        Raises: DeliveryFailed.
        """
        ids = {key: message.payload[key] for key in ("incident", "intent", "token") if key in message.payload}
        payload = {**message.payload["payload"], **ids}
        try:
            self.emit(str(message.payload["event"]), payload)
        except HoldfastError as error:
            raise DeliveryFailed(message.channel, str(error)) from error

    def see_intents_through(self) -> None:
        """Start a run for each intent that has none, and again for one whose run died.

        Raises: HoldfastError, the first failure, after every intent has been looked at.
        """
        looks = [partial(self.see_through, intent) for intent in self.resources.store.intents.open_ones()]
        failures = [error for look in looks if (error := self.attempt(look))]
        if failures:
            raise failures[0]

    def see_through(self, intent: Intent) -> None:
        """Start what waits too long, and anew what died; a project that trains already is left alone."""
        if intent.state == "running" and self.dead(intent):
            self.free(intent)
            if self.taken_back(intent):
                return
            again = self.resources.store.intents.restart(intent.id, intent.attempt, self.resources.now())
            if again.outcome in (None, "abandoned"):  # else it ended while we looked
                self.note_restart(intent, again)
            intent = again
        waited = (self.resources.now() - intent.opened_at).total_seconds()
        due = intent.attempt > 1 or waited > self.resources.settings.intent_grace_seconds  # no event tells of a second
        if intent.state == "open" and due and not self.busy(intent.project):
            self.start(intent)

    def busy(self, name: str) -> bool:
        """Tell whether somebody trains this project; a lease that has run out holds nobody up."""
        lease = self.resources.store.leases.current(name)
        return lease is not None and lease.expires_at > self.resources.now()

    def start(self, intent: Intent) -> None:
        """Ask for a run of an intent, once a grace period; a run too many finds the intent claimed."""
        now, grace = self.resources.now(), self.resources.settings.intent_grace_seconds
        attempt_ = (intent.id, intent.attempt)
        if attempt_ in self.asked and (now - self.asked[attempt_]).total_seconds() <= grace:
            return
        period = int((now - intent.opened_at).total_seconds() // grace)
        parameters = {"project": intent.project, "intent": intent.id}
        self.start_run(f"train/{intent.project}", parameters, f"intent-{intent.id}-{intent.attempt}-{period}")
        self.asked[attempt_] = now

    def dead(self, intent: Intent) -> bool:
        """Tell whether the run of an intent is over without having ended it.

        A run that renews its lease lives, unless the orchestrator saw its process end.
        """
        lease = self.resources.store.leases.current(intent.project)
        if lease is None or lease.holder != intent.run or lease.expires_at <= self.resources.now():
            return True
        return not by_hand(intent) and self.run_state(str(intent.run)) in DEAD

    def taken_back(self, intent: Intent) -> bool:
        """End the intent of a person whose run was cancelled, and tell whether it was: nobody wants it any more."""
        if intent.actor is None or by_hand(intent) or self.run_state(str(intent.run)) != "Cancelled":
            return False
        if self.resources.store.intents.end(intent.id, "cancelled", self.resources.now(), intent.attempt):
            self.resources.store.ledger.decide(
                intent.project,
                kind="skip",
                subject=f"intent {intent.id}",
                reason=f"the run {intent.run}, which {intent.actor} had asked for, was cancelled",
                inputs={"intent": intent.id, "incident": intent.incident_id, "actor": intent.actor},
                now=self.resources.now(),
            )
        return True

    def free(self, intent: Intent) -> None:
        """Take the lease from the dead run of an intent, before the next attempt is opened."""
        lease = self.resources.store.leases.current(intent.project)
        if lease is not None and lease.holder == intent.run:
            self.resources.store.leases.release(intent.project, lease.token)

    def note_restart(self, before: Intent, after: Intent) -> None:
        """Write to the ledger that an intent's run died, and what follows."""
        given_up = after.state == "ended"
        reason = f"the run {before.run} of attempt {before.attempt} died; " + (
            "no attempt is left" if given_up else f"attempt {after.attempt} starts"
        )
        logger.warning("%s: %s", before.project, reason)
        self.resources.store.ledger.decide(
            before.project,
            kind="skip" if given_up else "retrain",
            subject=f"intent {before.id}",
            reason=reason,
            inputs={"intent": before.id, "incident": before.incident_id, "attempt": after.attempt},
            now=self.resources.now(),
        )

    def decide_again(self) -> None:
        """Ask the governor again about open incidents that it told to wait."""
        watching.reconsider(self.resources)

    def report(self) -> None:
        """Have the pending drift reports made in a process of their own, one at a time."""
        if self.reporting is not None and self.reporting.poll() is None:
            return
        if not self.resources.store.verdicts.without_report(limit=1):
            return
        home = self.resources.settings.home
        (home / "logs").mkdir(exist_ok=True)
        words, settings = [sys.executable, "-m", "tasks.reporting"], self.resources.settings
        told = {"HOLDFAST_DATABASE_URL": settings.store_url, "HOLDFAST_PROJECTS": settings.projects}
        with (home / "logs" / "reports.log").open("ab") as log:
            self.reporting = subprocess.Popen(words, env=child_environment(home, told), stdout=log, stderr=log)


def by_hand(intent: Intent) -> bool:
    """Whether an intent's run is a command on somebody's terminal, of which the orchestrator knows nothing."""
    return str(intent.run).endswith(TERMINAL)


def named(duty: Duty) -> str:
    """Name a duty and what it is about, for the log."""
    if not isinstance(duty, partial):
        return duty.__qualname__
    about = (str(getattr(one, "id", one)) for one in duty.args if not isinstance(one, Resources))
    return " ".join([duty.func.__qualname__, *about])
