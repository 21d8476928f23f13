"""One round of the keeper: make what is true on disk, in the registry and in Prefect what the ledger says.

Each duty stands alone: a server that is away stops only the duties that need it, and the next round tries again.
"""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from data.environment import child_environment
from data.errors import (
    Corrupt,
    DeliveryFailed,
    HoldfastError,
    LostRace,
    NoSuchVersion,
    NotPromotable,
    ServerUnavailable,
)
from models.declarations import Features
from models.predictor import read_version
from monitoring import alerts
from monitoring.effects import Effects, NewDecision, NewIncident
from monitoring.records import Generation, Intent, Message
from tasks import messages, promotion, registration, watching
from tasks.ingestion import write_atomically
from tasks.resources import Resources
from tasks.settings import Settings

logger = logging.getLogger(__name__)

Emit = Callable[[str, dict[str, Any]], None]
StartRun = Callable[[str, dict[str, Any], str], str]
RunState = Callable[[str], str]
Duty = Callable[[], None]

DEAD = {"Failed", "Crashed", "Cancelled", "Missing"}
ALIAS_SECONDS = 5.0


class Keeper:
    """Sees the ledger's promises through. `emit`, `start_run` and `run_state` speak to the orchestrator."""

    def __init__(self, resources: Resources, emit: Emit, start_run: StartRun, run_state: RunState) -> None:
        self.resources = resources
        self.emit, self.start_run, self.run_state = emit, start_run, run_state
        self.reporting: subprocess.Popen[bytes] | None = None
        self.reconciled_at = resources.now() - timedelta(seconds=ALIAS_SECONDS)
        self.refused: set[tuple[str, int]] = set()
        self.asked: dict[tuple[int, int], datetime] = {}
        self.channels = channels(resources.settings, {"prefect": self.send_event})

    def round(self) -> None:
        """Do every duty once.

        Raises: HoldfastError, the first failure, after every duty has been tried.
        """
        failures = [error for duty in self.duties() if (error := attempt(duty))]
        if failures:
            raise failures[0]

    def duties(self) -> list[Duty]:
        """Return what there is to do: what answers requests first."""
        names = self.resources.store.ledger.projects()
        each: list[Duty] = [partial(self.fetch, name) for name in names]
        each += [self.deliver, self.see_intents_through, self.decide_again, self.report]
        if (self.resources.now() - self.reconciled_at).total_seconds() >= ALIAS_SECONDS:
            self.reconciled_at = self.resources.now()
            judged = self.resources.store.ledger.judged()  # the first champion is asked for before anything serves
            each += [partial(self.reconcile, name) for name in sorted({*names, *judged})]
        return each

    def fetch(self, name: str) -> None:
        """Bring the serving generation to disk, verified, and point the service at it.

        A generation that fails its checks is answered with a rollback, once.
        """
        serving = self.resources.store.ledger.generation(name)
        home = self.resources.settings.home / "generations" / name
        if serving is None or pointed(home) == serving.number or (name, serving.number) in self.refused:
            return
        try:
            place(self.resources, serving, home)
        except Corrupt as error:
            self.refused.add((name, serving.number))
            logger.exception("%s: generation %d is not served", name, serving.number)
            self.alarm(
                serving, f"version {serving.version} of {name} is not what was promoted, and is not served: {error}"
            )
            promotion.rollback(self.resources, name, None, actor="keeper", reason=str(error))

    def deliver(self) -> None:
        """Send what waits in the outbox: alerts to people, events to the orchestrator."""
        alerts.drain(self.resources.store, self.channels, self.resources.now())

    def send_event(self, message: Message) -> None:
        """Give an event to the orchestrator, with the ids that the store gave out.

        Raises: DeliveryFailed.
        """
        ids = {key: message.payload[key] for key in ("intent", "token") if key in message.payload}
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
        failures = [error for look in looks if (error := attempt(look))]
        if failures:
            raise failures[0]

    def see_through(self, intent: Intent) -> None:
        """Start what waits too long, and anew what died; a project that trains already is left alone."""
        if intent.state == "running" and self.dead(intent):
            self.free(intent)
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
        return self.run_state(intent.run) in DEAD

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

    def reconcile(self, name: str) -> None:
        """Compare the registry's champion with the ledger's; one that a person moved is a request."""
        store, models = self.resources.store, self.resources.models
        serving = store.ledger.generation(name)
        found = models.alias(name, "champion")
        if serving is None:
            if found is not None:
                self.answer_request(name, found, None)
            return
        state = store.ledger.alias(name)
        if found == serving.version:
            if state.written != serving.version:
                promotion.mirror(self.resources, name)
            if pointed(self.resources.settings.home / "generations" / name) == serving.number:
                for incident in store.incidents.open_ones(name, "registry"):
                    store.incidents.close(incident.id, f"version {found} serves", self.resources.now())
            return
        if found is None or found in (state.written, state.intended):
            self.restore(name, serving)
            return
        self.answer_request(name, found, serving)

    def restore(self, name: str, serving: Generation) -> None:
        """Write the aliases as the ledger has them; tell people, once, of a version that the registry has lost."""
        try:
            promotion.mirror(self.resources, name)
        except NoSuchVersion:
            what = f"version {serving.version} of {name} is gone from the registry"
            here = f"generation {serving.number} goes on serving from this machine's copy, and no other can fetch it"
            self.alarm(serving, f"{what}: {here}. Promote another version, or train one.")

    def alarm(self, serving: Generation, text: str) -> None:
        """Tell people of a version that the registry has lost or spoiled; once, while the incident is open."""
        store, name = self.resources.store, serving.project
        if store.incidents.open_ones(name, "registry"):
            return
        logger.warning("%s", text)
        detail = {"version": serving.version}
        key = f"registry-{serving.number}"
        effects = Effects(
            opened=NewIncident(name, "registry", serving.number, text, detail),
            messages=messages.alerts(self.resources.settings, name, key, "registry", text),
            decisions=(NewDecision(name, "alert", None, text, detail),),
        )
        store.record(effects, self.resources.now())

    def answer_request(self, name: str, version: str, serving: Generation | None) -> None:
        """Act on a champion that a person named in the registry: roll back, promote, or put it back and say why.

        Where nothing serves yet, putting it back is taking the alias away.
        """
        who = "unauthenticated (MLflow UI)"
        past = {entry.version for entry in self.resources.store.ledger.generations(name)}
        try:
            if version in past:
                promotion.rollback(self.resources, name, version, actor=who, reason="the alias was moved in MLflow")
            else:
                promotion.promote(self.resources, name, version, actor=who, reason="the alias was given in MLflow")
        except (ServerUnavailable, LostRace):
            raise  # no answer: the request stands, and the next round looks again
        except HoldfastError as error:
            logger.warning("%s: version %s was asked for and refused: %s", name, version, error)
            verdict = registration.judged(self.resources, name, version)
            gates = verdict.inputs["gates"] if verdict else []
            self.resources.models.head(name, version, f"REFUSED: {error}", gates)
            if serving:
                self.restore(name, serving)
            else:
                self.resources.models.drop_alias(name, "champion", version)
            self.resources.store.ledger.decide(
                name,
                kind="refuse",
                subject=f"version {version}",
                reason=str(error),
                inputs={
                    "asked_by": who,
                    "serving": serving.version if serving else None,
                    "gates": isinstance(error, NotPromotable),
                },
                now=self.resources.now(),
            )

    def report(self) -> None:
        """Have the pending drift reports made in a process of their own, one at a time."""
        if self.reporting is not None and self.reporting.poll() is None:
            return
        if not self.resources.store.verdicts.without_report(limit=1):
            return
        home = self.resources.settings.home
        (home / "logs").mkdir(exist_ok=True)
        words = [sys.executable, "-m", "monitoring.drift", "--home", str(home)]
        store_url = self.resources.settings.store_url  # with its password, so not on a command line
        with (home / "logs" / "reports.log").open("ab") as log:
            self.reporting = subprocess.Popen(
                words, env=child_environment(home, {"HOLDFAST_DATABASE_URL": store_url}), stdout=log, stderr=log
            )


def attempt(duty: Duty) -> HoldfastError | None:
    """Do one duty; an expected failure is returned so that the others still get their turn."""
    try:
        duty()
    except HoldfastError as error:
        return error
    return None


def pointed(home: Path) -> int | None:
    """Return the generation that a project's folder points the service at."""
    try:
        return int(json.loads((home / "current.json").read_text())["generation"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def fetched(resources: Resources, serving: Generation, scratch: Path) -> Path:
    """Download a generation's version and verify it; one bad transfer is tried again before it counts.

    Raises: Corrupt.
    """
    features = resources.project(serving.project).features
    for attempt_left in (True, False):
        shutil.rmtree(scratch, ignore_errors=True)
        folder = resources.models.download(serving.project, serving.version, scratch)
        try:
            read_version(folder, features=features, manifest=serving.manifest_sha256)
        except Corrupt:
            if not attempt_left:
                raise
        else:
            break
    return folder


def place(resources: Resources, serving: Generation, home: Path) -> None:
    """Download a generation's version, verify it, move it into place, and point at it last.

    Raises: Corrupt.
    """
    target, scratch = home / str(serving.number), home / f".{serving.number}.part"
    features = resources.project(serving.project).features
    if not whole(target, features, serving.manifest_sha256):
        for rest in (target, *home.glob(f".*{serving.number}.part*")):
            shutil.rmtree(rest, ignore_errors=True)
        try:
            fetched(resources, serving, scratch).replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    pointer = {
        "generation": serving.number,
        "version": serving.version,
        "folder": str(serving.number),
        "manifest_sha256": serving.manifest_sha256,
    }
    write_atomically(home / "current.json", json.dumps(pointer) + "\n")
    logger.info("%s: generation %d (version %s) is on disk", serving.project, serving.number, serving.version)


def whole(folder: Path, features: Features | None, manifest: str) -> bool:
    """Tell whether a generation is on disk already, from a round that was killed before it pointed at it."""
    try:
        read_version(folder, features=features, manifest=manifest)
    except Corrupt:
        return False
    return True


def channels(settings: Settings, senders: Mapping[str, alerts.Sender]) -> alerts.Channels:
    """Return where messages go, from the settings."""
    return alerts.Channels(
        webhook_url=settings.webhook_url,
        webhook_secret=settings.webhook_secret,
        smtp_url=settings.smtp_url,
        email_to=settings.email_to,
        email_from=settings.email_from,
        apprise_urls=settings.alert_urls,
        senders=senders,
    )
