"""The one page for people: per project what serves, how it has been, what is open, and what was decided."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from data.errors import HoldfastError
from monitoring.records import Decision, Incident
from monitoring.store.verdicts import Recorded
from serving.html import link, tag
from serving.state import State

CELLS = 48
DECISIONS = 7
OUTCOMES = ("ok", "drift", "degraded", "fault", "failed", "insufficient")


def overview(state: State) -> str:
    """Return the page's body; a store that does not answer is said, and what is in memory is shown all the same."""
    names = sorted(state.generations.known | state.generations.served.keys())
    served_first = sorted(names, key=lambda name: (name not in state.generations.served, name))
    cards = "".join(card(state, name) for name in served_first)
    empty = '<section class="card">No project yet: <code>holdfast new NAME --from-csv FILE</code></section>'
    return heading(state) + (cards or empty) + legend()


def heading(state: State) -> str:
    """Return the title and the ways to the other pages."""
    settings = state.settings
    prefect = settings.prefect_url.removesuffix("/api")
    links = [link(prefect, "Prefect"), link(settings.mlflow_url, "MLflow"), link("/docs", "API")]
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"<header><h1>Holdfast</h1>{tag('span', now, 'soft small')}<nav>{''.join(links)}</nav></header>"


def card(state: State, name: str) -> str:
    """Return one project."""
    parts = [top(state, name)]
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
        return (
            f'<div class="top">{tag("h2", name)}{tag("span", "no champion yet", "pill")}'
            f'<span class="soft small">run <code>train/{escape(name)}</code></span></div>'
        )
    version = f"{state.settings.mlflow_url}/#/models/{name}/versions/{served.version}"
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
        last = max(recorded, key=lambda one: one.at)
        parts.append(f'<p class="small soft">Last: {escape(last.verdict.reason)}{report_link(last)}</p>')
    decisions = store.ledger.decisions(name, limit=DECISIONS)
    if decisions:
        parts += [tag("h3", "Latest decisions"), f"<table>{''.join(map(decision_row, decisions))}</table>"]
    return parts


def timeline(recorded: Iterable[Recorded], check: str) -> str:
    """Return one check's windows as coloured cells; a gap is a swap."""
    cells, generation = [], None
    for one in reversed([one for one in recorded if one.verdict.check == check][:CELLS]):
        verdict = one.verdict
        swap = " swap" if generation not in {None, verdict.window.generation} else ""
        generation = verdict.window.generation
        said = f"{verdict.outcome}: {verdict.reason} (generation {generation}, window {verdict.window.index})"
        outcome = verdict.outcome if verdict.outcome in OUTCOMES else "insufficient"
        cells.append(f'<i class="{outcome}{swap}" title="{escape(said, quote=True)}"></i>')
    shown = "".join(cells) or tag("span", "none yet", "soft small")
    return f'<div class="line">{tag("span", check, "soft small")}<span class="cells">{shown}</span></div>'


def report_link(one: Recorded) -> str:
    """Return a link to a verdict's stored report, where there is one for people."""
    path = (one.report or {}).get("html")
    return f" · {link(f'/reports/{path}', 'report')}" if isinstance(path, str) and path else ""


def incident_title(one: Incident) -> str:
    """Return an incident's first line."""
    seen = ", acknowledged" if one.acknowledged_at else ""
    return f"Incident {one.id}: {one.kind}, open since {one.opened_at:%Y-%m-%d %H:%M} UTC{seen}"


def note(kind: str, title: str, text: str) -> str:
    """Return something that people should see first."""
    return f'<div class="note {escape(kind, quote=True)}"><b>{escape(title)}</b><br>{escape(text)}</div>'


def decision_row(one: Decision) -> str:
    """Return a line of the ledger."""
    at = f"{one.at:%m-%d %H:%M:%S}"
    return f"<tr>{tag('td', at, 'when')}{tag('td', one.kind, 'kind')}{tag('td', f'{one.subject}: {one.reason}')}</tr>"


def legend() -> str:
    """Say what the colours mean."""
    items = "".join(f'<i class="{name}"></i>{name}' for name in OUTCOMES)
    return f'<p class="small soft legend">{items}</p>'
