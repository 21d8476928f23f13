"""Connections whose senders are not trusted: what they send before and after a body is bounded, in size and in time."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTIONS = 800  # at once; a process may have 1,024 files open
HEAD_BYTES = 64 << 10  # of one request's head, of its trailers, of what stands between two chunks of its body
HEAD_SECONDS = 10.0  # for a head, from its first byte; for the first byte of a new connection


class Connection(HttpToolsProtocol):
    """One client's connection. The parser collects a header before it tells of it, so bytes are counted as they come.

    `unread`: bytes since the parser last told of something that is bounded elsewhere.
    """

    unread = 0
    in_head = False
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self.refuse(503, {"retry-after": "1"})
        else:
            self.timer = self.loop.call_later(HEAD_SECONDS, self.late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, by pieces small enough that what is counted is not far behind."""
        while data and not self.transport.is_closing():
            if self.unread >= HEAD_BYTES:
                self.refuse(431)
                return
            piece, data = data[: HEAD_BYTES - self.unread], data[HEAD_BYTES - self.unread :]
            self.unread += len(piece)
            super().data_received(piece)
        if self.in_head and self.timer is None:
            self.timer = self.loop.call_later(HEAD_SECONDS, self.late)

    def on_message_begin(self) -> None:
        """A head begins."""
        self.in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self.in_head, self.unread = False, 0
        self.unwatch()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body came, which its reader bounds."""
        self.unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has ended."""
        self.unread = 0
        super().on_message_complete()

    def late(self) -> None:
        """End a connection whose head has not come in time."""
        self.refuse(408) if self.in_head else self.transport.close()

    def refuse(self, status: int, more: Mapping[str, Any] | None = None) -> None:
        """Say why, unless an answer is on its way already, and close."""
        self.unwatch()
        if self.cycle is None or self.cycle.response_complete:
            headers = {"content-length": "0", "connection": "close", **(more or {})}
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
            self.transport.write("\r\n".join([*lines, "", ""]).encode())
        self.transport.close()

    def unwatch(self) -> None:
        """Stop the clock."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
