"""Incidents that no window's verdict opens: of the registry, of an alias, of a batch that disagrees with the log."""

import logging
from collections.abc import Mapping

from monitoring.effects import Effects, NewDecision, NewIncident
from monitoring.records import IncidentKind, Severity
from tasks import messages
from tasks.resources import Resources
from tasks.watching import overview

logger = logging.getLogger(__name__)


def close(resources: Resources, name: str, kind: IncidentKind, why: str) -> None:
    """Close the open incident of a kind."""
    for incident in resources.store.incidents.open_ones(name, kind):
        resources.store.incidents.close(incident.id, why, resources.now())


def tell(
    resources: Resources,
    name: str,
    kind: IncidentKind,
    generation: int,
    key: str,
    text: str,
    detail: Mapping[str, object],
    severity: Severity = "warning",
) -> None:
    """Open an incident and send its alert, each time it opens; `key` makes the alert's id with the time."""
    logger.warning("%s", text)
    now = resources.now()
    effects = Effects(
        opened=NewIncident(name, kind, generation, text, detail, severity=severity),
        messages=messages.alerts(
            resources.settings,
            name,
            f"{key}-{now:%Y%m%dT%H%M%S%f}",
            kind,
            text,
            links=overview(resources),
            severity=severity,
        ),
        decisions=(NewDecision(name, "alert", None, text, detail),),
    )
    resources.store.record(effects, now)
