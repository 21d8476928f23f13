"""Load for a server over HTTP/1.1: raw sockets and epoll, cheap enough that the server is what is measured."""

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import psutil

Make = Callable[[int], bytes]
"""The n-th request, as bytes."""


@dataclass(frozen=True)
class Load:
    """What one run saw. Seconds, but `cpu`: the server's processor time a request, and `own`: the generator's."""

    requests: int
    wall: float
    p50: float
    p99: float
    cpu: float
    own: float
    refused: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.wall


def prepared(path: str, body: bytes, headers: dict[str, str]) -> Make:
    """Return what makes requests that differ in their Idempotency-Key only, where one is asked for."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    numbered = headers.pop("idempotency-key", None) if "idempotency-key" in headers else None
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode() + b"\r\n"
    whole = head + b"\r\n" + body
    if numbered is None:
        return lambda _: whole
    start, numbers = f"{time.time_ns():x}".encode(), count()  # over all runs: a key sent again would be a replay
    return lambda _: b"%bidempotency-key: %b-%d\r\n\r\n%b" % (head, start, next(numbers), body)


class Connection:
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got, self.asked, self.busy = b"", 0.0, False

    def send(self, request: bytes, at: float) -> None:
        """Send; `at`: when it was due."""
        self.got, self.asked, self.busy = b"", at, True
        self.socket.sendall(request)

    def finished(self) -> bool:
        """Read what has come; True once the answer is complete."""
        part = self.socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the server hung up")
        self.got = self.got + part if self.got else part
        head, found, rest = self.got.partition(b"\r\n\r\n")
        if not found:
            return False
        lower = head.lower()
        at = lower.find(b"content-length: ")
        if at < 0:
            return rest.endswith(b"0\r\n\r\n")
        return len(rest) >= int(lower[at + 16 :].split(b"\r\n", 1)[0])

    def answer(self) -> tuple[int, bytes]:
        """Return status and body of the complete answer."""
        return int(self.got[9:12]), self.got.partition(b"\r\n\r\n")[2]


def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Ask once."""
    one = Connection(port)
    one.send(request, 0.0)
    while not one.finished():
        pass
    one.socket.close()
    return one.answer()


def closed_loop(port: int, pid: int, make: Make, seconds: float, connections: int = 32) -> Load:
    """Keep `connections` requests on their way."""
    return run(port, pid, make, seconds, connections, None)


def fixed_rate(port: int, pid: int, make: Make, seconds: float, rate: float = 200.0) -> Load:
    """Send a request each 1/rate s, however long answers take; a latency counts from when it was due."""
    return run(port, pid, make, seconds, 64, rate)


def run(port: int, pid: int, make: Make, seconds: float, connections: int, rate: float | None) -> Load:
    poll = select.epoll()
    pool = {one.socket.fileno(): one for one in (Connection(port) for _ in range(connections))}
    for number in pool:
        poll.register(number, select.EPOLLIN)
    idle = list(pool.values())
    took: list[float] = []
    sent = refused = 0
    before, own, started = spent(pid), time.process_time(), time.perf_counter()
    end = started + seconds
    while True:
        now = time.perf_counter()
        while idle and now < end and (rate is None or started + sent / rate <= now):
            idle.pop().send(make(sent), now if rate is None else started + sent / rate)
            sent += 1
        if now >= end and len(idle) == connections:
            break
        wait = 1.0 if rate is None or now >= end else max(0.0, started + sent / rate - now)
        for number, _ in poll.poll(wait):
            one = pool[number]
            if one.finished():
                took.append(time.perf_counter() - one.asked)
                refused += one.got[9:12] != b"200"
                idle.append(one)
    wall = time.perf_counter() - started
    used, mine = spent(pid) - before, time.process_time() - own
    for one in pool.values():
        one.socket.close()
    took.sort()
    return Load(
        len(took), wall, took[len(took) // 2], took[int(len(took) * 0.99)], used / len(took), mine / len(took), refused
    )


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def family(pid: int) -> list[psutil.Process]:
    """Return a server's process and those it started."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def spent(pid: int) -> float:
    """Return the processor seconds that a server has used."""
    return sum(sum(one.cpu_times()[:2]) for one in family(pid))


def memory(pid: int) -> float:
    """Return what a server holds, in MB: what its processes share counts once."""
    return sum(one.memory_full_info().pss for one in family(pid)) / 1e6
