"""One project on the overview: well or not, its windows, what waits for people, and what was decided."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

from data.errors import HoldfastError
from data.wording import lasting, moment
from models.links import version_page
from monitoring.records import Check, Decision, Incident
from monitoring.store.approvals import Approval
from monitoring.store.trials import Trial
from monitoring.store.verdicts import Recorded
from serving.charts import Mark, chart
from serving.html import link, note, pill, tag
from serving.incident_list import page_of
from serving.state import State
from serving.viewing import prefect
from serving.words import number
from tasks.receipts import account
from tasks.timeline import on_record

WINDOWS = 90
DECISIONS = 6
INCIDENTS = 10
PAST = 3
RECEIPTS = 4
REPORTS = 6
COMPARED = (
    ("rows", "rows", "{:,}"),
    ("not answered", "failed", "{:,}"),
    ("p95, ms", "p95_ms", "{:.2f}"),
    ("metric on labelled rows", "metric", "{:.4g}"),
)


def card(state: State, name: str, broken: str, now: datetime, *, whole: bool) -> str:
    """Return one project; without its picture and its decisions where `whole` is false."""
    parts = []
    if broken:
        parts.append(note("fault", "Its project file is broken, so its flows are disabled", broken))
    problem = state.generations.problems.get(name)
    if problem:
        parts.append(note("fault", "A generation was not swapped in", problem))
    try:
        open_ones = state.store.incidents.open_ones(name)
        told = latest(state, name, WINDOWS if whole else 1)
        parts = [top(state, name, open_ones, told, now), *parts, *waiting(state, name)]
        parts += known(state, name, told) if whole else []
    except HoldfastError as error:
        parts = [top(state, name, [], [], now), *parts, note("fault", "The store does not answer", str(error))]
    return f'<section class="card">{"".join(parts)}</section>'


def latest(state: State, name: str, windows_: int) -> list[Recorded]:
    """Return the verdicts on a project's last windows: those on the data, newest first, then those on performance."""
    checks: tuple[Check, ...] = ("data", "performance")
    return [one for check in checks for one in state.store.verdicts.latest(name, check, windows_)]


def top(state: State, name: str, open_ones: list[Incident], told: list[Recorded], now: datetime) -> str:
    """Return a project's title, and in one sentence whether it is well."""
    served = state.generations.served.get(name)
    title = f"<h2>{link('/projects/' + quote(name, safe=''), name)}</h2>"
    if served is None:
        flows = " and ".join(link(f"{prefect(state)}/deployments", f"{flow}/{name}") for flow in ("ingest", "train"))
        way = f'<span class="soft small">run {flows} in Prefect</span>'
        return f'<div class="top">{title}{pill("no champion yet", "plain")}{way}</div>'
    worst = min(open_ones, key=lambda one: one.severity != "critical", default=None)
    state_of = pill(worst.kind, worst.kind if worst.kind in KINDS else "degraded") if worst else pill("well", "ok")
    version = link(version_page(state.settings.mlflow_url, name, served.version), f"version {served.version}")
    said = f"{tag('b', f'generation {served.generation}')} ({version}) {since(state, name, served.generation, now)}"
    troubles = [f"{link(page_of(one), f'{one.kind} incident {one.id}')} is open" for one in open_ones]
    ready = "not ready" if state.pulse.problem or name in state.generations.problems else "ready"
    rows = state.store.predictions.answered(name, served.generation) if told or open_ones else None
    facts = [said, ready, *([f"{rows:,} rows answered"] if rows is not None else [])]
    facts += [", ".join(troubles) or "no incident is open"]
    sentence = f"<p>{'; '.join(facts)}. {tag('span', budget(told), 'soft')}</p>"
    return f'<div class="top">{title}{state_of}{tag("span", served.predictor.task, "soft small end")}</div>{sentence}'


KINDS = ("drift", "degraded", "fault")


def since(state: State, name: str, number_: int, now: datetime) -> str:
    """Say for how long a generation serves, as far as the store tells."""
    found = state.store.ledger.generation(name) if not state.pulse.problem else None
    return f"serves for {lasting(now - found.at)}" if found and found.number == number_ else "serves"


def budget(told: Iterable[Recorded]) -> str:
    """Say how many false incidents are allowed, as the newest verdict on the data has it."""
    for one in told:
        found = one.verdict.detail.get("budget")
        if isinstance(found, Mapping) and one.verdict.check == "data":
            asked, supported = found.get("asked") or 0.0, found.get("supported")
            more = f" (history supports {number(supported)} so far)" if (supported or 0.0) > 1.001 * asked else ""
            return f"Budget: {number(asked)} false incident{'' if asked == 1 else 's'} a quarter{more}."
    return ""


def waiting(state: State, name: str) -> list[str]:
    """Return what waits for people, and what answers beside the champion."""
    trial = state.store.trials.open(name)
    asked = [question(state, one) for one in state.store.approvals.open_ones(name)]
    return [*asked, *([on_trial(state, trial)] if trial else [])]


def known(state: State, name: str, told: list[Recorded]) -> list[str]:
    """Return what the store knows of a project."""
    store = state.store
    incidents = store.incidents.recent(name, INCIDENTS)
    parts = windows(told, incidents)
    decisions = grouped(store.ledger.decisions(name, limit=10 * DECISIONS))
    rows = "".join(decision_row(newest, more) for newest, more in decisions[:DECISIONS])
    if rows:
        parts += [tag("h3", "Latest decisions"), f'<table class="lines">{rows}</table>']
    closed = [one for one in incidents if one.closed_at][:PAST]
    if closed:
        past = "".join(map(incident_row, closed))
        parts += [tag("h3", "Past incidents"), f'<table class="lines">{past}</table>']
    return [*parts, *receipts(state, name)]


def receipts(state: State, name: str) -> list[str]:
    """Return what the loop's decisions were worth, in a sentence and a line each; nothing before the first."""
    found = account(state.resources, name)
    if not found.lines and not found.waiting:
        return []
    rows = "".join(receipt_row(one) for one in reversed(found.lines[-RECEIPTS:]))
    table = f'<table class="lines">{rows}</table>' if rows else ""
    return [tag("h3", "Receipts"), tag("p", f"{found.sentence}.", "small"), table]


def receipt_row(one: Mapping[str, Any]) -> str:
    """Return one receipt's line."""
    paid = pill(str(one["paid"]), {"yes": "ok", "no": "degraded"}.get(str(one["paid"]), "plain"))
    about = f"{one['kind']} of version {one['version']}"
    said = tag("td", str(one.get("sentence") or "") + ("; labels of selected rows" if one.get("selected") else ""))
    return f'<tr>{tag("td", about, "when")}<td class="kind">{paid}</td>{said}</tr>'


def windows(told: list[Recorded], incidents: Iterable[Incident]) -> list[str]:
    """Return the picture of the last windows, the newest verdicts in words, and their reports."""
    if not told:
        return [tag("p", "No window has a verdict yet.", "soft small")]
    words = in_words(told)
    marks = [mark for one in incidents if (mark := marked(one, told))]
    newest = []
    for check in ("data", "performance"):
        one = next((one for one in told if one.verdict.check == check), None)
        newest += [f"{tag('b', check)} {tag('span', said(one))}"] if one else []
    lines = "".join(f'<p class="small">{line}</p>' for line in newest)
    return [chart(on_record(told, WINDOWS), marks, words), lines, *reports(told)]


def marked(one: Incident, told: Iterable[Recorded]) -> Mark | None:
    """Return an incident's place among the windows: the one that opened it, else the last one before it."""
    index = one.detail.get("window")
    title = f"incident {one.id}: {one.kind}, {moment(one.opened_at)}"
    if isinstance(index, int):
        return Mark(one.generation, index, title, page_of(one))
    before = next((found.verdict.window for found in told if found.at <= one.opened_at), None)
    return Mark(before.generation, before.index, title, page_of(one)) if before else None


def in_words(told: Iterable[Recorded]) -> dict[tuple[int, int, str], str]:
    """Return each verdict in words, by generation, window and check."""
    return {(one.verdict.window.generation, one.verdict.window.index, one.verdict.check): said(one) for one in told}


def said(one: Recorded) -> str:
    """Return a verdict in words, the outcome first."""
    window, reason = one.verdict.window, one.verdict.reason
    told = reason if reason.startswith(one.verdict.outcome) else f"{one.verdict.outcome}: {reason}"
    return f"window {window.generation}.{window.index}: {told}"


def reports(recorded: Iterable[Recorded]) -> list[str]:
    """Return links to the newest drift reports for people."""
    found = []
    for one in recorded:
        path, window = (one.report or {}).get("html"), one.verdict.window
        if isinstance(path, str) and path:
            found.append(link(f"/reports/{path}", f"{window.generation}.{window.index} ({one.verdict.outcome})"))
    return [f'<p class="small soft">Drift reports of windows {", ".join(found[:REPORTS])}</p>'] if found else []


def incident_row(one: Incident) -> str:
    """Return a line on an incident that is over, with how long it lasted."""
    ended = f" Closed after {lasting((one.closed_at or one.opened_at) - one.opened_at)}: {one.closed_why}"
    told = f"{link(page_of(one), f'{one.kind} incident {one.id}')} {tag('span', f'{one.reason}.{ended}')}"
    return f"<tr>{tag('td', f'{one.opened_at:%m-%d %H:%M}', 'when')}<td>{told}</td></tr>"


def question(state: State, one: Approval) -> str:
    """Return what waits for a person's yes or no, with the way to the form."""
    form = link(f"{prefect(state)}/runs/flow-run/{one.run}", "approve or reject") if one.run else ""
    until = tag("span", f"until {moment(one.expires_at)}, then it is a no", "soft small")
    return f'<div class="note asked"><b>{tag("span", one.reason)}</b><br>{form} {until}</div>'


def on_trial(state: State, one: Trial) -> str:
    """Return the version that answers beside the champion, and how both do as the keeper last saw it."""
    does = f"answers {one.share:.3g} of the keys" if one.mode == "canary" else "answers in the shadow"
    page = link(version_page(state.settings.mlflow_url, one.project, one.version), f"version {one.version}")
    told = one.compared or {}
    rows = [("", "champion", "on trial")]
    rows += [(title, *both(told.get(key), form)) for title, key, form in COMPARED]
    cells = "".join(f"<tr>{''.join(tag('td', cell) for cell in row)}</tr>" for row in rows)
    agreed = told.get("agreement")
    shared = "" if agreed is None else tag("span", f"{agreed:.1%} of the answers agree", "soft small")
    since = f"trial {one.id}, since {moment(one.started_at)}"
    head = f"<b>{page} {does}</b> {tag('span', since, 'soft small')}"
    return f'<div class="note asked">{head}<table>{cells}</table>{shared}</div>'


def both(found: Mapping[str, float] | None, form: str) -> tuple[str, str]:
    """Return a number of the champion's and one of the challenger's."""
    if found is None:
        return "-", "-"
    return form.format(found["champion"]), form.format(found["challenger"])


def grouped(decisions: Iterable[Decision]) -> list[tuple[Decision, int]]:
    """Return decisions, newest first, those of one kind in a row as their newest and the count of the others."""
    runs = (list(run) for _, run in groupby(decisions, key=lambda one: one.kind))
    return [(run[0], len(run) - 1) for run in runs]


def decision_row(one: Decision, more: int = 0) -> str:
    """Return a line of the ledger."""
    text = f"{one.subject}: {one.reason}" + (f" (and {more} more before it)" if more else "")
    return f"<tr>{tag('td', f'{one.at:%m-%d %H:%M:%S}', 'when')}{tag('td', one.kind, 'kind')}{tag('td', text)}</tr>"
