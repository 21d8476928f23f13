"""Tell people again of what they have not acknowledged."""

from tasks.resources import Resources


def remind(resources: Resources) -> None:
    """Repeat the alert of each open incident that is critical, or has slept, and that no person has spoken to."""
    now, repeat = resources.now(), resources.settings.alert_repeat
    for incident in resources.store.incidents.open_ones():
        if incident.waits(now) and (incident.severity == "critical" or incident.snoozed_until is not None):
            resources.store.incidents.remind(incident.id, repeat, now)
