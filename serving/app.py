"""The service's front: the predict route as plain ASGI, since routing and models cost more than a small network."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from data.errors import HoldfastError
from serving.admission import Guarded
from serving.generations import Served
from serving.pages import create_pages
from serving.refusals import ClientGone, Receive, Refused, Scope, Send, refused, send_json, send_refusal
from serving.state import State, answered
from serving.validation import ReadRow
from tasks.settings import Settings

log = logging.getLogger(__name__)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
LARGE = 256 << 10  # bytes; a body above is checked in a thread, so that it holds nobody up
KEYS = {"rows"}


@dataclass(slots=True)
class Asked:
    """One request to predict, as far as it has come."""

    project: str
    scope: Scope
    rows: int = 0


class Front:
    """Answers predictions itself and leaves every other path to the pages."""

    def __init__(self, state: State, pages: Application) -> None:
        self.state, self.pages = state, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's lifetime."""
        if scope["type"] == "http":
            project = predicted_project(scope["path"])
            if project is None:
                await self.pages(scope, receive, send)
            else:
                await self.respond(project, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def live(self, receive: Receive, send: Send) -> None:
        """Open everything before the first request, close it after the last."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self.state.stop)
                await send({"type": "lifespan.shutdown.complete"})
                return
            try:
                await asyncio.to_thread(self.state.start)
            except (HoldfastError, OSError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})

    async def respond(self, project: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, or the reason why there is none, and count it."""
        started, asked = perf_counter(), Asked(project, scope)
        try:
            if scope["method"] != "POST":
                raise Refused(405, "send a POST", "method")
            content = await self.predict(asked, receive)
        except ClientGone:
            self.state.count(project, 499, 0, perf_counter() - started)
        except HoldfastError as error:
            told = refused(error)
            await send_refusal(send, told)
            self.state.count(project, told.status, 0, perf_counter() - started, told.reason)
        else:
            await send_json(send, 200, content)
            self.state.count(project, 200, asked.rows, perf_counter() - started)

    async def predict(self, asked: Asked, receive: Receive) -> dict[str, object]:
        """Read, check, predict and log one request, all by the generation that serves as it arrives.

        Raises: HoldfastError, as `refused` tells it.
        """
        state, project = self.state, asked.project
        client = state.admit(asked.scope["headers"], "predict", project)
        state.generations.of(project)
        body, size = await state.bodies.read_json(asked.scope, receive)
        try:
            served = state.generations.of(project)
            rows = await read_rows(served, body, size)
            state.charge(client, len(rows))
            asked.rows = len(rows)
            predictions = await state.batcher.answer(served, rows)
        finally:
            state.bodies.release(size)
        newest = max(prediction.generation for prediction in predictions)
        if newest == served.generation:
            version = served.version
        else:  # every row was answered before, by another generation
            version = await asyncio.to_thread(state.version, project, newest)
        return answered(project, newest, version, predictions)


async def read_rows(served: Served, body: dict[str, Any], size: int) -> list[ReadRow]:
    """Return the rows of a body validated.

    Raises: Refused 422; BadRow.
    """
    if body.keys() != KEYS:
        stranger = next(iter(sorted(body.keys() - KEYS)), "rows")[:80]
        raise Refused(422, 'a body is {"rows": [...]} and nothing else', stranger)
    if size > LARGE:
        return await asyncio.to_thread(served.reader.read, body["rows"], served.row_limit)
    return served.reader.read(body["rows"], served.row_limit)


def predicted_project(path: str) -> str | None:
    """Return the project of /v1/<project>/predict, None for any other path."""
    if not (path.startswith("/v1/") and path.endswith("/predict")):
        return None
    project = path[4:-8]
    return project if project and "/" not in project else None


def create_app(settings: Settings) -> Front:
    """Build the service; nothing is opened before the server's lifespan starts."""
    state = State(settings)
    return Front(state, Guarded(state, create_pages(state)))
