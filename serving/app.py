"""The service's front: the predict route as plain ASGI, since routing and models cost more than a small network."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from time import perf_counter
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from data.errors import HoldfastError
from monitoring.store.journal import Logged
from monitoring.store.replies import Key
from serving import bodies
from serving.admission import Guarded
from serving.answering import Question
from serving.bodies import ARROW, Headers, media_type, parsed
from serving.generations import Served
from serving.lists import Wanted, list_json, wanted
from serving.pages import create_pages
from serving.refusals import JSON, NOSNIFF, ClientGone, Header, Receive, Refused, Scope, Send, refused, send_refusal
from serving.replies import answer_head, answer_json, newest
from serving.state import State
from serving.validation import ReadColumns, ReadRow
from tasks.settings import Settings

log = logging.getLogger(__name__)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Read = Callable[[Served, bytes], Question | Wanted]
Answer = Callable[[str, Headers, Receive], Awaitable[tuple[Header, bytes, int]]]
LARGE = 256 << 10  # bytes; a body above is checked in a thread, so that it holds nobody up
KEYS = {"rows"}
PREDICT, RANK = "/predict", "/rank"
LONGEST_KEY = 200
ARROW_TYPE = (b"content-type", ARROW)


class Front:
    """Answers predictions itself and leaves every other path to the pages."""

    def __init__(self, state: State, pages: Application) -> None:
        self.state, self.pages = state, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the server's lifetime."""
        if scope["type"] == "http":
            if (project := predicted_project(scope["path"])) is not None:
                await self.respond(project, self.predict, scope, receive, send)
            elif (project := predicted_project(scope["path"], RANK)) is not None:
                await self.respond(project, self.rank, scope, receive, send)
            else:
                await self.pages(scope, receive, send)
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
            cores = self.state.cores
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=cores.spread))
            try:
                await asyncio.to_thread(self.state.start)
            except (HoldfastError, OSError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            cores.gather()
            await send({"type": "lifespan.startup.complete"})

    async def respond(self, project: str, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, or the reason why there is none, and count it."""
        started = perf_counter()
        try:
            check_method(scope)
            kind, body, rows = await answer(project, dict(scope["headers"]), receive)
        except ClientGone:
            self.state.count(project, 499, 0, perf_counter() - started)
        except HoldfastError as error:
            told = refused(error.with_traceback(None))  # whose frames would hold each other, and a generation
            await send_refusal(send, told)
            self.state.count(project, told.status, 0, perf_counter() - started, told.reason)
        except Exception as error:  # a fault of ours: whoever asked is told so, and it is counted
            log.exception("%s: a request failed", project)
            told = Refused(500, f"the service failed with {type(error).__name__}: its log says why")
            await send_refusal(send, told)
            self.state.count(project, told.status, 0, perf_counter() - started, told.reason)
        else:
            headers = [kind, (b"content-length", b"%d" % len(body)), NOSNIFF]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            self.state.count(project, 200, rows, perf_counter() - started)

    async def predict(self, project: str, headers: Headers, receive: Receive) -> tuple[Header, bytes, int]:
        """Answer one request about rows; return the answer with its type, and how many rows it has.

        Raises: HoldfastError, as `refused` tells it.
        """
        served, logged = await self.ask(project, headers, receive, ROWS)
        if newest(logged) == served.generation and ARROW not in headers.get(b"accept", b""):
            return JSON, answer_json(served.head, served.generation, logged), len(logged)
        return *await asyncio.to_thread(self.told, project, logged, ARROW in headers.get(b"accept", b"")), len(logged)

    async def rank(self, project: str, headers: Headers, receive: Receive) -> tuple[Header, bytes, int]:
        """Answer one request for a list; return the answer with its type, and how many rows it has.

        Raises: HoldfastError, as `refused` tells it.
        """
        served, logged = await self.ask(project, headers, receive, LISTS)
        generation, version = served.generation, served.version
        if logged and newest(logged) != generation:  # answered before, by the one that served then
            generation = newest(logged)
            version = await asyncio.to_thread(self.state.version, project, generation)
        head = {"project": project, "generation": generation, "version": version}
        return JSON, list_json(served.predictor.schema, head, logged), len(logged)

    async def ask(
        self, project: str, headers: Headers, receive: Receive, reads: Mapping[bytes, Read]
    ) -> tuple[Served, list[Logged]]:
        """Read, check, predict and log one request, whose body `reads` reads by its type; return who answered what.

        Raises: HoldfastError, as `refused` tells it.
        """
        state = self.state
        client = state.admit(headers.items(), "predict", project)
        state.generations.of(project)
        kind = media_type(headers)
        if kind not in reads:
            raise Refused(415, f"send {' or '.join(one.decode() for one in reads)}", "content-type")
        body = await state.bodies.read(headers, receive)
        try:
            served = state.generations.of(project)  # the one that answers, whatever comes meanwhile
            key = key_of(headers, project, client.name, body)
            read = reads[kind]
            aside = len(body) > LARGE or (kind == ARROW and "pyarrow" not in sys.modules)
            asked = await asyncio.to_thread(read, served, body) if aside else read(served, body)
            state.charge(client, len(asked))
            return served, await state.batcher.submit(served, asked, key, len(body))
        finally:
            state.bodies.release(len(body))

    def told(self, project: str, logged: list[Logged], streamed: bool) -> tuple[Header, bytes]:
        """Return an answer of any generation, as JSON or as an Arrow stream."""
        generation = newest(logged)
        version = self.state.version(project, generation)
        if not streamed:
            return JSON, answer_json(answer_head(project, generation, version), generation, logged)
        from serving.arrow import answer_stream

        return ARROW_TYPE, answer_stream(project, generation, version, logged)


def check_method(scope: Scope) -> None:
    """Take a POST and nothing else.

    Raises: Refused 405.
    """
    if scope["method"] != "POST":
        raise Refused(405, "send a POST", "method")


def columns_of(served: Served, body: bytes) -> ReadColumns:
    """Read and validate an Arrow stream.

    Raises: Refused 400, 415 or 422; BadRow.
    """
    from serving.arrow import read_columns

    return read_columns(served.reader, body, served.row_limit)


def rows_of(served: Served, body: bytes) -> list[ReadRow]:
    """Parse and validate a body."""
    content = parsed(body)
    if content.keys() != KEYS:
        stranger = next(iter(sorted(content.keys() - KEYS)), "rows")[:80]
        raise Refused(422, 'a body is {"rows": [...]} and nothing else', stranger)
    return served.reader.read(content["rows"], served.row_limit)


ROWS: Mapping[bytes, Read] = {bodies.JSON: rows_of, ARROW: columns_of}
LISTS: Mapping[bytes, Read] = {bodies.JSON: wanted}


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


def predicted_project(path: str, route: str = PREDICT) -> str | None:
    """Return the project of /v1/<project>/predict, or of another such route, None for any other path."""
    if not (path.startswith("/v1/") and path.endswith(route)):
        return None
    project = path[4 : -len(route)]
    return project if project and "/" not in project else None


def create_app(settings: Settings) -> Front:
    """Build the service; nothing is opened before the server's lifespan starts."""
    state = State(settings)
    pages: Any = Guarded(state, create_pages(state))
    proxied: Any = ProxyHeadersMiddleware(pages)  # uvicorn has other words for the same types
    return Front(state, proxied)
