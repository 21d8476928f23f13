"""A server of the tests' own that stands before another, or for one, and fails as it is told."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from prefect_stack import free_port

Mode = Literal["through", "down", "hanging", "wrong"]
WRONG = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\nconnection: close\r\n\r\n<h1>Welcome</h1"


class Proxy:
    """Passes on what it gets, refuses connections, takes them and never answers, or answers what nobody asked for.

    `upstream`: a port of this machine; without one "through" has no meaning.
    """

    def __init__(self, upstream: int | None = None) -> None:
        self.upstream, self.port, self.mode = upstream, free_port(), "down"
        self.accepted = 0  # connections since the mode was set
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="proxy")
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def be(self, mode: Mode) -> None:
        """Change; connections that hang already stay so only while that is the mode."""
        asyncio.run_coroutine_threadsafe(self.change(mode), self.loop).result(10)

    def close(self) -> None:
        self.be("down")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def change(self, mode: Mode) -> None:
        self.mode, self.accepted = mode, 0
        if mode != "hanging":
            for writer in self.writers:
                writer.transport.abort()
        if mode == "down" and self.server is not None:
            self.server.close()
            self.server = None
            while self.writers:
                await asyncio.sleep(0.01)
        elif mode != "down" and self.server is None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.writers.add(writer)
        try:
            with suppress(OSError):
                await self.answer(reader, writer)
        finally:
            writer.transport.abort()
            self.writers.discard(writer)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "wrong":
            await reader.read(1 << 16)
            writer.write(WRONG)
            await writer.drain()
        elif self.mode == "hanging" or self.upstream is None:
            while await reader.read(1 << 16):
                pass
        else:
            back, forth = await asyncio.open_connection("127.0.0.1", self.upstream)
            try:
                await asyncio.gather(self.pipe(reader, forth), self.pipe(back, writer))
            finally:
                forth.transport.abort()

    async def pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            if self.mode == "through":
                target.write(data)
                await target.drain()
        target.transport.abort()


@contextmanager
def proxy(upstream: int | None = None, mode: Mode = "down") -> Iterator[Proxy]:
    made = Proxy(upstream)
    try:
        made.be(mode)
        yield made
    finally:
        made.close()
