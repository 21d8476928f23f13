"""The store as one object, and what must happen in one transaction over several of its tables."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from data.errors import HoldfastError, LostRace
from monitoring.effects import Effects, NewDecision
from monitoring.records import Decision, Incident, Intent, Message, Verdict
from monitoring.store import outbox, schema
from monitoring.store.acceptances import Acceptances, granted
from monitoring.store.approvals import Approvals
from monitoring.store.clients import Clients
from monitoring.store.engine import BUSY_MS, Database, writes
from monitoring.store.incidents import Incidents, close_once, open_once, update_once
from monitoring.store.intents import Intents
from monitoring.store.intents import open_once as promise_once
from monitoring.store.journal import Journal
from monitoring.store.labels import Labels
from monitoring.store.leases import Leases
from monitoring.store.ledger import Ledger, add_decision, serving
from monitoring.store.notes import Notes
from monitoring.store.predictions import PredictionLog
from monitoring.store.receipts import Receipts
from monitoring.store.references import Change, References
from monitoring.store.references import put as put_reference
from monitoring.store.requests import Requests
from monitoring.store.shadows import Shadows
from monitoring.store.trials import Trials
from monitoring.store.verdicts import Verdicts, insert_once
from monitoring.telling import about


@dataclass(frozen=True)
class Applied:
    """What became of effects. `incident`, `intent`: found or new; the rest: what was written."""

    incident: Incident | None = None
    opened: bool = False
    intent: Intent | None = None
    promised: bool = False
    messages: tuple[Message, ...] = ()
    decisions: tuple[Decision, ...] = ()


class Store:
    """Everything Holdfast remembers, but the data and the models. Threads may share it; a child opens its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.predictions = PredictionLog(database)
        self.journal = Journal(database)
        self.labels = Labels(database)
        self.verdicts = Verdicts(database)
        self.incidents = Incidents(database)
        self.outbox = outbox.Outbox(database)
        self.ledger = Ledger(database)
        self.requests = Requests(database)
        self.approvals = Approvals(database)
        self.leases = Leases(database)
        self.intents = Intents(database)
        self.references = References(database)
        self.notes = Notes(database)
        self.clients = Clients(database)
        self.trials = Trials(database)
        self.shadows = Shadows(database)
        self.acceptances = Acceptances(database)
        self.receipts = Receipts(database)

    @writes
    def record_verdict(self, connection: Connection, verdict: Verdict, effects: Effects, now: datetime) -> bool:
        """Write a verdict with all its effects; return False, with nothing changed, where its window has one.

        Raises: LostRace, with nothing changed: it would open an incident, and another generation serves by now.
        """
        if not insert_once(connection, verdict, now):
            return False
        newest = serving(connection, verdict.window.project)
        if effects.opened is not None and newest is not None and newest.number != verdict.window.generation:
            raise LostRace(f"generation {verdict.window.generation} was replaced while it was judged")
        apply(connection, effects, now)
        return True

    @writes
    def record(self, connection: Connection, effects: Effects, now: datetime) -> Applied:
        """Write effects that come from no verdict: the governor's, a refused batch's."""
        return apply(connection, effects, now)

    @writes
    def accept(
        self,
        connection: Connection,
        project: str,
        generation: int,
        change: Change,
        reference: bytes,
        effects: Effects,
        *,
        reason: str,
        now: datetime,
    ) -> int | None:
        """Take a change into a generation's reference and close its incident; return the new revision.

        `effects` tell of it. None, with nothing changed, where the incident is closed already.

        Raises: LostRace, another generation serves.
        """
        if not close_once(connection, change.incident_id, reason, now, tell=False):
            return None
        newest = serving(connection, project)
        if newest is None or newest.number != generation:
            raise LostRace(f"generation {generation} of {project} serves no more: its reference is of no use")
        revision = put_reference(connection, project, generation, reference, reason=reason, now=now, change=change)
        apply(connection, effects, now)
        granted(connection, change.incident_id, revision, f"revision {revision}", now)
        return revision

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        self.journal.close()
        self.shadows.close()
        self.database.close()


def open_store(url: str, patience: int = BUSY_MS) -> Store:
    """Open the store at a SQLAlchemy URL; whoever comes first makes or migrates it.

    Args:
        url: a SQLite file or a PostgreSQL database.
        patience: milliseconds that each later transaction waits for another writer.

    Raises: BadSetting (a newer Holdfast has written it), ServerUnavailable.
    """
    database = Database(url)
    try:
        schema.ensure(database)
    except HoldfastError:
        database.close()
        raise
    if patience != BUSY_MS:
        database.close()
        database = Database(url, patience)
    return Store(database)


def apply(connection: Connection, effects: Effects, now: datetime) -> Applied:
    """Write effects in their order: close, update, open, promise, decide, tell."""
    for incident_id, why in effects.closed:
        close_once(connection, incident_id, why, now)
    for update in effects.updated:
        update_once(connection, update, now)
    incident, opened = None, False
    if effects.opened is not None:
        incident, opened = open_once(connection, effects.opened, now)
    intent, promised = None, False
    if effects.intent is not None:
        cause = effects.intent.incident_id
        cause = incident.id if cause is None and incident is not None else cause
        intent, promised = promise_once(connection, replace(effects.intent, incident_id=cause), now)
    stale = {"alert"} if incident is not None and not opened else set()
    stale |= {"event", "retrain"} if intent is not None and not promised else set()
    facts = _facts(incident, intent)
    messages = [_to_send(message, facts) for message in effects.messages if message.kind not in stale]
    decisions = [
        add_decision(connection, _about(decision, facts), now)
        for decision in effects.decisions
        if decision.kind not in stale
    ]
    return Applied(incident, opened, intent, promised, tuple(outbox.put(connection, messages)), tuple(decisions))


def _to_send(message: Message, facts: dict[str, int]) -> Message:
    """Return a message with the ids that this transaction has given out, and an alert's way to its incident."""
    message = replace(message, payload={**message.payload, **facts})
    incident = facts.get("incident", message.incident_id)
    return message if incident is None or message.kind != "alert" else about(message, incident)


def _facts(incident: Incident | None, intent: Intent | None) -> dict[str, int]:
    facts = {} if incident is None else {"incident": incident.id}
    if intent is not None:
        facts |= {"intent": intent.id, "token": intent.token}
        if intent.incident_id is not None:
            facts["incident"] = intent.incident_id
    return facts


def _about(decision: NewDecision, facts: dict[str, int]) -> NewDecision:
    """Return a decision with the ids that this transaction has given out.

    Raises: ValueError, it is about an incident that is not opened.
    """
    what = next((one for one in ("incident", "intent") if one in facts), None)
    if decision.subject is None and what is None:
        raise ValueError(f"{decision.kind}: a decision without a subject, and no incident opened")
    subject = decision.subject or f"{what} {facts[str(what)]}"
    return replace(decision, subject=subject, inputs={**decision.inputs, **facts})
