"""Who looks at a page, and the forms that this person may send."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from fastapi import Request, Response

from models.links import front_page
from serving.admission import visit_in
from serving.html import link, page, tag
from serving.state import State


@dataclass(frozen=True)
class Viewer:
    """A browser. `acts`: its forms may change something. `logged`: by a key, so that it may log out."""

    name: str
    acts: bool
    logged: bool
    person: bool
    token: str
    cookie: str
    secure: bool
    fresh: bool

    def form(self, action: str, content: str, css: str = "act") -> str:
        """Return a form that is known for ours; `content` is HTML."""
        hidden = f'<input type="hidden" name="token" value="{escape(self.token, quote=True)}">'
        opened = f'<form class="{escape(css, quote=True)}" method="post" action="{escape(action, quote=True)}">'
        return f"{opened}{hidden}{content}</form>"


def viewer_of(state: State, request: Request) -> Viewer:
    """Return who looks; a browser without a cookie gets one, to which the token of its forms is tied."""
    visit, sessions = visit_in(request), state.sessions
    cookie = sessions.cookie(dict(request.scope["headers"]))
    kept = cookie or secrets.token_urlsafe(32)
    client = visit.client
    return Viewer(
        name=client.name if client else "",
        acts=visit.person and client is not None and "admin" in client.scopes,
        logged=visit.person and not state.keys.open,
        person=visit.person,
        token=sessions.token(kept),
        cookie=kept,
        secure=secure(state, request),
        fresh=not cookie,
    )


def secure(state: State, request: Request) -> bool:
    """Whether the browser came by https, here or at the proxy before us."""
    public = urlsplit(state.settings.public_url)
    by_proxy = public.scheme == "https" and request.headers.get("host", "").lower() == public.netloc.lower()
    return request.url.scheme == "https" or by_proxy


def shown(
    state: State, request: Request, title: str, body: Callable[[Viewer], str], *, status: int = 200, refresh: int = 0
) -> Response:
    """Return a page for whoever asks."""
    viewer = viewer_of(state, request)
    return with_cookie(state, viewer, page(title, body(viewer), status, refresh))


def with_cookie(state: State, viewer: Viewer, response: Response) -> Response:
    """Give a browser that has none its cookie along with the page."""
    if viewer.fresh:
        response.headers.append("set-cookie", state.sessions.header(viewer.cookie, secure=viewer.secure))
    return response


def heading(state: State, viewer: Viewer, title: str, *, front: bool = False) -> str:
    """Return the line on top of every page: where one is, and the ways to the others."""
    home = tag("span", "Holdfast") if front else link("/", "Holdfast")
    links = [
        *([] if front else [link("/", "Overview")]),
        link("/incidents", "Incidents"),
        link(prefect(state), "Prefect"),
        link(front_page(state.settings.mlflow_url), "MLflow"),
        link("/docs", "API"),
    ]
    if viewer.logged:
        links.append(viewer.form("/logout", f"<button>Log out {escape(viewer.name)}</button>", "out"))
    said = tag("span", title, "soft small")
    return f'<header><h1>{home}</h1>{said}<nav aria-label="pages">{"".join(links)}</nav></header>'


def prefect(state: State) -> str:
    """Return the address of the Prefect UI."""
    return state.settings.prefect_url.removesuffix("/api")
