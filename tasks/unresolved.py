"""Drift that nobody could settle: told once more, louder, when the labels of its windows should be there and are not.

Estimates need no labels and can't see a change of what is true, so drift that stays open is not taken for harmless
because nothing else was heard of it.
"""

import logging
from collections.abc import Collection

from data.wording import moment
from monitoring.effects import NewDecision
from monitoring.records import Check, Incident, Outcome, Verdict, WindowKey
from monitoring.telling import about
from projects.declaration import Project
from tasks import messages
from tasks.observing import clock
from tasks.resources import Resources

logger = logging.getLogger(__name__)

KIND = "unresolved"  # of the ledger's line, which is there once an incident was told
DRIFTED: tuple[Outcome, ...] = ("drift",)
SETTLED: tuple[Outcome, ...] = ("ok", "degraded", "fault")  # what was said of the answers, or why nothing can be


def tell(resources: Resources, project: Project, links: dict[str, str]) -> list[int]:
    """Send one alert for each open drift whose labels are overdue; return the incidents, none that was told before.

    Killed half-way or run at once, each incident still has exactly one line in the ledger and one alert a channel.
    """
    told = []
    for incident in resources.store.incidents.open_ones(project.name, "drift"):
        if incident.declared_by is not None or live(resources, incident) or known(resources, incident):
            continue
        windows = overdue(resources, project, incident)
        if windows and escalate(resources, project, incident, windows, links):
            told.append(incident.id)
    return told


def live(resources: Resources, incident: Incident) -> bool:
    """Tell whether a retraining that may answer the incident is under way."""
    return any(one.ended_at is None for one in resources.store.intents.of(incident.id))


def known(resources: Resources, incident: Incident) -> bool:
    """Tell whether it was told before."""
    about = f"incident {incident.id}"
    return bool(resources.store.ledger.decisions(incident.project, subject=about, kinds=(KIND,), limit=1))


def overdue(resources: Resources, project: Project, incident: Incident) -> list[Verdict]:
    """Return the drifted windows by which the incident was opened, once all their labels should be there.

    None as long as a window waits for its labels or its verdict on them, and none where labels that came in time, or
    later, tell how good the answers are.
    """
    store, horizon = resources.store, clock(resources, project) - project.labels.delay
    opening = set(incident.detail.get("windows") or [incident.detail.get("window", 0)])
    first, last = min(opening), max(opening)
    told = [one.verdict for one in store.verdicts.between(project.name, incident.generation, "data", first, last)]
    drifted = [one for one in told if one.outcome == "drift" and one.window.index in opening]

    def judged(check: Check, outcomes: Collection[Outcome] = ()) -> list[WindowKey]:
        return store.verdicts.windows(project.name, incident.generation, check, first=first, outcomes=outcomes)

    said = {window.index for window in judged("performance")}
    if any(one.window.end > horizon or one.window.index not in said for one in drifted):
        return []
    since = [window for window in judged("data", DRIFTED) if window.end <= horizon]
    settled = {window.index for window in judged("performance", SETTLED)}
    if any(window.index in settled for window in since) or labelled(resources, project, since):
        return []
    return drifted


def labelled(resources: Resources, project: Project, windows: list[WindowKey]) -> bool:
    """Tell whether one of these windows has enough labels by now; those of rows that somebody chose settle nothing."""
    if project.labels.coverage == "selected":
        return False
    least = project.monitors.minimum_rows
    return any(resources.store.labels.in_window(window, None)[0] >= least for window in windows)


def escalate(
    resources: Resources, project: Project, incident: Incident, windows: list[Verdict], links: dict[str, str]
) -> bool:
    """Raise the incident's severity, with the ledger's line and the alerts; return whether this call did."""
    due = max(one.window.end for one in windows) + project.labels.delay
    names = ", ".join(str(one.window.index) for one in windows)
    first = next((one.detail["triage"][0]["column"] for one in reversed(windows) if one.detail.get("triage")), None)
    alert = {
        "what": f"drift since window {windows[0].window.index} of generation {incident.generation} is still open"
        + (f"; of its columns {first} matters most" if first else ""),
        "how_sure": f"labels for the drifted windows ({names}) should be here by now: they were due {moment(due)}"
        + (", and those of chosen rows are no sample" if project.labels.coverage == "selected" else ""),
        "so_what": "nobody can say whether accuracy held",
        "done": "nothing: send the labels, accept the change, or retrain",
    }
    text = f"UNRESOLVED {project.name}: {alert['what']}. {alert['how_sure']}; {alert['so_what']}. {alert['done']}"
    facts = {**alert, "incident": incident.id, "generation": incident.generation, "severity": "critical"}
    key = f"incident-{incident.id}.{KIND}"
    told = messages.alerts(resources.settings, project.name, key, incident.kind, text, links=links, **facts)
    done = resources.store.incidents.escalate(
        incident.id,
        resources.now(),
        decision=NewDecision(project.name, KIND, f"incident {incident.id}", text, facts),
        messages=[about(one, incident.id) for one in told],
    )
    if done:
        logger.warning("%s", text)
    return done
