"""Trainings that a person or a schedule starts: the same lease and budget as the governor's own, and a promise first.

`retrain` promises a run that the keeper sees through. `begin` promises the run that is there already: a person sits
before it, so that it is not started again where it fails or is cancelled.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from data.errors import BadSetting, Busy, Withheld
from monitoring import events
from monitoring.effects import Effects, NewDecision, NewIntent
from monitoring.governor import Asker, Ruling, decide, tripped
from monitoring.records import Incident, Message
from tasks import messages
from tasks.acting import open_incident
from tasks.circumstances import circumstances
from tasks.leases import Run, leased
from tasks.observing import clock
from tasks.reports import Report
from tasks.resources import Resources
from tasks.watching import overview

TERMINAL = " on the command line"  # ends the name of a holder that the orchestrator knows nothing of


def retrain(resources: Resources, project: str, incident_id: int | None, reason: str, actor: str) -> Report:
    """Promise a retraining that a person asks for, of an incident or of none; the same word twice is one.

    Raises:
        BadSetting: there is no reason, or no such open incident of the project.
        Withheld: a fault is open, the budget is spent, or nothing serves yet.
        Busy: another training holds the lease.
    """
    why = " ".join(reason.split())
    if not why:
        raise BadSetting("a retraining is asked for with a reason, which the ledger keeps: --reason '…'")
    incident = None if incident_id is None else open_incident(resources, incident_id)
    if incident is not None and incident.project != project:
        raise BadSetting(f"incident {incident.id} is of {incident.project}, not of {project}")
    if resources.store.ledger.generation(project) is None:
        raise Withheld(f"nothing of {project} serves yet: run `holdfast train {project}`")
    if waiting := under_way(resources, project, incident_id):
        return Report(f"a retraining is under way already, as intent {waiting}; nothing is changed")
    ruling = ruled(resources, project, incident, "person", f"{actor}: {why}")
    now = resources.now()
    event = events.event(events.RETRAIN, project, f"retrain-{now.timestamp():.6f}", now, actor=actor)
    made = resources.store.record(
        Effects(
            messages=(event,),
            intent=NewIntent(project, incident_id, actor, clock(resources, resources.project(project))),
            decisions=(line(project, incident, ruling, actor, why),),
        ),
        now,
    )
    assert made.intent is not None
    if not made.promised:
        return Report(f"a retraining is under way already, as intent {made.intent.id}; nothing is changed")
    return Report(f"a retraining of {project} starts, as intent {made.intent.id}: {ruling.reason}; {actor}: {why}")


def begin(resources: Resources, project: str, actor: str, *, asker: Asker = "person", why: str = "") -> int:
    """Promise the training that is about to run, and return the intent that it is to claim.

    `actor`: whoever started it. Before the first champion nothing but the lease binds it.

    Raises: Withheld, Busy.
    """
    said = f"{actor}: {why}" if why else actor
    ruling = ruled(resources, project, None, asker, said)
    promised = NewIntent(
        project, actor=actor if asker == "person" else None, clock=clock(resources, resources.project(project))
    )
    decision = line(project, None, ruling, actor, why)
    made = resources.store.record(Effects(intent=promised, decisions=(decision,)), resources.now())
    assert made.intent is not None
    return made.intent.id


@contextmanager
def by_hand(resources: Resources, project: str, *, actor: str, holder: str) -> Iterator[Run]:
    """Let the block train under the project's lease, as `leased` does; its promise ends with it.

    Raises: Withheld, Busy.
    """
    intent = begin(resources, project, actor)
    try:
        with leased(resources, project, holder=holder, intent=intent) as run:
            yield run
    finally:  # where it came to no verdict; attempt 2 is another run's
        resources.store.intents.end(intent, "failed", resources.now(), attempt=1)


def ruled(resources: Resources, name: str, incident: Incident | None, asker: Asker, said: str) -> Ruling:
    """Return the governor's leave; a refusal is written to the ledger and raised.

    Raises: Withheld, Busy.
    """
    project, store = resources.project(name), resources.store
    serving, opened = store.ledger.generation(name), store.incidents.open_ones(name)
    seen = circumstances(resources, project, serving, opened, clock(resources, project))
    lease = store.leases.current(name)
    if lease is not None and seen.lease is not None and asker == "person":
        raise Busy(name, lease.holder, lease.expires_at)
    ruling = decide(incident.kind if incident else None, project.governor, seen, asker if serving else "person")
    if ruling.action == "retrain":
        return ruling
    about = f"incident {incident.id}" if incident else f"project {name}"
    facts = {"incident": incident.id} if incident else {}
    reason = f"{ruling.reason} ({said})"
    refused = NewDecision(name, ruling.action, about, reason, {**ruling.inputs, **facts})
    told: tuple[Message, ...] = ()
    if serving and asker == "schedule" and tripped(project.governor, seen):  # nobody sits before it: once for each trip
        text = f"no scheduled training of {name}: {ruling.reason}"
        key = f"breaker-{serving.number}-{seen.failures}"
        told = messages.alerts(resources.settings, name, key, "training", text, links=overview(resources))
    store.record(Effects(messages=told, decisions=(refused,)), resources.now())
    raise Withheld(f"no training of {name} now: {ruling.reason}")


def line(project: str, incident: Incident | None, ruling: Ruling, actor: str, why: str) -> NewDecision:
    """Return what the ledger says of a promised run; without an incident it is about the intent."""
    about = f"incident {incident.id}" if incident else None
    reason = f"{ruling.reason}; {actor}: {why}" if why else f"{ruling.reason}; {actor}"
    return NewDecision(project, "retrain", about, reason, {**ruling.inputs, "actor": actor, "said": why})


def under_way(resources: Resources, project: str, incident_id: int | None) -> int | None:
    """Return the open retraining of an incident, or the one that a person asked for without one and that waits."""
    for one in resources.store.intents.open_ones(project):
        asked = one.actor is not None and one.state == "open"
        if one.incident_id == incident_id and (incident_id is not None or asked):
            return one.id
    return None
