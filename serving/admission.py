"""Before every page: who asks. After it: what became of it."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from fastapi import Depends, Request

from serving.keys import Client
from serving.refusals import Receive, Refused, Scope, Send, send_refusal
from serving.state import State

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
HEALTH = ("/healthz", "/readyz")
STORELESS = (*HEALTH, "/metrics", "/docs", "/openapi.json")  # answered while the store is silent
WEBHOOKS = "/v1/webhooks/"  # signed by their senders
VISIT = "holdfast.visit"  # where a request's scope holds it


@dataclass(slots=True)
class Visit:
    """One request to a page. `client`: None where nobody had to say who they are, and nobody did."""

    route: str
    project: str = ""
    client: Client | None = None
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
            visit.client = self.state.keys.client(scope["headers"])
        except Refused as told:
            if not public(path):
                visit.reason = told.reason
                await send_refusal(noted, told)
                return self.count(visit, started)
        try:
            await self.pages(scope, receive, noted)
        finally:
            self.count(visit, started)
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
    return Visit("health" if public(path) else "pages")


def public(path: str) -> bool:
    """Whether a path needs no key: probes, which then learn yes or no only, and webhooks, which are signed."""
    return path in HEALTH or path.startswith(("/readyz/", WEBHOOKS))


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


def needs(scope: str) -> Any:
    """Return what a route depends on to be asked only by clients with a scope, for the project in its path.

    Raises: Refused 403, when it is asked.
    """

    async def allowed(request: Request) -> Client:
        client = await who_asks(request)
        client.allow(scope, str(request.path_params.get("project", "")))
        return client

    return Depends(allowed)
