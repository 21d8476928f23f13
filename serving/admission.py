"""Before every page: who asks. After it: what became of it."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request

from serving.keys import Client
from serving.refusals import Receive, Refused, Scope, Send, send_body, send_refusal
from serving.state import State

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
HEALTH = ("/healthz", "/readyz")
STORELESS = (*HEALTH, "/metrics", "/docs", "/openapi.json")  # answered while the store is silent
WEBHOOKS = "/v1/webhooks/"  # signed by their senders
SANDBOX = "/sandbox/"  # opened by tickets, which our pages give away
LOGIN = "/login"
VISIT = "holdfast.visit"  # where a request's scope holds it


@dataclass(slots=True)
class Visit:
    """One request to a page.

    `client`: None where nobody had to say who they are, and nobody did. `person`: whether it is known by a cookie, or
    by nothing because nobody needs a key; only then may a form act for it.
    """

    route: str
    project: str = ""
    client: Client | None = None
    person: bool = False
    status: int = 500
    rows: int = 0
    reason: str = ""


class Guarded:
    """Lets nobody without a key come to the pages but probes and webhooks; what a client may see there, routes say."""

    def __init__(self, state: State, pages: Application) -> None:
        self.state, self.pages = state, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and count it."""
        started, path = perf_counter(), scope["path"]
        visit = visit_of(path)
        scope[VISIT] = visit

        async def noted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
            await send(message)

        if self.state.pulse.hangs and path not in STORELESS and not path.startswith("/readyz/"):
            told = Refused(503, self.state.pulse.problem, "store", reason="store")
            visit.reason = told.reason
            await send_refusal(noted, told)
            return self.count(visit, started)
        try:
            self.recognise(visit, scope)
        except Refused as told:
            if not public(path):
                visit.reason = told.reason
                await self.turn_away(scope, noted, told)
                return self.count(visit, started)
        try:
            await self.pages(scope, receive, noted)
        finally:
            self.count(visit, started)
        return None

    def recognise(self, visit: Visit, scope: Scope) -> None:
        """Find out who asks: by a key, or for pages by the cookie of somebody who has logged in.

        Raises: Refused 401 or 503.
        """
        keys, sessions = self.state.keys, self.state.sessions
        try:
            visit.client, visit.person = keys.client(scope["headers"]), keys.open
        except Refused as told:
            by_cookie = told.status == 401 and not keys.open and not scope["path"].startswith("/v1/")
            visit.client = sessions.client(sessions.cookie(dict(scope["headers"]))) if by_cookie else None
            visit.person = visit.client is not None
            if not visit.person:
                raise

    async def turn_away(self, scope: Scope, send: Send, told: Refused) -> None:
        """Send a person to the login, a program why it gets no answer."""
        if told.status != 401 or self.state.keys.open or not for_people(scope):
            return await send_refusal(send, told)
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        if scope["method"] not in {"GET", "HEAD"}:
            path, query = path.rpartition("/")[0] or "/", ""  # the page that its form stood on
        wanted = quote(path + (f"?{query}" if query else ""), safe="/")
        where = f"{LOGIN}?next={wanted}" if wanted != "/" else LOGIN
        headers = [(b"location", where.encode()), (b"cache-control", b"no-store")]
        await send_body(send, 303, (b"content-type", b"text/plain"), b"", headers)
        return None

    def count(self, visit: Visit, started: float) -> None:
        """Count what became of a visit."""
        seconds = perf_counter() - started
        self.state.telemetry.answered(visit.route, visit.project, visit.status, visit.rows, seconds, visit.reason)


def visit_of(path: str) -> Visit:
    """Return the route and the project under which a request is counted."""
    if path.startswith("/v1/") and path.endswith("/labels"):
        return Visit("labels", path[4:-7])
    if path.startswith(WEBHOOKS):
        return Visit("webhooks")
    return Visit("health" if path in HEALTH or path.startswith("/readyz/") else "pages")


def public(path: str) -> bool:
    """Whether a path needs no key: probes, which then learn yes or no only, what is signed, and the login."""
    return path in HEALTH or path == LOGIN or path.startswith(("/readyz/", WEBHOOKS, SANDBOX))


def for_people(scope: Scope) -> bool:
    """Whether a request is a browser's, that wants a page."""
    accepted = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return b"text/html" in accepted and not scope["path"].startswith("/v1/")


def visit_in(request: Request) -> Visit:
    """Return a request's visit."""
    visit = request.scope[VISIT]
    assert isinstance(visit, Visit)
    return visit


async def who_asks(request: Request) -> Client:
    """Return the client of a route that needs one.

    Raises: Refused 401.
    """
    client = visit_in(request).client
    if client is None:
        raise Refused(401, "an API key is needed", "authorization", reason="key")
    return client


Asking = Annotated[Client, Depends(who_asks)]


def needs(scope: str) -> Any:
    """Return what a route depends on to be asked only by clients with a scope, for the project in its path.

    Raises: Refused 403, when it is asked.
    """

    async def allowed(request: Request) -> Client:
        client = await who_asks(request)
        client.allow(scope, str(request.path_params.get("project", "")))
        return client

    return Depends(allowed)
