"""One incident's page: what, how sure, so what, what was done, and what a person may do."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from data.errors import HoldfastError
from data.wording import lasting, moment
from monitoring.records import Check, Decision, Incident
from monitoring.store.verdicts import Recorded
from serving.charts import chart
from serving.html import link, note, pill, tag
from serving.incident_forms import acts
from serving.incident_list import severity, standing
from serving.project_card import decision_row, in_words, marked
from serving.refusals import Refused
from serving.reports import framed
from serving.state import State
from serving.viewing import Viewer, heading
from serving.words import number
from tasks.timeline import on_record

BEFORE, AFTER = 30, 15  # windows that are shown around its first and its last one
LONGEST = 120  # of which there are no more than these
CHAIN = 200  # lines of the ledger that are shown
LOOKED_AT = 5_000  # and those among which they are found
COLUMNS = 30  # of the triage
QUESTIONS = (("what", "What"), ("how_sure", "How sure"), ("so_what", "So what"), ("done", "What was done"))


def incident_page(state: State, viewer: Viewer, number_: int, notice: str = "") -> str:
    """Return the page's body. `notice`: HTML that comes first.

    Raises: Refused 404.
    """
    one = state.store.incidents.get(number_)
    if one is None:
        raise Refused(404, f"there is no incident {number_}", "id")
    now = datetime.now(UTC)
    told = around(state, one)
    parts = [
        heading(state, viewer, f"incident {one.id}"),
        notice,
        story(one, now),
        acts(one, viewer),
        seen(state, one, told),
        triage(one, told),
        drift_report(state, one, told),
        chain(state, one),
    ]
    return "".join(part if part.startswith(("<header", "<div")) else card(part) for part in parts if part)


def around(state: State, one: Incident) -> list[Recorded]:
    """Return the verdicts of the windows before and after it."""
    first = one.first_window if one.first_window is not None else one.detail.get("window")
    if not isinstance(first, int):
        return []
    last = min(max(one.last_window or first, first) + AFTER, first - BEFORE + LONGEST)
    checks: tuple[Check, ...] = ("data", "performance")
    between = state.store.verdicts.between
    return [told for check in checks for told in between(one.project, one.generation, check, first - BEFORE, last)]


def card(content: str) -> str:
    """Return a box around a part."""
    return f'<section class="card">{content}</section>'


def story(one: Incident, now: datetime) -> str:
    """Say what happened, in the order in which people ask."""
    until = one.closed_at or now
    word = f"closed {moment(one.closed_at)}, after" if one.closed_at else f"open since {moment(one.opened_at)}, for"
    mark = pill("closed", "ok") if one.closed_at else severity(one)
    head = tag("h2", f"{one.kind.capitalize()} in {one.project}", "big")
    line = f'<div class="top">{mark}{tag("span", f"{word} {lasting(until - one.opened_at)}", "soft")}</div>'
    told = [(title, str(one.detail[key])) for key, title in QUESTIONS if one.detail.get(key)]
    told = told or [("What", one.reason)]
    told += [("Over", one.closed_why)] if one.closed_why else []
    told += [("People", "; ".join(people))] if (people := standing(one, now)) else []
    rows = "".join(f"{tag('dt', title)}{tag('dd', words)}" for title, words in told)
    return f"{head}{line}<dl>{rows}</dl>"


def seen(state: State, one: Incident, told: list[Recorded]) -> str:
    """Return the windows around it."""
    if not told:
        return ""
    words = in_words(told)
    marks = [mark for each in state.store.incidents.recent(one.project, 20) if (mark := marked(each, told))]
    drawn = chart(on_record(told, LONGEST), marks, words)
    return f"{tag('h2', f'The windows around it, of generation {one.generation}')}{drawn}" if drawn else ""


def triage(one: Incident, told: Iterable[Recorded]) -> str:
    """Return the columns that moved, those first by which the metric suffers most."""
    found = one.detail.get("triage")
    if not found:
        opened = next(
            (
                each.verdict
                for each in told
                if each.verdict.window.index == one.detail.get("window")
                and each.verdict.check == one.detail.get("check")
            ),
            None,
        )
        found = opened.detail.get("triage") if opened else None
    lines = [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    if not lines:
        return ""
    head = "".join(f'<th scope="col"{"" if at == 0 else NUMBER}>{name}</th>' for at, name in enumerate(TRIAGE))
    rows = "".join(triage_row(each) for each in lines[:COLUMNS])
    more = tag("p", f"and {len(lines) - COLUMNS} more", "soft small") if len(lines) > COLUMNS else ""
    about = (
        "Drift is in units of its threshold, importance what the metric loses without the column, effect by how much "
        "the metric is estimated to have changed (1: unknown). What stands low drifts all the same."
    )
    return (
        f'{tag("h2", "Which columns matter")}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}{tag('p', about, 'soft small')}"
    )


TRIAGE = ("column", "drift", "importance", "effect", "rank")
NUMBER = ' class="number"'


def triage_row(each: Mapping[str, Any]) -> str:
    """Return one column's line."""
    numbers = "".join(tag("td", number(each.get(key)), "number") for key in TRIAGE[1:])
    return f'<tr><th scope="row">{escape(str(each.get("column", "")))}</th>{numbers}</tr>'


def drift_report(state: State, one: Incident, told: Iterable[Recorded]) -> str:
    """Return the whole report of its window, folded: the browser asks for it once it is opened."""
    windows = [each for each in told if isinstance((each.report or {}).get("html"), str)]
    mine = [each for each in windows if each.verdict.window.index == one.detail.get("window")]
    shown = next(iter(mine or windows), None)
    if shown is None:
        return ""
    path = str((shown.report or {})["html"])
    window = shown.verdict.window
    title = f"The drift report of window {window.generation}.{window.index}"
    alone = f'<p class="small">{link(f"/reports/{path}", "Open it on a page of its own")}</p>'
    folded = f'<details class="bare">{tag("summary", "Show it here")}{framed(state, path, title, lazy=True)}</details>'
    return f"{tag('h2', title)}{alone}{folded}"


def chain(state: State, one: Incident) -> str:
    """Return what the ledger says of it: what led to it and followed, as `holdfast why` tells it."""
    try:
        lines: list[Decision] = state.store.ledger.why(
            f"incident {one.id}", one.project, since=one.opened_at, limit=LOOKED_AT
        )
    except HoldfastError as error:
        return note("fault", "The ledger can't be read", str(error))
    rows = "".join(decision_row(each) for each in lines[:CHAIN])
    more = tag("p", f"and {len(lines) - CHAIN} more: holdfast why incident {one.id}", "soft small")
    table = f'<table class="lines">{rows}</table>' if rows else tag("p", "Nothing yet.")
    return f"{tag('h2', 'What the ledger says')}{table}{more if len(lines) > CHAIN else ''}"
