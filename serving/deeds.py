"""What a person may do to an incident by a button: each is one function that the command line calls as well."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from serving import apart
from serving.html import note
from serving.refusals import Refused
from tasks import accepting, acting
from tasks.reports import Report
from tasks.resources import Resources

Form = Mapping[str, str]
Deed = Callable[[Resources, int, str, Form], Report]

DAYS = {"1": timedelta(days=1), "7": timedelta(days=7)}
LONGEST_REASON = 500  # characters
WORDS = {
    "acknowledge": "It is acknowledged",
    "snooze": "It is snoozed",
    "retrain": "A retraining is asked for",
    "accept": "It is being accepted",
    "fault": "It is declared a fault",
}


def acknowledge(resources: Resources, incident: int, actor: str, form: Form) -> Report:  # noqa: ARG001
    """Take note of it."""
    return acting.acknowledge(resources, incident, actor)


def snooze(resources: Resources, incident: int, actor: str, form: Form) -> Report:
    """Send nothing of it for some days.

    Raises: Refused 422.
    """
    span = DAYS.get(form.get("days", ""))
    if span is None:
        raise Refused(422, f"snooze for one of {', '.join(DAYS)} days", "days")
    return acting.snooze(resources, incident, resources.now() + span, actor)


def retrain(resources: Resources, incident: int, actor: str, form: Form) -> Report:  # noqa: ARG001
    """Ask for a retraining, whatever the governor says of cool-down and new rows."""
    return apart.retrain(resources, incident, actor)


def accept(resources: Resources, incident: int, actor: str, form: Form) -> Report:
    """Take its change for harmless."""
    return accepting.ask(resources, incident, reason(form), actor)


def fault(resources: Resources, incident: int, actor: str, form: Form) -> Report:
    """Take it for a broken sensor."""
    return acting.declare_fault(resources, incident, actor, reason(form))


def reason(form: Form) -> str:
    """Return the reason that a form brings.

    Raises: Refused 422.
    """
    said = " ".join(form.get("reason", "").split())
    if not 0 < len(said) <= LONGEST_REASON or not said.isprintable():
        raise Refused(422, f"a reason is needed, of at most {LONGEST_REASON} printable characters", "reason")
    return said


DEEDS: dict[str, Deed] = {
    "acknowledge": acknowledge,
    "snooze": snooze,
    "retrain": retrain,
    "accept": accept,
    "fault": fault,
}


def done(deed: str) -> str:
    """Return the notice after a deed; of what is none, nothing."""
    return note("done", f"{WORDS[deed]}.", "The ledger below says so.") if deed in WORDS else ""
