"""What a person says to an open incident: "I know of it", "not now", "that is a broken sensor".

Each is one transaction with its line in the ledger; the same word twice changes nothing and says so.
"""

from datetime import datetime, timedelta

from data.errors import BadSetting
from data.wording import moment
from monitoring.effects import NewDecision
from monitoring.evidence import WORLD
from monitoring.records import Incident
from tasks.reports import Report
from tasks.resources import Resources

LONGEST_SNOOZE = timedelta(days=30)


def acknowledge(resources: Resources, incident_id: int, actor: str, reason: str = "") -> Report:
    """Take note of an incident: it is not told again, and a fault no longer blocks retraining.

    Raises: BadSetting, there is no such open incident.
    """
    incident = open_incident(resources, incident_id)
    why = f"acknowledged by {actor}" + (f": {reason}" if reason else "")
    done = resources.store.incidents.acknowledge(
        incident_id, resources.now(), actor=actor, decision=line(incident, "acknowledge", why, actor)
    )
    if done:
        return Report(f"{named(incident)} is {why}")
    return unchanged(resources, incident_id)


def snooze(resources: Resources, incident_id: int, until: datetime, actor: str) -> Report:
    """Send nothing of an incident before `until`; then it is told again, unless it is over or acknowledged.

    Raises: BadSetting, there is no such open incident, or `until` is past or further than 30 days.
    """
    incident, now = open_incident(resources, incident_id), resources.now()
    if not now < until <= now + LONGEST_SNOOZE:
        raise BadSetting(f"an incident is snoozed for up to {LONGEST_SNOOZE.days} days from now, not until {until}")
    why = f"snoozed by {actor} until {moment(until)}"
    done = resources.store.incidents.snooze(
        incident_id, until, now, actor=actor, decision=line(incident, "snooze", why, actor)
    )
    return Report(f"{named(incident)} is {why}") if done else unchanged(resources, incident_id)


def declare_fault(resources: Resources, incident_id: int, actor: str, reason: str) -> Report:
    """Take a drift or a degradation for a broken sensor: it blocks retraining, and no model learns from its windows.

    A retraining under way for it is stopped. It is over once its windows are well again; who acknowledges it lets
    retraining go on before.

    Raises: BadSetting, there is no such open incident, it is of another kind, or there is no reason.
    """
    incident, said = open_incident(resources, incident_id), " ".join(reason.split())
    if incident.kind not in WORLD:
        raise BadSetting(
            f"{named(incident)} is no change of the world: a drift or a degradation may be declared a fault"
        )
    if not said:
        raise BadSetting("a fault is declared with a reason, which the ledger keeps: --reason '…'")
    why = f"declared a fault by {actor}: {said}"
    done = resources.store.incidents.declare_fault(
        incident_id, resources.now(), actor=actor, decision=line(incident, "declare-fault", why, actor)
    )
    if done:
        return Report(f"{named(incident)} is {why}; retraining is blocked until it is over or acknowledged")
    return unchanged(resources, incident_id)


def open_incident(resources: Resources, incident_id: int) -> Incident:
    """Return an incident that is still open.

    Raises: BadSetting.
    """
    found = resources.store.incidents.get(incident_id)
    if found is None or found.closed_at is not None:
        numbers = ", ".join(str(one.id) for one in resources.store.incidents.open_ones()) or "none"
        raise BadSetting(f"incident {incident_id} is not open; open incidents: {numbers}")
    return found


def unchanged(resources: Resources, incident_id: int) -> Report:
    """Say how an incident stands about which the same was said before.

    Raises: BadSetting, it was closed meanwhile.
    """
    now = open_incident(resources, incident_id)
    return Report(f"{named(now)} is {', '.join(standing(now)) or 'open'} already; nothing is changed")


def standing(incident: Incident) -> list[str]:
    """Return what people have said to an incident."""
    said = []
    if incident.acknowledged_at is not None:
        said.append(f"acknowledged by {incident.acknowledged_by or 'somebody'} at {moment(incident.acknowledged_at)}")
    if incident.snoozed_until is not None:
        said.append(f"snoozed by {incident.snoozed_by} until {moment(incident.snoozed_until)}")
    if incident.declared_by is not None:
        said.append(f"declared a fault by {incident.declared_by}")
    return said


def named(incident: Incident) -> str:
    """Name an incident in a sentence."""
    return f"incident {incident.id} ({incident.kind} of {incident.project})"


def line(incident: Incident, kind: str, why: str, actor: str) -> NewDecision:
    """Return what the ledger says of a person's word."""
    inputs = {"incident": incident.id, "actor": actor}
    return NewDecision(incident.project, kind, f"incident {incident.id}", why, inputs)
