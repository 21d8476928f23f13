"""How a request's body is read without trusting its sender."""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import orjson

from serving.deadlines import Deadlines
from serving.refusals import ClientGone, Receive, Refused, Scope

BODY_SECONDS = 30.0
JSON = b"application/json"
ARROW = b"application/vnd.apache.arrow.stream"

Headers = Mapping[bytes, bytes]


class Reading:
    """One body on its way in."""

    __slots__ = ("deadline", "late", "task")

    def __init__(self) -> None:
        self.task, self.deadline, self.late = asyncio.current_task(), monotonic() + BODY_SECONDS, False


class Bodies:
    """Reads bodies of at most `limit` bytes each, and holds at most `room` bytes of them at a time."""

    def __init__(self, limit: int = 8 << 20, room: int = 64 << 20) -> None:
        self.limit, self.room, self.held = limit, room, 0
        self.deadlines: Deadlines[Reading] = Deadlines(interrupt)

    async def read_json(self, scope: Scope, receive: Receive) -> tuple[dict[str, Any], int]:
        """Return the body, a JSON object, and its size; the caller gives the size back with `release`.

        Raises: Refused 400, 408, 413, 415 or 503; ClientGone.
        """
        headers = dict(scope["headers"])
        if media_type(headers) != JSON:
            raise Refused(415, "send JSON with the header 'content-type: application/json'", "content-type")
        body = await self.read(headers, receive)
        try:
            return parsed(body), len(body)
        except Refused:
            self.release(len(body))
            raise

    async def read(self, headers: Headers, receive: Receive) -> bytes:
        """Return the whole body, whose size is held until the caller gives it back with `release`.

        Raises: Refused 408, 413, 415 or 503; ClientGone.
        """
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "compressed bodies are not read", "content-encoding")
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.limit:
            raise self.too_large()
        reading = Reading()
        self.deadlines.add(reading)
        parts: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                message = await receive()
                part, more = part_of(message), message.get("more_body", False)
                parts.append(part)
                size += len(part)
                self.held += len(part)
                self.bound(size)
        except asyncio.CancelledError:
            self.release(size)
            if not reading.late or reading.task is None:
                raise
            reading.task.uncancel()
            raise Refused(408, f"the body did not arrive within {BODY_SECONDS:g} seconds", "body") from None
        except BaseException:
            self.release(size)  # what was collected is not held any longer
            raise
        finally:
            self.deadlines.waiting.discard(reading)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def bound(self, size: int) -> None:
        """Refuse what is too large, alone or together with what others send."""
        if size > self.limit:
            raise self.too_large()
        if self.held > self.room:
            raise Refused(503, "the service holds as many requests as it can: try again", "body", reason="queue")

    def release(self, size: int) -> None:
        """Forget `size` bytes."""
        self.held -= size

    def too_large(self) -> Refused:
        """Say the limit."""
        return Refused(413, f"the body is larger than {self.limit} bytes: send fewer rows a request", "body")


def part_of(message: Mapping[str, Any]) -> bytes:
    """Return the part of a body that a message brings.

    Raises: ClientGone.
    """
    if message["type"] == "http.disconnect":
        raise ClientGone
    part: bytes = message.get("body", b"")
    return part


def interrupt(reading: Reading) -> None:
    """End the reading of a body that takes too long."""
    reading.late = True
    if reading.task is not None:
        reading.task.cancel()


def media_type(headers: Headers) -> bytes:
    """Return what a body is said to be, in lower case and without parameters."""
    said = headers.get(b"content-type", b"")
    return said if said in {JSON, ARROW} else said.partition(b";")[0].strip().lower()


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
