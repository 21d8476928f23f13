"""Incidents in a line each: those that are open, and the last ones that are over."""

from collections.abc import Iterable
from datetime import UTC, datetime

from data.wording import lasting, moment
from monitoring.records import Incident
from serving.html import link, pill, tag
from serving.state import State
from serving.viewing import Viewer, heading
from serving.words import many

SHOWN = 100  # of those that are over
LONGEST = 160  # characters of a reason in a list
WORST = ("critical", "warning", "info")


def incident_list(state: State, viewer: Viewer) -> str:
    """Return the page's body."""
    now = datetime.now(UTC)
    found = state.store.incidents.open_ones()
    over = [one for one in state.store.incidents.recent(None, SHOWN) if one.closed_at]
    open_part = open_rows(found, now) if found else tag("p", "None.", "soft")
    past = "".join(closed_row(one) for one in over)
    past = f'<table class="lines">{past}</table>' if past else tag("p", "None yet.", "soft")
    said = many(len(found), "open incident")
    return (
        heading(state, viewer, said)
        + f'<section class="card">{tag("h2", "Open")}{open_part}</section>'
        + f'<section class="card">{tag("h2", "Over")}{past}</section>'
    )


def open_rows(found: Iterable[Incident], now: datetime) -> str:
    """Return open incidents as a table, the worst first, of those alike the newest first."""
    ordered = sorted(found, key=lambda one: (rank(one), -one.opened_at.timestamp()))
    return f'<table class="lines">{"".join(open_row(one, now) for one in ordered)}</table>'


def open_row(one: Incident, now: datetime) -> str:
    """Return an open incident's line: how bad, how old, where, what."""
    age = tag("td", lasting(now - one.opened_at), "when")
    said = "".join(f" · {words}" for words in standing(one, now))
    told = f"{link(page_of(one), named(one))} {tag('span', short(one.reason))}"
    return f'<tr><td class="kind">{severity(one)}</td>{age}<td>{told}{tag("span", said, "soft")}</td></tr>'


def closed_row(one: Incident) -> str:
    """Return a line on an incident that is over."""
    ended = f"{one.reason}. Closed {moment(one.closed_at)}: {one.closed_why}" if one.closed_at else one.reason
    told = f"{link(page_of(one), named(one))} {tag('span', short(ended))}"
    return f"<tr>{tag('td', f'{one.opened_at:%Y-%m-%d %H:%M}', 'when')}<td>{told}</td></tr>"


def named(one: Incident) -> str:
    """Name an incident for a list."""
    return f"{one.project}: {one.kind} incident {one.id}"


def page_of(one: Incident) -> str:
    """Return the address of an incident's page."""
    return f"/incidents/{one.id}"


def severity(one: Incident) -> str:
    """Return how bad it is as a coloured word."""
    return pill(one.severity, one.severity if one.severity in WORST[:2] else "plain")


def rank(one: Incident) -> int:
    """Return where its severity stands; what is unknown comes last."""
    return WORST.index(one.severity) if one.severity in WORST else len(WORST)


def standing(one: Incident, now: datetime) -> list[str]:
    """Return what people have said to it."""
    said = []
    if one.acknowledged_at:
        said.append(f"acknowledged by {one.acknowledged_by or 'somebody'}")
    if one.snoozed_until and one.snoozed_until > now:
        said.append(f"snoozed by {one.snoozed_by} until {moment(one.snoozed_until)}")
    if one.declared_by:
        said.append(f"declared a fault by {one.declared_by}")
    return said


def short(text: str) -> str:
    """Return the beginning of a sentence."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
