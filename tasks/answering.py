"""What a person says to an open incident: "I know of it", or "yes, retrain"."""

from data.errors import BadSetting
from monitoring.records import Incident
from tasks.reports import Report
from tasks.resources import Resources


def acknowledge(resources: Resources, number: int, *, actor: str, reason: str) -> Report:
    """Take note of an incident; a fault that a person knows of no longer blocks retraining.

    Raises: BadSetting, there is no such open incident.
    """
    incident = open_incident(resources, number)
    now = resources.now()
    resources.store.incidents.acknowledge(number, now)
    resources.store.ledger.decide(
        incident.project,
        kind="acknowledge",
        subject=f"incident {number}",
        reason=reason,
        inputs={"incident": number, "actor": actor},
        now=now,
    )
    return Report(f"incident {number} ({incident.kind} of {incident.project}) is acknowledged: {reason}")


def approve_retraining(resources: Resources, number: int, *, actor: str, reason: str) -> Report:
    """Say yes to the retraining that an incident waits for; the keeper asks the governor again within a second.

    Raises: BadSetting, there is no such open incident.
    """
    incident = open_incident(resources, number)
    resources.store.ledger.decide(
        incident.project,
        kind="approved",
        subject=f"incident {number}",
        reason=reason,
        inputs={"incident": number, "actor": actor},
        now=resources.now(),
    )
    return Report(f"a retraining for incident {number} of {incident.project} is approved: {reason}")


def open_incident(resources: Resources, number: int) -> Incident:
    """Return an incident that is still open.

    Raises: BadSetting.
    """
    found = resources.store.incidents.get(number)
    if found is None or found.closed_at is not None:
        numbers = ", ".join(str(one.id) for one in resources.store.incidents.open_ones()) or "none"
        raise BadSetting(f"incident {number} is not open; open incidents: {numbers}")
    return found
