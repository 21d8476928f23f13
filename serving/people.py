"""Routes for browsers: what people read."""

from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from serving.admission import Asking, needs
from serving.bodies import Bodies
from serving.deeds import done
from serving.documentation import documentation
from serving.doing import add_deeds, identity
from serving.html import page
from serving.incident_list import incident_list
from serving.incident_page import incident_page
from serving.login import add_login
from serving.openapi import document
from serving.overview import overview, project_page
from serving.reports import check_ticket, file, located, report_page
from serving.state import State
from serving.viewing import shown

NOSNIFF = {"x-content-type-options": "nosniff"}
REFRESH = 30  # seconds


def add_people(app: FastAPI, state: State) -> None:
    """Add them; whoever reads needs the scope `read`."""
    bodies = Bodies(limit=16 << 10, room=1 << 20)
    read = [needs("read")]

    @app.get("/", dependencies=read)
    def front(request: Request) -> Response:
        return shown(state, request, "Holdfast", lambda viewer: overview(state, viewer), refresh=REFRESH)

    @app.get("/projects/{name}", dependencies=read)
    def project(request: Request, name: str) -> Response:
        return shown(state, request, "Project", lambda viewer: project_page(state, viewer, name), refresh=REFRESH)

    @app.get("/incidents", dependencies=read)
    def incidents(request: Request) -> Response:
        return shown(state, request, "Incidents", lambda viewer: incident_list(state, viewer), refresh=REFRESH)

    @app.get("/incidents/{number}", dependencies=read)
    def incident(request: Request, number: str) -> Response:
        ours = request.headers.get("sec-fetch-site", "same-origin") == "same-origin"  # a link of others says nothing
        known, notice = identity(number), done(request.query_params.get("did", "")) if ours else ""
        return shown(state, request, f"Incident {known}", lambda viewer: incident_page(state, viewer, known, notice))

    add_deeds(app, state, bodies)
    add_login(app, state, bodies)
    add_reports(app, state)
    add_documentation(app, state)


def add_reports(app: FastAPI, state: State) -> None:
    """Add the pages around reports, and the way to what stands in their frames."""
    folder = state.settings.home / "reports"

    @app.get("/reports/{path:path}", dependencies=[needs("read")])
    def reports(request: Request, path: str) -> Response:
        found = located(folder, path)
        if found.suffix != ".html":
            return file(found)
        return shown(state, request, "Report", lambda viewer: report_page(state, viewer, path))

    @app.get("/sandbox/{ticket}/{path:path}")
    def sandbox(request: Request, ticket: str, path: str) -> Response:
        check_ticket(state, ticket, path)
        if request.headers.get("sec-fetch-dest", "iframe") != "iframe":  # on a page of its own it could lead away
            return RedirectResponse(f"/reports/{quote(path)}", 303)
        return file(located(folder, path))


def add_documentation(app: FastAPI, state: State) -> None:
    """Add the document of the routes for programs, and the same for people."""

    @app.get("/openapi.json")
    def openapi(client: Asking) -> JSONResponse:
        return JSONResponse(document(state, client), headers=NOSNIFF)

    @app.get("/docs")
    def docs(request: Request, client: Asking) -> Response:
        base = state.settings.public_url or str(request.base_url).rstrip("/")
        return page("Holdfast service", documentation(document(state, client), base))
