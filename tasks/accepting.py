"""A person calls a change of the world harmless: what the windows are compared with is made anew from it.

The reference gets a revision of its own, apart from the snapshot that the champion learned from; thresholds follow
from it. The word is kept first (`ask`), and a run then acts on it (`accept`): of many, killed or at once, one does.
"""

import logging

from data.errors import BadSetting, NotAcceptable
from data.markdown import escaped
from monitoring import events, telling
from monitoring.effects import Effects, NewDecision
from monitoring.evidence import WORLD
from monitoring.incidents import harmless_absence, harmless_rate
from monitoring.records import Generation, Incident
from monitoring.store.acceptances import Acceptance
from monitoring.store.references import Change
from tasks import messages
from tasks.acting import named, open_incident
from tasks.reports import Report
from tasks.rereferencing import Remade, first_window, remake
from tasks.resources import Resources
from tasks.watching import overview

logger = logging.getLogger(__name__)

SHORTEST = 3  # characters of a reason


def ask(resources: Resources, incident_id: int, reason: str, actor: str) -> Report:
    """Keep a person's word that an incident's change is harmless; the keeper starts the run that acts on it.

    The same word twice is one.

    Raises: BadSetting (there is no such open incident, or no reason), NotAcceptable.
    """
    why = stated(reason)
    incident = open_incident(resources, incident_id)
    acceptable(resources, incident)
    asked, new = resources.store.acceptances.ask(
        incident.project, incident_id, reason=why, actor=actor, now=resources.now()
    )
    said = f"is being accepted, as {asked.actor} said: {asked.reason}"
    return Report(f"{named(incident)} {said}" + ("" if new else "; nothing is changed"))


def accept(resources: Resources, incident_id: int, reason: str, actor: str) -> Report:
    """Take an incident's change into the reference of what serves, and close the incident.

    Again, or after somebody else has, it changes nothing and says so.

    Raises: BadSetting (there is no such incident, or no reason), NotAcceptable (with the reason), LostRace.
    """
    why = stated(reason)
    found = resources.store.incidents.get(incident_id)
    if found is not None and (before := accepted(resources, found)):
        return before
    incident = open_incident(resources, incident_id)
    serving = acceptable(resources, incident)
    if serving is None:
        return accept_rate(resources, incident, actor, why)
    made = remake(resources, resources.project(incident.project), serving, incident)
    newest = resources.store.incidents.get(incident_id)
    if newest is not None and newest.closed_at is None:  # its windows may have shown more while these were read
        acceptable(resources, newest)
    change = Change(incident_id, actor, made.first_window, made.last_window)
    closed = f"accepted by {actor}: {why}"
    report = told(incident, made, closed)
    revision = resources.store.accept(
        incident.project,
        serving.number,
        change,
        made.payload,
        effects(resources, incident, made, actor, closed),
        reason=closed,
        now=resources.now(),
    )
    if revision is None:
        return accepted(resources, incident) or Report(f"{named(incident)} was closed meanwhile; nothing is changed")
    logger.info("%s: %s", incident.project, report.sentence)
    return report


def accept_rate(resources: Resources, incident: Incident, actor: str, why: str) -> Report:
    """Call it usual that so many labels come from an incident's first window on, and close the incident; once."""
    closed = f"accepted by {actor}: {why}"
    inputs = {"incident": incident.id, "generation": incident.generation, "actor": actor, "kind": incident.kind}
    inputs |= {"first_window": first_window(incident), "last_window": incident.last_window}
    decision = NewDecision(incident.project, "accept", f"incident {incident.id}", closed, inputs)
    if not resources.store.incidents.accept(incident.id, resources.now(), decision=decision):
        return accepted(resources, incident) or Report(f"{named(incident)} was closed meanwhile; nothing is changed")
    said = f"the share of labels since window {first_window(incident)} is what the next windows are compared with"
    return Report(f"{named(incident)} is {closed}; {said}")


def carry_out(resources: Resources, acceptance_id: int) -> Report:
    """Act on a person's word; one that can't be acted on is ended with the reason, so that it is not tried again.

    Raises: what `accept` raises, ServerUnavailable.
    """
    asked = resources.store.acceptances.get(acceptance_id)
    if asked is None:
        raise BadSetting(f"nobody asked for acceptance {acceptance_id}")
    if asked.ended_at is not None:
        return Report(f"acceptance {asked.id} is settled: {asked.outcome}")
    try:
        report = accept(resources, asked.incident_id, asked.reason, asked.actor)
    except (NotAcceptable, BadSetting) as error:
        refuse(resources, asked, str(error))
        raise
    resources.store.acceptances.end(asked.id, report.sentence, resources.now())  # where another had accepted it
    return report


def of_project(resources: Resources, incident_id: int, project: str) -> None:
    """Return if the incident is the project's.

    Raises: BadSetting.
    """
    found = resources.store.incidents.get(incident_id)
    if found is not None and found.project != project:
        raise BadSetting(f"incident {incident_id} is of {found.project}, not of {project}")


def refuse(resources: Resources, asked: Acceptance, why: str) -> None:
    """End an acceptance that comes to nothing, and let the ledger say so; once."""
    if resources.store.acceptances.end(asked.id, f"refused: {why}", resources.now()):
        resources.store.ledger.decide(
            asked.project,
            kind="not-accepted",
            subject=f"incident {asked.incident_id}",
            reason=why,
            inputs={"incident": asked.incident_id, "actor": asked.actor, "said": asked.reason},
            now=resources.now(),
        )


def acceptable(resources: Resources, incident: Incident) -> Generation | None:
    """Return what serves, whose reference an incident's change can be taken into; None for how many labels come.

    Raises: NotAcceptable.
    """
    if harmless_rate(incident):
        return None
    if (incident.kind not in WORLD or incident.declared_by is not None) and not harmless_absence(incident):
        only = "only that, what is not measured any more, or how many labels come, may be harmless and accepted"
        raise NotAcceptable(f"{named(incident)} is no change of the world, and {only}")
    serving = resources.store.ledger.generation(incident.project)
    if serving is None or serving.number != incident.generation:
        now = f"generation {serving.number} serves" if serving else "nothing serves"
        raise NotAcceptable(f"{named(incident)} is of generation {incident.generation}, and {now}: nothing to accept")
    return serving


def accepted(resources: Resources, incident: Incident) -> Report | None:
    """Say that an incident's change is in the reference already, or its rate of labels the usual one, if it is."""
    if incident.kind == "labels":
        lines = resources.store.ledger.decisions(incident.project, subject=f"incident {incident.id}", kinds=("accept",))
        return Report(f"{named(incident)} was {lines[0].reason}; nothing is changed") if lines else None
    for revision in resources.store.references.revisions(incident.project, incident.generation):
        if revision.change is not None and revision.change.incident_id == incident.id:
            said = f"{named(incident)} was {revision.reason}, as revision {revision.number}; nothing is changed"
            return Report(said)
    return None


def effects(resources: Resources, incident: Incident, made: Remade, actor: str, closed: str) -> Effects:
    """Return the line of the ledger, the alerts and the event of an acceptance."""
    about, facts = f"incident {incident.id}", {"incident": incident.id, "generation": incident.generation}
    inputs = {**facts, "actor": actor, "first_window": made.first_window, "last_window": made.last_window}
    inputs |= {"rows": made.rows, "labelled": made.labelled, "budget": made.budget}
    text = f"{incident.kind.upper()} {incident.project}: {about} is {closed}; {made.sentence}"
    alerts = messages.alerts(
        resources.settings,
        incident.project,
        f"incident-{incident.id}.accepted",
        incident.kind,
        text,
        links=links(resources, incident),
        what=f"{about} is over: its change is taken for harmless",
        so_what=made.sentence,
        done=closed,
        **facts,
    )
    key, now = f"incident-{incident.id}.accepted", resources.now()
    event = events.event(events.ACCEPTED, incident.project, key, now, **facts, actor=actor)
    return Effects(
        messages=(*(telling.about(one, incident.id) for one in alerts), event),
        decisions=(NewDecision(incident.project, "accept", about, closed, inputs),),
    )


def links(resources: Resources, incident: Incident) -> dict[str, str]:
    """Return where people read on: the report of the incident's window, where there is one, and the overview."""
    base, window = overview(resources), incident.detail.get("window")
    if window is None or incident.kind != "drift":
        return base
    report = f"{base['overview']}reports/{incident.project}/{incident.generation}/{window}.html"
    return {"report": report, **base}


def told(incident: Incident, made: Remade, closed: str) -> Report:
    """Return what a person reads of an acceptance."""
    lines = [
        f"- **closed**: {named(incident)} is {escaped(closed)}",
        f"- **compared from now on**: with {escaped(made.origin)}",
        f"- **threshold**: {escaped(made.budget)}",
        f"- **losses**: {escaped(made.losses)}",
    ]
    said = f"{named(incident)} is {closed}; {made.sentence}"
    if harmless_absence(incident):
        said += f"; what comes from now on may be learned (holdfast train {incident.project}), what was at fault is not"
    return Report(said, "\n".join(lines), table=made.table)


def stated(reason: str) -> str:
    """Return a reason without the space around it.

    Raises: BadSetting.
    """
    said = " ".join(reason.split())
    if len(said) < SHORTEST:
        raise BadSetting("a change is accepted with a reason, which the ledger keeps: --reason '…'")
    return said
