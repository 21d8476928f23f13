"""One more retraining once a new world has lasted twice as long: the first one after a change has seen little of it.

What a version gains from more rows of its own world it gains by their doubling (learning curves follow a power law:
Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409), so that a change costs a
few retrainings at growing distances, not one a week. The first that shows no gain is the last.
"""

from collections.abc import Callable
from dataclasses import replace

from monitoring import governor, incidents
from monitoring.incidents import Setting
from monitoring.records import Generation, Incident, Intent
from projects.declaration import Project
from tasks.circumstances import ours
from tasks.observing import clock
from tasks.plans import first_window
from tasks.resources import Resources


def consolidate(resources: Resources, project: Project, serving: Generation, met: Callable[[], Setting]) -> None:
    """Promise the retraining that a promotion made due, unless something stands against it.

    Only where incidents may retrain by themselves. `met`: what a verdict on the serving generation would meet.
    """
    made = made_by(resources, serving) if project.governor.retrain == "auto" else None
    if made is None:
        return
    intent, incident = made
    began, learned = first_window(resources, incident), ours(intent, intent.opened_at)
    delay = project.labels.delay
    if clock(resources, project) - delay - began < 2 * (learned - delay - began):
        return
    setting = met()
    ruling = governor.decide(incident.kind, project.governor, setting.circumstances)
    if setting.open_incidents or ruling.action != "retrain":
        return
    since = f"the world that version {serving.version} was made for, since {began:%Y-%m-%d %H:%M} UTC"
    why = f"{since}, has lasted twice as long by now; {ruling.reason}"
    promised = incidents.reconsidered(incident, replace(ruling, reason=why), None, setting)
    resources.store.record(promised, resources.now())


def made_by(resources: Resources, serving: Generation) -> tuple[Intent, Incident] | None:
    """Return the retraining that the serving generation came from, and the change of the world that it answered.

    None where it did not come from one, or where something was asked for since.
    """
    store = resources.store
    newest = next(iter(store.intents.recent(serving.project, 1)), None)
    if newest is None or newest.outcome != "promoted" or newest.incident_id is None:
        return None
    since = [one for one in store.ledger.generations(serving.project) if one.at > newest.opened_at]
    incident = store.incidents.get(newest.incident_id)
    if len(since) != 1 or incident is None or incident.kind not in incidents.WORLD:
        return None
    return newest, incident
