"""The route by which a person acts on an incident: a form of ours, one deed, and back to the page."""

from typing import Annotated

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from starlette.responses import RedirectResponse

from data.errors import HoldfastError, ServerUnavailable
from serving.admission import needs, visit_in
from serving.bodies import Bodies
from serving.deeds import DEEDS
from serving.forms import read_form
from serving.html import note
from serving.incident_page import incident_page
from serving.keys import Client
from serving.refusals import Refused
from serving.state import State
from serving.viewing import shown

LONGEST_NUMBER = 18  # digits; more are in no store


def add_deeds(app: FastAPI, state: State, bodies: Bodies) -> None:
    """Add it; whoever acts needs the scope `admin`."""

    @app.post("/incidents/{number}/{deed}")
    async def act(request: Request, number: str, deed: str, client: Annotated[Client, needs("admin")]) -> Response:
        known, work = identity(number), DEEDS.get(deed)
        if work is None:
            raise Refused(404, f"nothing is called {deed[:80]!r}", "path")
        form = await read_form(state, bodies, request)
        if not visit_in(request).person:  # a browser sends HTTP Basic by itself
            raise Refused(403, "a key in a header acts on nothing: log in, or use the command line", "authorization")
        try:
            await to_thread.run_sync(work, state.resources, known, client.name, form)
        except HoldfastError as error:
            return await to_thread.run_sync(not_done, state, request, known, refused_deed(error))
        return RedirectResponse(f"/incidents/{known}?did={deed}", 303, {"cache-control": "no-store"})


def not_done(state: State, request: Request, number: int, told: Refused) -> Response:
    """Return the incident's page with the reason why nothing was done."""
    visit_in(request).reason = told.reason
    said = note("wrong", "Nothing was done", told.why)
    title = f"Incident {number}"
    return shown(state, request, title, lambda viewer: incident_page(state, viewer, number, said), status=told.status)


def refused_deed(error: HoldfastError) -> Refused:
    """Say why nothing was done: it is not possible as things stand, or the store is away."""
    if isinstance(error, Refused):
        return error
    return Refused(503 if isinstance(error, ServerUnavailable) else 409, str(error))


def identity(text: str) -> int:
    """Return an incident's number.

    Raises: Refused 404.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER):
        raise Refused(404, f"{text[:80]!r} is no incident's number", "id")
    return int(text)
