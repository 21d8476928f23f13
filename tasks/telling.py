"""Incidents that no window's verdict opens: of the registry, of an alias, of a batch that disagrees with the log."""

import logging
from collections.abc import Mapping

from monitoring.effects import Effects, NewDecision, NewIncident
from monitoring.records import IncidentKind
from tasks import messages
from tasks.resources import Resources

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
) -> None:
    """Open an incident and send its alert."""
    logger.warning("%s", text)
    effects = Effects(
        opened=NewIncident(name, kind, generation, text, detail),
        messages=messages.alerts(resources.settings, name, key, kind, text),
        decisions=(NewDecision(name, "alert", None, text, detail),),
    )
    resources.store.record(effects, resources.now())
