"""The first page for people: per project whether it is well, how it has been, what is open, and what was decided."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from data.errors import HoldfastError
from data.wording import moment
from monitoring.records import Incident
from serving.html import link, tag
from serving.incident_list import open_rows
from serving.project_card import card
from serving.refusals import Refused
from serving.state import State
from serving.viewing import Viewer, heading
from serving.words import many

WHOLE = 6  # served projects; of more, each has its picture and its decisions on a page of its own


def overview(state: State, viewer: Viewer) -> str:
    """Return the page's body; a store that does not answer is said, and what is in memory is shown all the same."""
    broken = broken_files(state.settings.home)
    names = sorted(state.generations.known | state.generations.served.keys() | broken.keys())
    served_first = sorted(names, key=lambda name: (name not in state.generations.served, name))
    now = datetime.now(UTC)
    whole = len(state.generations.served) <= WHOLE
    cards = "".join(card(state, name, broken.get(name, ""), now, whole=whole) for name in served_first)
    empty = '<section class="card">No project yet: <code>holdfast new NAME --from-csv FILE</code></section>'
    return heading(state, viewer, moment(now), front=True) + summary(state, names, now) + (cards or empty)


def project_page(state: State, viewer: Viewer, name: str) -> str:
    """Return the body of one project's page.

    Raises: Refused 404.
    """
    broken = broken_files(state.settings.home)
    if name not in state.generations.known | state.generations.served.keys() | broken.keys():
        raise Refused(404, f"there is no project {name[:80]!r}", "project")
    shown = card(state, name, broken.get(name, ""), datetime.now(UTC), whole=True)
    return heading(state, viewer, "project") + shown


def broken_files(home: Path) -> dict[str, str]:
    """Return why each project file that fails is disabled, as the runner last noted it."""
    try:
        noted = orjson.loads((home / "run" / "broken.json").read_bytes())
        return {str(name): f"{one['where']}: {one['why']}" for name, one in noted.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def summary(state: State, names: Iterable[str], now: datetime) -> str:
    """Say how it is as a whole, and what is open wherever it is."""
    served = [name for name in names if name in state.generations.served]
    try:
        found: list[Incident] = state.store.incidents.open_ones()
        waiting = len(state.store.approvals.open_ones())
    except HoldfastError as error:
        return f'<section class="card"><b>The store does not answer</b><p>{tag("span", str(error))}</p></section>'
    counted = [
        f"{many(len(served), 'project')} {'serves' if len(served) == 1 else 'serve'}",
        f"{many(len(found), 'incident is', 'incidents are')} open" if found else "no incident is open",
        *([f"{many(waiting, 'version waits', 'versions wait')} for a person"] if waiting else []),
    ]
    rows = open_rows(found, now) if found else ""
    more = f'<p class="small">{link("/incidents", "All incidents")}</p>' if found else ""
    return f'<section class="card"><p class="lead">{tag("b", ", ".join(counted) + ".")}</p>{rows}{more}</section>'
