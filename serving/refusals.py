"""What the service says instead of an answer, and how a request's body is read without trusting its sender."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import orjson

from data.errors import BadRow, HoldfastError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Header = tuple[bytes, bytes]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS = 30.0
CHALLENGE = 'Bearer realm="holdfast", Basic realm="holdfast: any name, the API key as password", charset="UTF-8"'


class Refused(HoldfastError):
    """A request that gets no answer, with the HTTP status that says whose turn it is to act.

    `reason` is its word in the metrics where the status does not say it; `retry_after` is in seconds.
    """

    def __init__(self, status: int, why: str, where: str = "", *, reason: str = "", retry_after: int = 1) -> None:
        self.status, self.why, self.where = status, why, where
        self.reason, self.retry_after = reason, retry_after
        super().__init__(why)

    def headers(self) -> dict[str, str]:
        """Return what the client's software acts upon."""
        if self.status in {413, 408}:
            return {"connection": "close"}  # what is left of the body is not read
        if self.status == 401:
            return {"www-authenticate": CHALLENGE}
        if self.status == 405:
            return {"allow": "POST"}
        return {"retry-after": str(self.retry_after)} if self.status in {429, 503} else {}


class ClientGone(HoldfastError):
    """The client hung up in the middle of its request."""


class Bodies:
    """Reads bodies of at most `limit` bytes each, and holds at most `room` bytes of them at a time."""

    def __init__(self, limit: int = 8 << 20, room: int = 64 << 20) -> None:
        self.limit, self.room, self.held = limit, room, 0

    async def read_json(self, scope: Scope, receive: Receive) -> tuple[dict[str, Any], int]:
        """Return the body, a JSON object, and its size; the caller gives the size back with `release`.

        Raises: Refused 400, 408, 413, 415 or 503; ClientGone.
        """
        headers = dict(scope["headers"])
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise Refused(415, "send JSON with the header 'content-type: application/json'", "content-type")
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "compressed bodies are not read", "content-encoding")
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.limit:
            raise self.too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self.read(receive)
        except TimeoutError as error:
            raise Refused(408, f"the body did not arrive within {BODY_SECONDS:g} seconds", "body") from error
        try:
            return parsed(body), len(body)
        except Refused:
            self.release(len(body))
            raise

    async def read(self, receive: Receive) -> bytes:
        """Collect the body's parts; what is collected when it fails is not held any longer."""
        parts: list[bytes] = []
        try:
            while await self.read_part(receive, parts):
                pass
        except BaseException:
            self.release(sum(map(len, parts)))
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_part(self, receive: Receive, parts: list[bytes]) -> bool:
        """Append the body's next part and return whether more will come."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        parts.append(part)
        self.held += len(part)
        if sum(map(len, parts)) > self.limit:
            raise self.too_large()
        if self.held > self.room:
            raise Refused(503, "the service holds as many requests as it can: try again", "body")
        return bool(message.get("more_body", False))

    def release(self, size: int) -> None:
        """Forget `size` bytes."""
        self.held -= size

    def too_large(self) -> Refused:
        """Say the limit."""
        return Refused(413, f"the body is larger than {self.limit} bytes: send fewer rows a request", "body")


def parsed(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; NaN, infinities and lone surrogates are no JSON.

    Raises: Refused 400.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"not JSON: {error}", "body") from error
    if type(value) is not dict:
        raise Refused(400, "a JSON object expected", "body")
    return value


def refused(error: HoldfastError) -> Refused:
    """Turn any expected error into what the client is told."""
    if isinstance(error, Refused):
        return error
    return Refused(422, error.why, error.where) if isinstance(error, BadRow) else Refused(503, str(error))


async def send_refusal(send: Send, told: Refused) -> None:
    """Send why there is no answer, with what the client's software acts upon."""
    headers = [(name.encode(), value.encode()) for name, value in told.headers().items()]
    await send_json(send, told.status, {"error": told.why, "where": told.where}, headers)


async def send_json(send: Send, status: int, content: Mapping[str, Any], more: Iterable[Header] = ()) -> None:
    """Send one JSON object."""
    body = orjson.dumps(content)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
