"""What a person says to an incident whose retraining waits for people: "yes, retrain"."""

from tasks.acting import open_incident
from tasks.reports import Report
from tasks.resources import Resources


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
