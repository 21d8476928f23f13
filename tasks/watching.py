"""Give every window that is over its one verdict, with all that follows from it in the same transaction."""

import logging
import socket
from dataclasses import replace

from data.errors import HoldfastError, LostRace, NoChampion
from data.markdown import escaped
from data.schema import take
from models.predictor import Predictor
from monitoring import audit, governor, incidents, verdicts, windows
from monitoring.answers import reader_for
from monitoring.evidence import INFORMATIVE, WORLD, Setting
from monitoring.logged import reference_of
from monitoring.realised import shown
from monitoring.records import Check as CheckName
from monitoring.records import Generation, Incident, Verdict, WindowKey
from monitoring.reference import Reference
from projects.declaration import Project
from tasks import unresolved
from tasks.around import around_of, slices_of
from tasks.circumstances import circumstances
from tasks.consolidating import consolidate
from tasks.estimating import estimated, realised
from tasks.messages import channels
from tasks.observing import answers_in, clock, observed, predictor_of
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)

AGAIN = ("wait", "block")
UNANSWERED = ("unneeded", "kept", "refused")  # with more labels, a retraining may show what these could not
RULINGS = ("retrain", "suggest", "approve", "wait", "block", "skip")


def watch(resources: Resources, name: str) -> Report:
    """Judge what is due, oldest first, over the serving generation and those it replaced.

    Raises: NoChampion.
    """
    project = resources.project(name)
    past = resources.store.ledger.generations(name)
    if not past:
        raise NoChampion(name)
    given: list[Verdict] = []
    for generation in past:
        given += judge_due(resources, project, generation, replaced=generation.number != past[-1].number)
    unresolved.tell(resources, project, overview(resources))
    consolidate(resources, project, past[-1], lambda: setting(resources, project, past[-1]))
    if not given:
        waiting = resources.store.predictions.count(name, past[-1].number)
        return Report(f"no window is due; generation {past[-1].number} has answered {waiting} rows")
    worst = next((one for one in given if one.outcome not in ("ok", "insufficient")), given[-1])
    many = f"{len(given)} verdict{'s' if len(given) > 1 else ''}"
    sentence = f"{many}; window {worst.window.index} of generation {worst.window.generation}: {worst.reason}"
    links = overview(resources) | reports_of(resources, given)
    return Report(sentence, page(given), links, [row(one) for one in given])


def judge_due(resources: Resources, project: Project, generation: Generation, *, replaced: bool) -> list[Verdict]:
    """Judge the due windows of one generation; each verdict is recorded before the next is made."""
    given = []
    for window, check in due(resources, project, generation, replaced=replaced):
        verdict, met = judged(resources, project, generation, window, check, replaced=replaced)
        if recorded(resources, verdict, met):
            logger.info("%s window %d %s: %s", project.name, window.index, check, verdict.reason)
            given.append(verdict)
    return given


def due(
    resources: Resources,
    project: Project,
    generation: Generation,
    *,
    replaced: bool,
    at_once: int | None = windows.AT_ONCE,
) -> list[tuple[WindowKey, CheckName]]:
    """Return the windows and checks of a generation that are due and have no verdict yet, oldest first."""
    store = resources.store
    return windows.due(
        project.monitors.window,
        windows.read_log(store, project.name, generation.number),
        store.verdicts.judged(project.name, generation.number),
        clock=clock(resources, project),
        label_delay=project.labels.delay,
        replaced=replaced,
        at_once=at_once,
    )


def judged(
    resources: Resources,
    project: Project,
    generation: Generation,
    window: WindowKey,
    check: CheckName,
    *,
    replaced: bool,
) -> tuple[Verdict, Setting]:
    """Return a verdict and what it meets; one made anew where a person accepted a change while it was made.

    By the reference of before, what was just accepted would be told and block retraining once more.
    """
    verdict = judge(resources, project, generation, window, check)
    met = setting(resources, project, generation, replaced=replaced, window=window)  # before the revision is looked at
    newest = resources.store.references.newest(window.project, window.generation, window.index)
    if verdict.detail.get("revision", newest) == newest:
        return verdict, met
    verdict = judge(resources, project, generation, window, check)
    return verdict, setting(resources, project, generation, replaced=replaced, window=window)


def recorded(resources: Resources, verdict: Verdict, met: Setting) -> bool:
    """Write a verdict with what follows from it: nothing is opened for a generation that was replaced meanwhile."""
    try:
        return resources.store.record_verdict(verdict, incidents.effects(verdict, met), resources.now())
    except LostRace:
        late = incidents.effects(verdict, replace(met, replaced=True))
        return resources.store.record_verdict(verdict, late, resources.now())


def judge(
    resources: Resources, project: Project, generation: Generation, window: WindowKey, check: CheckName
) -> Verdict:
    """Make one check of one window; one that can't be made is `failed`, with the reason, and hides no other."""
    store = resources.store
    try:
        revision = store.references.newest(window.project, window.generation, window.index)
        known = reference_of(store, window, resources.calibrations, revision=revision)
        predictor = predictor_of(resources, generation)
        if check == "performance":
            return judge_labels(resources, project, known, predictor, window)
        read = reader_for(shown(project.evaluation.metric))
        seen, answers = observed(store, predictor, window, read, known.projection)
        said = verdicts.judge_data(known, seen, project.monitors, window)
        said = replace(said, detail={**said.detail, "revision": revision})  # its report is made with the same
        return estimated(resources, project, known, said, answers, seen)
    except HoldfastError as error:
        return verdicts.failed(window, check, store.predictions.count_in(window), str(error))


def judge_labels(
    resources: Resources, project: Project, known: Reference, predictor: Predictor, window: WindowKey
) -> Verdict:
    """Judge the performance of a window; what was asked is looked at only where the answers have become worse."""
    store, read = resources.store, reader_for(shown(project.evaluation.metric))
    also = ("label",) if project.labels.coverage == "all" else ("label", "id")
    recorded = store.verdicts.get(window, "data")
    data = recorded.verdict if recorded else None
    answers = answers_in(store, window, read, also)
    sample, around = audit.sample(answers, project.labels), around_of(resources, project, known, window, {})
    said = verdicts.judge_performance(known, sample.answers, project.monitors, window, data, around)
    if said.outcome == "degraded":
        seen, answers = observed(store, predictor, window, read, also=also)
        sample = audit.sample(answers, project.labels)
        around = replace(around, slices=slices_of(known, take(seen, sample.which)))
        said = verdicts.judge_performance(known, sample.answers, project.monitors, window, data, around)
    return realised(project, said, sample, data, len(answers))


def setting(
    resources: Resources,
    project: Project,
    generation: Generation,
    *,
    replaced: bool = False,
    window: WindowKey | None = None,
) -> Setting:
    """Return what a verdict on `window` meets: what is open, what came before, what the governor looks at.

    Each check's verdicts are asked for by themselves: while labels ripen, the newest windows have data verdicts only.
    """
    store, n = resources.store, project.monitors.n
    before: list[Verdict] = []
    if window is not None:
        before += store.verdicts.upto(window, "data", INFORMATIVE, n)
        before += store.verdicts.upto(window, "performance", INFORMATIVE, n)
    open_incidents = store.incidents.open_ones(project.name)
    return Setting(
        monitors=project.monitors,
        governor=project.governor,
        circumstances=circumstances(resources, project, generation, open_incidents, clock(resources, project)),
        recent=before,
        open_incidents=open_incidents,
        channels=channels(resources.settings),
        now=resources.now(),
        links=overview(resources),
        replaced=replaced,
        accepted=store.references.accepted(project.name, generation.number),
    )


def reconsider(resources: Resources) -> None:
    """Ask the governor again about each open incident that waits, as labels come and leases end.

    Raises: HoldfastError, the first failure, after every incident has been looked at.
    """
    failures = []
    for incident in resources.store.incidents.open_ones():
        try:
            if incident.kind in WORLD:
                ask_again(resources, incident)
        except HoldfastError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def ask_again(resources: Resources, incident: Incident) -> None:
    """Write what the governor says now of an incident of the serving generation that has no retraining yet."""
    store = resources.store
    serving = store.ledger.generation(incident.project)
    rulings = store.ledger.decisions(incident.project, subject=f"incident {incident.id}", kinds=RULINGS, limit=1)
    again = not rulings or rulings[0].kind in (*AGAIN, "retrain")
    if serving is None or serving.number != incident.generation or not again:
        return
    project = resources.project(incident.project)
    met = setting(resources, project, serving)
    tried = [one.outcome for one in store.intents.of(incident.id)]
    if any(outcome not in UNANSWERED for outcome in tried):
        return
    shown = len(tried) - tried.count("unneeded")
    met = replace(met, circumstances=replace(met.circumstances, tried=shown))
    ruling = governor.decide(incident.kind, project.governor, met.circumstances)
    effects = incidents.reconsidered(incident, ruling, rulings[0] if rulings else None, met)
    if effects.decisions:
        store.record(effects, resources.now())


def overview(resources: Resources) -> dict[str, str]:
    """Return the link that every alert carries; without a public address, how to reach this machine as well."""
    settings = resources.settings
    if settings.public_url:
        return {"overview": f"{settings.public_url.rstrip('/')}/"}
    port, host = settings.service_port, socket.gethostname()
    return {"overview": f"{settings.service_url}/", "tunnel": f"ssh -N -L {port}:127.0.0.1:{port} {host}"}


def reports_of(resources: Resources, given: list[Verdict]) -> dict[str, str]:
    """Return links to the drift reports of the windows that need a look; they are made within a minute or so."""
    base = overview(resources)["overview"]
    return {
        f"drift report of window {one.window.generation}.{one.window.index}": (
            f"{base}reports/{one.window.project}/{one.window.generation}/{one.window.index}.html"
        )
        for one in given
        if one.check == "data" and one.outcome in ("drift", "fault")
    }


def row(verdict: Verdict) -> dict[str, object]:
    """One line of a table."""
    window = verdict.window
    return {
        "generation": window.generation,
        "window": window.index,
        "check": verdict.check,
        "verdict": verdict.outcome,
        "rows": verdict.rows,
        "why": verdict.reason,
    }


def page(given: list[Verdict]) -> str:
    """Return the page a person reads after a monitor run."""
    lines = []
    for one in given:
        where = f"window {one.window.generation}.{one.window.index}, {one.check}, {one.rows} rows"
        lines.append(f"- **{one.outcome}** in {where}: {escaped(one.reason.removeprefix(f'{one.outcome}: '))}")
    return "\n".join(lines)
