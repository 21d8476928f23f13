"""Messages between a process and its torch worker, over pipes: a kind, a length, that many bytes.

Arrays travel as safetensors, other values as JSON; nothing that can execute.
"""

import os
import select
import struct
import time

HEADER = struct.Struct("<cQ")  # kind, then bytes of the body
LARGEST = 2**31  # bytes of a body
PIECE = 2**16  # bytes: what a pipe holds
HELLO, READY, ASK, ANSWER, FAILED, CORRUPT = b"H", b"R", b"Q", b"A", b"F", b"C"


def send(pipe: int, kind: bytes, body: bytes, deadline: float | None = None) -> None:
    """Write one message; with a `deadline`, in `time.monotonic`, the pipe must not block.

    Raises: TimeoutError; OSError when nobody reads.
    """
    rest = memoryview(HEADER.pack(kind, len(body)) + body)
    while rest:
        wait(pipe, select.POLLOUT, deadline)
        rest = rest[os.write(pipe, rest[:PIECE]) :]


def receive(pipe: int, deadline: float | None = None) -> tuple[bytes, bytes]:
    """Read one message.

    Raises: TimeoutError; EOFError when the other side is gone; ValueError for what is no message.
    """
    kind, size = HEADER.unpack(read(pipe, HEADER.size, deadline))
    if size > LARGEST:
        raise ValueError(f"a message of {size} bytes: at most {LARGEST}")
    return kind, read(pipe, size, deadline)


def read(pipe: int, size: int, deadline: float | None) -> bytes:
    """Read exactly `size` bytes."""
    content = bytearray()
    while len(content) < size:
        wait(pipe, select.POLLIN, deadline)
        piece = os.read(pipe, min(size - len(content), 2**20))
        if not piece:
            raise EOFError("the pipe was closed")
        content += piece
    return bytes(content)


def wait(pipe: int, event: int, deadline: float | None) -> None:
    """Wait until a pipe can be written or read, or has lost its other end."""
    if deadline is None:
        return
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError("no answer in time")
