"""What the service says, above all instead of an answer."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import orjson

from data.errors import BadRow, HoldfastError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Header = tuple[bytes, bytes]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = (b"content-type", b"application/json")
NOSNIFF = (b"x-content-type-options", b"nosniff")
CHALLENGES = (  # a header each: browsers read only the first of those that stand in one
    ("www-authenticate", 'Basic realm="Holdfast: any name, the API key as password", charset="UTF-8"'),
    ("www-authenticate", 'Bearer realm="Holdfast"'),
)


class Refused(HoldfastError):
    """A request that gets no answer, with the HTTP status that says whose turn it is to act.

    `reason` is its word in the metrics where the status does not say it; `retry_after` is in seconds.
    """

    def __init__(self, status: int, why: str, where: str = "", *, reason: str = "", retry_after: int = 1) -> None:
        self.status, self.why, self.where = status, why, where
        self.reason, self.retry_after = reason, retry_after
        super().__init__(why)

    def headers(self) -> Sequence[tuple[str, str]]:
        """Return what the client's software acts upon."""
        if self.status in {413, 408}:
            return [("connection", "close")]  # what is left of the body is not read
        if self.status == 401:
            return CHALLENGES
        if self.status == 405:
            return [("allow", "POST")]
        return [("retry-after", str(self.retry_after))] if self.status in {429, 503} else []


class ClientGone(HoldfastError):
    """The client hung up in the middle of its request."""


def refused(error: HoldfastError) -> Refused:
    """Turn any expected error into what the client is told."""
    if isinstance(error, Refused):
        return error
    return Refused(422, error.why, error.where) if isinstance(error, BadRow) else Refused(503, str(error))


async def send_refusal(send: Send, told: Refused) -> None:
    """Send why there is no answer, with what the client's software acts upon."""
    headers = [(name.encode(), value.encode()) for name, value in told.headers()]
    await send_json(send, told.status, {"error": told.why, "where": told.where}, headers)


async def send_json(send: Send, status: int, content: Mapping[str, Any], more: Iterable[Header] = ()) -> None:
    """Send one JSON object."""
    await send_body(send, status, JSON, orjson.dumps(content), more)


async def send_body(send: Send, status: int, kind: Header, body: bytes, more: Iterable[Header] = ()) -> None:
    """Send a body whose content type `kind` names."""
    headers = [kind, (b"content-length", b"%d" % len(body)), NOSNIFF, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
