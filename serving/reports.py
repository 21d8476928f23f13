"""Stored reports for people: other tools' HTML, in which values from data stand unescaped.

Its scripts run in an origin of their own, in a frame of ours: the report's own policy lets it ask nobody for anything,
and our page's policy keeps the frame from being led elsewhere with what it shows. The frame's address is a ticket, so
that it needs no cookie and no key.
"""

import hmac
import time
from hashlib import sha256
from html import escape
from pathlib import Path
from urllib.parse import quote

from starlette.responses import FileResponse

from serving.html import link, tag
from serving.refusals import Refused
from serving.state import State
from serving.viewing import Viewer, heading

POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
}
TICKET_SECONDS = 3600


def located(folder: Path, path: str) -> Path:
    """Return a file below the reports' folder.

    Raises: Refused 404 for anything else, links that lead out of it included.
    """
    missing = Refused(404, f"no report {path[:200]!r}; one follows its verdict within a minute or so", "path")
    if "\0" in path:
        raise missing
    root = folder.resolve()
    try:
        found = (root / path).resolve()
        servable = found.is_relative_to(root) and found.is_file() and found.suffix in KINDS
    except (OSError, RuntimeError) as error:  # a name too long for the file system, a loop of links
        raise missing from error
    if not servable:
        raise missing
    return found


def file(found: Path) -> FileResponse:
    """Return a file whose scripts, if it has any, reach nothing."""
    return FileResponse(found, media_type=KINDS[found.suffix], headers=HEADERS)


def report_page(state: State, viewer: Viewer, path: str) -> str:
    """Return a page of ours around a report."""
    frame, back = framed(state, path, f"report {path}"), link("/", "Overview")
    said = tag("p", "Made by another tool: it runs apart, and reaches nothing.", "soft small")
    return heading(state, viewer, f"report {path}") + f'<section class="card">{back}{said}{frame}</section>'


def framed(state: State, path: str, title: str, *, lazy: bool = False) -> str:
    """Return the frame of a report; a lazy one is asked for once it is seen."""
    until = int(time.time()) + TICKET_SECONDS
    address = f"/sandbox/{until}.{ticket(state, path, until)}/{quote(path)}"
    late = ' loading="lazy"' if lazy else ""
    return (
        f'<iframe sandbox="allow-scripts" referrerpolicy="no-referrer"{late} '
        f'title="{escape(title, quote=True)}" src="{escape(address, quote=True)}"></iframe>'
    )


def ticket(state: State, path: str, until: int) -> str:
    """Return what opens one report for a while; only this process can make it."""
    return hmac.new(state.sessions.secret, f"report {until} {path}".encode(), sha256).hexdigest()


def check_ticket(state: State, sent: str, path: str) -> None:
    """Let a frame of ours in, and nobody else.

    Raises: Refused 403.
    """
    until, _, mac = sent.partition(".")
    counts = until.isascii() and until.isdecimal() and len(until) < 20
    if not counts or int(until) < time.time() or not same(mac, ticket(state, path, int(until))):
        raise Refused(403, "this view of a report is over: load its page again", "ticket", reason="key")


def same(one: str, other: str) -> bool:
    """Compare two codes without telling how much of them is right."""
    return hmac.compare_digest(one.encode(), other.encode())
