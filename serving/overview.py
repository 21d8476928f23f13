"""The one page for people: per project what serves, how it has been, what is open, and what was decided."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path

import orjson

from data.errors import HoldfastError
from models.links import front_page, version_page
from monitoring.records import Decision, Incident
from monitoring.store.approvals import Approval
from monitoring.store.trials import Trial
from monitoring.store.verdicts import Recorded
from serving.html import link, tag
from serving.state import State

CELLS = 48
DECISIONS = 8
INCIDENTS = 4
REPORTS = 6
COMPARED = (
    ("rows", "rows", "{:,}"),
    ("not answered", "failed", "{:,}"),
    ("p95, ms", "p95_ms", "{:.2f}"),
    ("metric on labelled rows", "metric", "{:.4g}"),
)
OUTCOMES = ("ok", "drift", "degraded", "fault", "failed", "insufficient")


def overview(state: State) -> str:
    """Return the page's body; a store that does not answer is said, and what is in memory is shown all the same."""
    broken = broken_files(state.settings.home)
    names = sorted(state.generations.known | state.generations.served.keys() | broken.keys())
    served_first = sorted(names, key=lambda name: (name not in state.generations.served, name))
    cards = "".join(card(state, name, broken.get(name, "")) for name in served_first)
    empty = '<section class="card">No project yet: <code>holdfast new NAME --from-csv FILE</code></section>'
    return heading(state) + (cards or empty) + legend()


def broken_files(home: Path) -> dict[str, str]:
    """Return why each project file that fails is disabled, as the runner last noted it."""
    try:
        noted = orjson.loads((home / "run" / "broken.json").read_bytes())
        return {str(name): f"{one['where']}: {one['why']}" for name, one in noted.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def heading(state: State) -> str:
    """Return the title and the ways to the other pages."""
    mlflow = front_page(state.settings.mlflow_url)
    links = [link(prefect(state), "Prefect"), link(mlflow, "MLflow"), link("/docs", "API")]
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"<header><h1>Holdfast</h1>{tag('span', now, 'soft small')}<nav>{''.join(links)}</nav></header>"


def prefect(state: State) -> str:
    """Return the address of the Prefect UI."""
    return state.settings.prefect_url.removesuffix("/api")


def card(state: State, name: str, broken: str) -> str:
    """Return one project."""
    parts = [top(state, name)]
    if broken:
        parts.append(note("fault", "Its project file is broken, so its flows are disabled", broken))
    problem = state.generations.problems.get(name)
    if problem:
        parts.append(note("fault", "A generation was not swapped in", problem))
    try:
        parts += history(state, name)
    except HoldfastError as error:
        parts.append(note("fault", "The store does not answer", str(error)))
    return f'<section class="card">{"".join(parts)}</section>'


def top(state: State, name: str) -> str:
    """Return a project's title line."""
    served = state.generations.served.get(name)
    if served is None:
        flows = " and ".join(link(f"{prefect(state)}/deployments", f"{flow}/{name}") for flow in ("ingest", "train"))
        return (
            f'<div class="top">{tag("h2", name)}{tag("span", "no champion yet", "pill")}'
            f'<span class="soft small">run {flows} in Prefect</span></div>'
        )
    version = version_page(state.settings.mlflow_url, name, served.version)
    since = f"{served.predictor.task}, in memory since {served.since:%Y-%m-%d %H:%M} UTC"
    return (
        f'<div class="top">{tag("h2", name)}{tag("span", "serving", "pill ok")}'
        f"<span>generation {served.generation} · {link(version, f'version {served.version}')}</span>"
        f"{tag('span', since, 'soft small')}</div>"
    )


def history(state: State, name: str) -> list[str]:
    """Return what the store knows of a project."""
    store = state.store
    parts = [note(one.kind, incident_title(one), one.reason) for one in store.incidents.open_ones(name)]
    parts += [question(state, one) for one in store.approvals.open_ones(name)]
    trial = store.trials.open(name)
    parts += [on_trial(state, trial)] if trial else []
    served = state.generations.served.get(name)
    if served is not None:
        rows = store.predictions.count(name, served.generation)
        labels = store.labels.count(name, served.generation)
        parts.append(
            f'<p class="small soft">{rows:,} rows answered by this generation, {labels:,} of them labelled</p>'
        )
    recorded = store.verdicts.history(name, 2 * CELLS)
    if recorded:
        parts.append(tag("h3", "Windows, oldest first; a gap is a swap"))
        parts += [timeline(recorded, check) for check in ("data", "performance")]
        parts += reports(recorded)
    closed = [one for one in store.incidents.recent(name, INCIDENTS) if one.closed_at]
    if closed:
        parts += [tag("h3", "Past incidents"), f"<table>{''.join(map(incident_row, closed))}</table>"]
    decisions = grouped(store.ledger.decisions(name, limit=10 * DECISIONS))
    if decisions:
        rows_of_it = "".join(decision_row(newest, more) for newest, more in decisions[:DECISIONS])
        parts += [tag("h3", "Latest decisions"), f"<table>{rows_of_it}</table>"]
    return parts


def timeline(recorded: Iterable[Recorded], check: str) -> str:
    """Return one check's windows as coloured cells and the newest verdict in words."""
    cells: list[str] = []
    shown, generation = [one for one in recorded if one.verdict.check == check][:CELLS], None
    for one in reversed(shown):
        window = one.verdict.window
        swap = " swap" if generation not in {None, window.generation} else ""
        generation = window.generation
        outcome = one.verdict.outcome if one.verdict.outcome in OUTCOMES else "insufficient"
        cells.append(f'<i class="{outcome}{swap}" title="{escape(said(one), quote=True)}"></i>')
    line = f'<span class="cells">{"".join(cells)}</span>' if cells else tag("span", "none yet", "soft small")
    newest = f'<span></span><span class="soft small">{escape(said(shown[0]))}</span>' if shown else ""
    return f'<div class="line">{tag("span", check, "soft small")}{line}{newest}</div>'


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


def incident_title(one: Incident) -> str:
    """Return an open incident's first line."""
    seen = ", acknowledged" if one.acknowledged_at else ""
    return f"Incident {one.id}: {one.kind}, open since {one.opened_at:%Y-%m-%d %H:%M} UTC{seen}"


def incident_row(one: Incident) -> str:
    """Return a line on an incident that is over."""
    ended = f" Closed {one.closed_at:%H:%M:%S}: {one.closed_why}" if one.closed_at else ""
    told = tag("td", f"Incident {one.id}: {one.reason}.{ended}")
    return f"<tr>{tag('td', f'{one.opened_at:%m-%d %H:%M:%S}', 'when')}{tag('td', one.kind, 'kind')}{told}</tr>"


def note(kind: str, title: str, text: str) -> str:
    """Return something that people should see first."""
    return f'<div class="note {escape(kind, quote=True)}"><b>{escape(title)}</b><br>{escape(text)}</div>'


def question(state: State, one: Approval) -> str:
    """Return what waits for a person's yes or no, with the way to the form."""
    form = link(f"{prefect(state)}/runs/flow-run/{one.run}", "approve or reject") if one.run else ""
    until = tag("span", f"until {one.expires_at:%Y-%m-%d %H:%M} UTC, then it is a no", "soft small")
    return f'<div class="note asked"><b>{escape(one.reason)}</b><br>{form} {until}</div>'


def on_trial(state: State, one: Trial) -> str:
    """Return the version that answers beside the champion, and how both do as the keeper last saw it."""
    does = f"answers {one.share:.3g} of the keys" if one.mode == "canary" else "answers in the shadow"
    page = link(version_page(state.settings.mlflow_url, one.project, one.version), f"version {one.version}")
    told = one.compared or {}
    rows = [("", "champion", "on trial")]
    rows += [(title, *both(told.get(key), form)) for title, key, form in COMPARED]
    cells = "".join(f"<tr>{''.join(tag('td', cell) for cell in row)}</tr>" for row in rows)
    agreed = told.get("agreement")
    said = "" if agreed is None else tag("span", f"{agreed:.1%} of the answers agree", "soft small")
    since = f"trial {one.id}, since {one.started_at:%Y-%m-%d %H:%M} UTC"
    head = f"<b>{page} {does}</b> {tag('span', since, 'soft small')}"
    return f'<div class="note asked">{head}<table>{cells}</table>{said}</div>'


def both(found: Mapping[str, float] | None, form: str) -> tuple[str, str]:
    """Return a number of the champion's and one of the challenger's."""
    if found is None:
        return "-", "-"
    return form.format(found["champion"]), form.format(found["challenger"])


def grouped(decisions: Iterable[Decision]) -> list[tuple[Decision, int]]:
    """Return decisions, newest first, those of one kind in a row as their newest and the count of the others."""
    runs = (list(run) for _, run in groupby(decisions, key=lambda one: one.kind))
    return [(run[0], len(run) - 1) for run in runs]


def decision_row(one: Decision, more: int) -> str:
    """Return a line of the ledger."""
    text = f"{one.subject}: {one.reason}" + (f" (and {more} more before it)" if more else "")
    return f"<tr>{tag('td', f'{one.at:%m-%d %H:%M:%S}', 'when')}{tag('td', one.kind, 'kind')}{tag('td', text)}</tr>"


def legend() -> str:
    """Say what the colours mean."""
    items = "".join(f'<i class="{name}"></i>{name}' for name in OUTCOMES)
    return f'<p class="small soft legend">{items}</p>'
