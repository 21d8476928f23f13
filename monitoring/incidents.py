"""What follows from a verdict: at most one open incident of a cause, one alert for it, and the governor's ruling."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from monitoring.effects import NOTHING, Effects, NewDecision, NewIncident, NewIntent, Update
from monitoring.events import CHANNEL, RETRAIN, payload
from monitoring.evidence import FAULTS, WORLD, Setting, bad_windows, over
from monitoring.governor import Ruling, decide
from monitoring.records import Decision, Incident, IncidentKind, Message, Verdict
from monitoring.severity import severity, size
from monitoring.wording import of_absence, of_rate, remedy, several


def effects(verdict: Verdict, setting: Setting) -> Effects:
    """Return what one verdict changes; it is written in the verdict's own transaction.

    A fault found in the data, or a check that failed, opens a fault at once; drift and degradation need K of the
    last N windows, and open one incident together. A generation that is replaced opens and closes nothing.
    """
    if setting.replaced:
        return (
            _suppressed(verdict, "its generation is replaced")
            if verdict.outcome not in ("ok", "insufficient")
            else NOTHING
        )
    closed = over(verdict, setting)
    gone = {number for number, _ in closed}
    setting = replace(setting, open_incidents=[one for one in setting.open_incidents if one.id not in gone])
    found = NOTHING
    own = verdict.check == "data" or verdict.detail.get("own", False)  # not one that the data check has told of
    if (own and verdict.outcome == "fault") or verdict.outcome == "failed":
        found = _fault(verdict, setting)
    elif verdict.outcome in WORLD:
        found = _world(verdict, setting)
    cleared = [NewDecision(verdict.window.project, "fault-cleared", f"incident {n}", why) for n, why in closed]
    return replace(found, closed=(*closed, *found.closed), decisions=(*cleared, *found.decisions))


def harmless_rate(incident: Incident) -> bool:
    """Tell whether an incident is of how many labels come, which may be another from now on with nothing broken."""
    return incident.kind == "labels" and of_rate(_left(incident))


def harmless_absence(incident: Incident) -> bool:
    """Tell whether an incident is of what is not measured any more, which may be so with nothing broken."""
    return incident.kind == "fault" and of_absence(_left(incident))


def _left(incident: Incident) -> Mapping[str, str]:
    """Return what its newest window says is wrong: of several faults some may be mended."""
    found: Mapping[str, str] = incident.detail.get("left") or incident.detail.get("faults", {})
    return found


def _fault(verdict: Verdict, setting: Setting) -> Effects:
    kind, wrong = FAULTS[verdict.check], verdict.detail.get("faults", {})
    names = list(wrong) or [verdict.check]
    before = next(iter(setting.of_kind(kind)), None)
    joined = [name for name in names if before is not None and name not in before.detail.get("columns", names)]
    opened = before.detail.get("faults", {}) if before is not None else {}
    if (of_rate(opened) and not of_rate(wrong)) or (of_absence(opened) and not of_absence(wrong)):
        joined = names  # whoever calls so many labels, or so many nulls, usual does not mean wrong ones
    if before is not None and not joined:
        return _updated(verdict, before)
    what = several([f"{name} {why}" for name, why in wrong.items()]) or verdict.reason
    drifted = [str(one["column"]) for one in verdict.detail.get("triage", ())]
    mend, so_what = remedy(verdict.check, wrong, [name for name in drifted if name not in wrong])
    alert = {
        "what": f"{what} since {_window(verdict)}",
        "how_sure": "a rule for faults, which a change of the world hardly explains: one window is enough",
        "so_what": f"{mend}; {so_what}",
        "done": "retraining is blocked until a healthy window comes or a person acknowledges it (holdfast acknowledge)",
    }
    if of_rate(wrong):
        alert["so_what"] += "; if so many are usual from now on: holdfast accept, or Accept on its page"
    text = f"FAULT {verdict.window.project}: {alert['what']}: {mend}; {alert['done']}"
    found = _opened(kind, verdict, setting, text=text, alert=alert, columns=names, faults=dict(wrong))
    if before is None:
        return found
    # who knows of the first does not know of the others, and whoever acknowledged it did not acknowledge them
    return replace(found, closed=((before.id, f"more is at fault now: {', '.join(joined[:3])}"),))


def _world(verdict: Verdict, setting: Setting) -> Effects:
    open_already, bad = setting.of_kind(*WORLD), bad_windows(verdict, setting)
    if open_already:
        return _updated(verdict, open_already[0])
    if len(bad) < setting.monitors.k:
        return NOTHING
    kind: IncidentKind = "degraded" if verdict.outcome == "degraded" else "drift"
    ruling = decide(kind, setting.governor, setting.circumstances)
    alert = {
        "what": f"{verdict.reason}, in {_window(verdict)}",
        "how_sure": f"{len(bad)} of the last {setting.monitors.n} windows, {setting.monitors.k} are needed",
        "so_what": "answers are worse than promised"
        if kind == "degraded"
        else "the model sees rows unlike those it was judged on",
        "done": said(ruling),
    }
    text = f"{kind.upper()} {verdict.window.project}: {alert['what']} ({alert['how_sure']}): {alert['done']}"
    found = _opened(kind, verdict, setting, text=text, alert=alert, windows=bad)
    ruled = NewDecision(verdict.window.project, ruling.action, None, ruling.reason, ruling.inputs)
    found = replace(found, decisions=(*found.decisions, ruled))
    if ruling.action != "retrain":
        return found
    event = _event(verdict.window.project, _key(verdict), setting.now)
    return replace(
        found,
        intent=NewIntent(verdict.window.project, clock=setting.circumstances.now),
        messages=(*found.messages, event),
    )


def reconsidered(incident: Incident, ruling: Ruling, last: Decision | None, setting: Setting) -> Effects:
    """Return what a new ruling on an open incident changes; the same ruling as in `last` changes nothing.

    People hear of it only where it asks something of them.
    """
    breaker = ruling.action == "block" and not setting.circumstances.open_faults
    told = last is not None and last.kind == ruling.action and (not breaker or last.reason == ruling.reason)
    if told and ruling.action != "retrain":
        return NOTHING
    key = f"{incident.project}.incident-{incident.id}.{ruling.action}"
    key += f"-{setting.circumstances.failures}" if breaker else ""  # it may be lifted, and trip again
    ruled = NewDecision(incident.project, ruling.action, f"incident {incident.id}", ruling.reason, ruling.inputs)
    if ruling.action == "retrain":
        event = _event(incident.project, f"{key}-{setting.now:%Y%m%dT%H%M%S}", setting.now)  # it may get another later
        promised = NewIntent(incident.project, incident.id, clock=setting.circumstances.now)
        return Effects(messages=(event,), intent=promised, decisions=(ruled,))
    if ruling.action not in ("approve", "suggest") and not breaker:
        return Effects(decisions=(ruled,))
    text = f"{incident.kind.upper()} {incident.project}: {said(ruling)}"
    about = {"incident": incident.id, "generation": incident.generation, "done": said(ruling)}
    return Effects(
        messages=_alerts(incident.project, key, setting, kind=incident.kind, text=text, about=about), decisions=(ruled,)
    )


def said(ruling: Ruling) -> str:
    """Say a ruling to people."""
    words = {
        "retrain": "a retraining was started",
        "suggest": "a retraining is suggested",
        "approve": "a retraining waits for your approval",
        "wait": "the retraining waits",
        "block": "retraining is blocked",
        "skip": "no retraining",
    }
    return f"{words[ruling.action]}: {ruling.reason}"


def _opened(
    kind: IncidentKind, verdict: Verdict, setting: Setting, *, text: str, alert: Mapping[str, str], **more: Any
) -> Effects:
    window = verdict.window
    about = {
        **alert,
        "generation": window.generation,
        "window": window.index,
        "check": verdict.check,
        "rows": verdict.rows,
        "severity": severity(verdict),
    }
    latest: dict[str, Any] = {"check": verdict.check, "window": window.index, "rows": verdict.rows}
    latest |= {"reason": verdict.reason, "size": size(verdict)}
    bad = more.get("windows") or [window.index]
    detail = {**about, **more, "reason": verdict.reason, "text": text}
    detail |= {"count": len(bad), "latest": latest, "worst": {verdict.check: latest}}
    told = NewDecision(window.project, "alert", None, text, {**detail, "channels": list(setting.channels)})
    return Effects(
        opened=NewIncident(
            window.project,
            kind,
            window.generation,
            verdict.reason,
            detail,
            beside=WORLD if kind in WORLD else (),
            severity=severity(verdict),
            first_window=bad[0],
            last_window=window.index,
        ),
        messages=_alerts(
            window.project,
            f"{_key(verdict)}.{kind}",
            replace(setting, links=_links(verdict, setting.links)),
            kind=kind,
            text=text,
            about=about,
        ),
        decisions=(told,),
    )


def _links(verdict: Verdict, links: Mapping[str, str]) -> dict[str, str]:
    """Return the links of an alert, the window's drift report first where there will be one."""
    window = verdict.window
    if verdict.check != "data" or verdict.outcome not in ("drift", "fault") or "overview" not in links:
        return dict(links)
    report = f"{links['overview']}reports/{window.project}/{window.generation}/{window.index}.html"
    return {"report": report, **links}


def _alerts(
    project: str, key: str, setting: Setting, *, kind: IncidentKind, text: str, about: Mapping[str, Any]
) -> tuple[Message, ...]:
    said = {"project": project, "kind": kind, "text": text, "links": dict(setting.links), **about}
    number = about.get("incident")
    told = [Message(f"{key}.{one}", one, "alert", said, setting.now, incident_id=number) for one in setting.channels]
    return tuple(told)


def _event(project: str, key: str, now: datetime) -> Message:
    return Message(f"{key}.event", CHANNEL, "event", payload(RETRAIN, project, {}), now)


def _updated(verdict: Verdict, incident: Incident) -> Effects:
    """Return one more bad window of an incident that is open."""
    more = Update(
        incident.id,
        verdict.check,
        verdict.window.index,
        verdict.rows,
        verdict.reason,
        size(verdict),
        severity(verdict),
        verdict.detail.get("faults", {}),
    )
    return replace(_suppressed(verdict, f"incident {incident.id} ({incident.kind}) is open"), updated=(more,))


def _suppressed(verdict: Verdict, why: str) -> Effects:
    window = verdict.window
    subject = f"window {window.generation}.{window.index}"
    inputs = {"check": verdict.check, "outcome": verdict.outcome, "verdict": verdict.reason}
    return Effects(decisions=(NewDecision(window.project, "suppress", subject, f"no alert: {why}", inputs),))


def _key(verdict: Verdict) -> str:
    """Return what names a verdict, the same whoever computes it."""
    window = verdict.window
    return f"{window.project}.{window.generation}.{verdict.check}.{window.index}"


def _window(verdict: Verdict) -> str:
    return f"window {verdict.window.index} ({verdict.rows} rows)"
