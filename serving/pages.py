"""Every route but predict: few enough calls that FastAPI may route them."""

from dataclasses import asdict
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from data.errors import HoldfastError
from data.packing import row_hash
from serving.admission import Asking, for_people, needs, visit_in
from serving.html import link, note, page
from serving.keys import Client
from serving.labelling import read_labels, record
from serving.people import add_people
from serving.refusals import ClientGone, Refused, refused
from serving.state import State
from serving.telemetry import exposition
from serving.values import Unfit, identifier
from serving.webhook import add_webhook

NOSNIFF = {"x-content-type-options": "nosniff"}


def create_pages(state: State) -> FastAPI:
    """Build the application; its own documentation pages are off, since they load scripts from elsewhere."""
    app = FastAPI(title="Holdfast service", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(HoldfastError, tell_refusal)
    app.add_exception_handler(HTTPException, tell_status)
    add_health(app, state)
    add_data(app, state)
    add_people(app, state)
    add_machines(app, state)
    add_webhook(app, state)
    return app


async def tell_refusal(request: Request, error: Exception) -> Response:
    """Send an expected error as JSON."""
    assert isinstance(error, HoldfastError)
    if isinstance(error, ClientGone):
        return Response(status_code=499)  # nobody reads it
    told = refused(error)
    visit_in(request).reason = told.reason
    response: Response = JSONResponse({"error": told.why, "where": told.where}, told.status, NOSNIFF)
    if for_people(request.scope) and told.status != 401:
        said = note("wrong", f"Status {told.status}", told.why)
        ways = link("/", "Overview")
        if told.reason == "scope":
            ways = link("/login", "Log in with another key")
        response = page("Holdfast", f'<section class="card">{said}<p>{ways}</p></section>', told.status)
    for name, value in told.headers():
        response.headers.append(name, value)
    return response


async def tell_status(request: Request, error: Exception) -> Response:
    """Send a path or method that isn't served as JSON."""
    assert isinstance(error, HTTPException)
    headers = {**NOSNIFF, **(error.headers or {})}
    return JSONResponse({"error": error.detail, "where": request.url.path[:200]}, error.status_code, headers)


def add_health(app: FastAPI, state: State) -> None:
    """Routes for supervisors."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        client = visit_in(request).client
        names = sorted(state.generations.known | state.generations.served.keys())
        return readiness(state, names, client)

    @app.get("/readyz/{project}")
    async def readyz_project(project: str, request: Request) -> JSONResponse:
        client = visit_in(request).client
        if client is not None and client.sees(project) and project not in state.generations.known:
            state.generations.of(project)
        return readiness(state, [project], client)


def readiness(state: State, projects: list[str], client: Client | None) -> JSONResponse:
    """Return 200 once the log works, a project is served, none that should be isn't, and newer ones are looked for.

    The body says which, to a client who may know of it; a probe without a key learns yes or no.
    """
    generations = state.generations
    broken, stalled = state.pulse.problem, generations.stalled
    told: dict[str, Any] = {}
    for name in projects:
        served, problem = generations.served.get(name), generations.problems.get(name, "")
        told[name] = {
            "ready": served is not None,
            "generation": served.generation if served else None,
            "version": served.version if served else None,
            "problem": problem or stalled or ("" if served else "no champion yet"),
        }
    wanted = [one["ready"] for name, one in told.items() if one["ready"] or name in generations.problems]
    ready = not (broken or stalled) and bool(wanted) and all(wanted)
    content: dict[str, Any] = {"ready": ready}
    if client is not None:
        seen = {name: one for name, one in told.items() if client.sees(name)}
        content |= {"store": broken or "ok", "keys": "open" if state.keys.open else "needed", "projects": seen}
    return JSONResponse(content, 200 if ready else 503, NOSNIFF if ready else NOSNIFF | {"retry-after": "1"})


def add_data(app: FastAPI, state: State) -> None:
    """Routes for programs."""

    @app.get("/v1/projects")
    def projects(client: Asking) -> JSONResponse:
        seen = [project_entry(state, name) for name in sorted(state.generations.known) if client.sees(name)]
        return JSONResponse(seen, headers=NOSNIFF)

    @app.post("/v1/{project}/labels")
    async def labels(project: str, request: Request, client: Annotated[Client, needs("label")]) -> JSONResponse:
        schema = state.generations.of(project).predictor.schema
        body, size = await state.bodies.read_json(request.scope, request.receive)
        try:
            if body.keys() != {"labels"}:
                stranger = next(iter(sorted(body.keys() - {"labels"})), "labels")[:80]
                raise Refused(422, 'a body is {"labels": [...]} and nothing else', stranger)
            said = await to_thread.run_sync(read_labels, body["labels"], schema)
            if client.labels is not None:
                client.labels.take(len(said))
            receipt = await record(state, project, said)
        finally:
            state.bodies.release(size)
        visit_in(request).rows = len(said)
        return JSONResponse({"project": project, **asdict(receipt)}, headers=NOSNIFF)

    @app.get("/v1/{project}/predictions/{prediction_id:path}", dependencies=[needs("predict")])
    def prediction(project: str, prediction_id: str) -> JSONResponse:
        if project not in state.generations.known:
            state.generations.of(project)
        found = state.store.predictions.get(project, prediction_id) if possible(prediction_id) else None
        if found is None:
            raise Refused(404, "no prediction has this id", "id")
        told = {
            "id": found.id,
            "project": project,
            "generation": found.generation,
            "version": state.version(project, found.generation, found.trial),
            "trial": found.trial or None,
            "answered_at": found.at.isoformat(),
            "row_time": found.row_time.isoformat(),
            "features_sha256": row_hash(found.features),
            "output": dict(found.output),
            "label": found.label,
        }
        return JSONResponse(told, headers=NOSNIFF)


def possible(identity: str) -> bool:
    """Whether a prediction may have this id; PostgreSQL does not even look for some others."""
    try:
        identifier(identity)
    except Unfit:
        return False
    return True


def project_entry(state: State, name: str) -> dict[str, Any]:
    """Describe one project to a program."""
    served = state.generations.served.get(name)
    if served is None:
        return {"project": name, "ready": False, "problem": state.generations.problems.get(name, "no champion yet")}
    return {
        "project": name,
        "ready": True,
        "problem": state.generations.problems.get(name, ""),
        "generation": served.generation,
        "version": served.version,
        "task": served.predictor.task,
        "row_limit": served.row_limit,
        "schema": served.predictor.schema.to_json(),
    }


def add_machines(app: FastAPI, state: State) -> None:
    """Routes for what watches machines."""
    scrapes = CapacityLimiter(1)  # a thread beside those of the other pages, which may all be taken

    @app.get("/metrics", dependencies=[needs("read")])
    async def metrics() -> Response:
        content, kind = await to_thread.run_sync(exposition, state, limiter=scrapes)
        return Response(content, media_type=kind, headers=NOSNIFF)
