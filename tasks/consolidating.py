"""One more retraining once a new world has lasted twice as long: the first one after a change has seen little of it.

What a version gains from more rows of its own world it gains by their doubling (learning curves follow a power law:
Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409), so that a change costs a
few retrainings at growing distances, not one a week. The first that shows no gain is the last.
"""

from collections.abc import Callable
from dataclasses import replace

from monitoring import governor, incidents
from monitoring.evidence import WORLD, Setting
from monitoring.records import Generation, Incident, Intent
from projects.declaration import Project
from tasks.circumstances import ours
from tasks.observing import clock
from tasks.plans import first_window
from tasks.resources import Resources


def consolidate(resources: Resources, project: Project, serving: Generation, met: Callable[[], Setting]) -> None:
    """Promise the retraining that a promotion made due, unless something stands against it.

    Only where incidents may retrain by themselves, and not before all that had been asked by the last one has its
    label. `met`: what a verdict on the serving generation would meet.
    """
    made = made_by(resources, serving) if project.governor.retrain == "auto" else None
    if made is None:
        return
    intent, incident = made
    began, asked = first_window(resources, incident), ours(intent, intent.opened_at)
    learned = asked - project.labels.delay  # may be before the change: what was learned then holds nothing of it
    if clock(resources, project) - project.labels.delay < max(began + 2 * (learned - began), asked):
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

    None where it did not come from one, where a person called that a fault, or where something was asked for since.
    """
    store = resources.store
    newest = next(iter(store.intents.recent(serving.project, 1)), None)
    if newest is None or newest.incident_id is None or not came_from(resources, serving, newest):
        return None
    since = [one for one in store.ledger.generations(serving.project) if one.at > newest.opened_at]
    incident = store.incidents.get(newest.incident_id)
    if len(since) != 1 or incident is None or incident.kind not in WORLD or incident.declared_by is not None:
        return None
    return newest, incident


def came_from(resources: Resources, serving: Generation, intent: Intent) -> bool:
    """Tell whether a retraining made what serves, by itself or by the yes of a person who was asked."""
    about = f"version {serving.version}"
    asked = resources.store.ledger.decisions(serving.project, subject=about, kinds=("ask",), limit=1)
    allowed = intent.outcome == "challenger" and any(one.inputs.get("intent") == intent.id for one in asked)
    return intent.outcome == "promoted" or allowed
