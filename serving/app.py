"""The service's front: the predict route as plain ASGI, since routing and models cost more than a small network."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256
from time import perf_counter

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from data.errors import HoldfastError
from monitoring.store.replies import Key
from serving import bodies
from serving.admission import Guarded
from serving.bodies import Headers, media_type, parsed
from serving.generations import Served
from serving.pages import create_pages
from serving.refusals import JSON, NOSNIFF, ClientGone, Receive, Refused, Scope, Send, refused, send_refusal
from serving.replies import answer_head, answer_json, newest
from serving.state import State
from serving.validation import ReadRow
from tasks.settings import Settings

log = logging.getLogger(__name__)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
LARGE = 256 << 10  # bytes; a body above is checked in a thread, so that it holds nobody up
KEYS = {"rows"}
LONGEST_KEY = 200


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
        started = perf_counter()
        try:
            if scope["method"] != "POST":
                raise Refused(405, "send a POST", "method")
            body, rows = await self.predict(project, dict(scope["headers"]), receive)
        except ClientGone:
            self.state.count(project, 499, 0, perf_counter() - started)
        except HoldfastError as error:
            told = refused(error)
            await send_refusal(send, told)
            self.state.count(project, told.status, 0, perf_counter() - started, told.reason)
        else:
            headers = [JSON, (b"content-length", b"%d" % len(body)), NOSNIFF]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            self.state.count(project, 200, rows, perf_counter() - started)

    async def predict(self, project: str, headers: Headers, receive: Receive) -> tuple[bytes, int]:
        """Read, check, predict and log one request, all by the generation that serves as it arrives; count its rows.

        Raises: HoldfastError, as `refused` tells it.
        """
        state = self.state
        client = state.admit(headers.items(), "predict", project)
        state.generations.of(project)
        if media_type(headers) != bodies.JSON:
            raise Refused(415, "send JSON with the header 'content-type: application/json'", "content-type")
        body = await state.bodies.read(headers, receive)
        try:
            served, key = state.generations.of(project), key_of(headers, project, client.name, body)
            rows = rows_of(served, body) if len(body) <= LARGE else await asyncio.to_thread(rows_of, served, body)
            state.charge(client, len(rows))
            logged = await state.batcher.submit(served, rows, key, len(body))
        finally:
            state.bodies.release(len(body))
        generation = newest(logged)
        if generation == served.generation:
            return answer_json(served.head, generation, logged), len(rows)
        version = await asyncio.to_thread(state.version, project, generation)  # every row was answered before
        return answer_json(answer_head(project, generation, version), generation, logged), len(rows)


def rows_of(served: Served, body: bytes) -> list[ReadRow]:
    """Parse and validate a body."""
    content = parsed(body)
    if content.keys() != KEYS:
        stranger = next(iter(sorted(content.keys() - KEYS)), "rows")[:80]
        raise Refused(422, 'a body is {"rows": [...]} and nothing else', stranger)
    return served.reader.read(content["rows"], served.row_limit)


def key_of(headers: Headers, project: str, client: str, body: bytes) -> Key | None:
    """Return the request's Idempotency-Key, with whose it is and what it stands for.

    Raises: Refused 400.
    """
    said = headers.get(b"idempotency-key")
    if said is None:
        return None
    key = said.decode("latin-1")
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise Refused(400, f"1 to {LONGEST_KEY} printable characters expected", "idempotency-key")
    return Key(project, client, key, sha256(body).hexdigest())


@lru_cache(1024)
def predicted_project(path: str) -> str | None:
    """Return the project of /v1/<project>/predict, None for any other path."""
    if not (path.startswith("/v1/") and path.endswith("/predict")):
        return None
    project = path[4:-8]
    return project if project and "/" not in project else None


def create_app(settings: Settings) -> Front:
    """Build the service; nothing is opened before the server's lifespan starts."""
    state = State(settings)
    return Front(state, ProxyHeadersMiddleware(Guarded(state, create_pages(state))))
