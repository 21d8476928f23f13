"""The way in for people: an API key, given once, for a session that ends by itself."""

from html import escape
from urllib.parse import unquote

from fastapi import FastAPI, Request, Response
from starlette.responses import RedirectResponse

from serving.admission import LOGIN, visit_in
from serving.bodies import Bodies
from serving.forms import read_form
from serving.html import note, page
from serving.refusals import Refused
from serving.sessions import Attempts
from serving.state import State
from serving.viewing import Viewer, secure, viewer_of, with_cookie

LONGEST = 200  # characters of a key, and of an address to go back to
UNKEPT = {"cache-control": "no-store"}


def add_login(app: FastAPI, state: State, bodies: Bodies) -> None:
    """Add the routes to come in and to leave."""
    attempts = Attempts()

    @app.get(LOGIN)
    async def login(request: Request) -> Response:
        viewer, onward = viewer_of(state, request), within(request.query_params.get("next", ""))
        client = visit_in(request).client
        if viewer.person and client and "read" in client.scopes:  # else there is no page to lead on to
            return RedirectResponse(onward, 303, UNKEPT)
        return with_cookie(state, viewer, page("Log in", login_page(viewer, onward)))

    @app.post(LOGIN)
    async def enter(request: Request) -> Response:
        address = request.client.host if request.client else ""
        form = await read_form(state, bodies, request)
        onward = within(form.get("next", ""))
        if state.keys.open:
            return RedirectResponse(onward, 303, UNKEPT)
        try:
            attempts.admit(address)
            cookie = state.sessions.open(form.get("key", "").strip()[:LONGEST])
        except Refused as told:
            if told.status == 401:
                attempts.failed(address)
            visit_in(request).reason = told.reason
            shown = page("Log in", login_page(viewer_of(state, request), onward, told.why), told.status)
            for name, value in told.headers():
                if name != "www-authenticate":  # a browser would ask in a window of its own
                    shown.headers.append(name, value)
            return shown
        state.sessions.close(state.sessions.cookie(dict(request.scope["headers"])))
        return left(state, request, cookie, onward)

    @app.post("/logout")
    async def leave(request: Request) -> Response:
        await read_form(state, bodies, request)
        state.sessions.close(state.sessions.cookie(dict(request.scope["headers"])))
        return left(state, request, "", LOGIN)


def left(state: State, request: Request, cookie: str, onward: str) -> Response:
    """Lead a browser on with another cookie than it came with."""
    answer = RedirectResponse(onward, 303, UNKEPT)
    answer.headers.append("set-cookie", state.sessions.header(cookie, secure=secure(state, request)))
    return answer


def within(wanted: str) -> str:
    """Return a path of ours; whatever leads elsewhere leads to the first page."""
    path = unquote(wanted)[:LONGEST]
    plain = path.startswith("/") and path.isascii() and path.isprintable() and not {"\\", '"'} & set(path)
    return path if plain and not path.startswith("//") else "/"


def login_page(viewer: Viewer, onward: str, why: str = "") -> str:
    """Return the page's body."""
    told = note("wrong", "Not this time", why) if why else ""
    hidden = f'<input type="hidden" name="next" value="{escape(onward, quote=True)}">'
    field = (
        '<label for="key">API key</label>'
        '<input id="key" name="key" type="password" required autofocus autocomplete="current-password" '
        f'maxlength="{LONGEST}" placeholder="hf_…"><button class="first">Log in</button>'
    )
    about = '<p class="soft small">For eight hours, or until you log out. To read, a key needs the scope <b>read</b>; '
    about += "to act on incidents, <b>admin</b>: <code>holdfast keys add NAME --scope admin</code></p>"
    form = viewer.form(LOGIN, hidden + field, "login")
    return f'<section class="card narrow"><h1>Holdfast</h1>{told}{form}{about}</section>'
