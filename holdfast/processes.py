"""Processes as the kernel knows them: who is alive, who has a port, and how to end all that carries one mark."""

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "HOLDFAST_STACK"
"""Variable that every process of a stack carries, its descendants included, whatever session they move to."""

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Identity:
    """A process that can't be mistaken for a later one of the same number."""

    pid: int
    created: float  # seconds since 1970, as the kernel says

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """Identify a living process; one that is gone gets a time that nothing matches."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return cls(pid, 0.0)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 5  # the clock may be stepped meanwhile
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def dies_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before exec so that the kernel ends it when its parent dies, where that exists."""
    if not sys.platform.startswith("linux"):
        return None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def arm() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return arm


def marked(mark: str) -> list[psutil.Process]:
    """Return every process that carries a stack's mark, this one excepted."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end_marked(mark: str, patience: float) -> int:
    """End every process that carries a mark, with SIGKILL after `patience` seconds, and return how many there were."""
    seen: set[int] = set()
    deadline = time.monotonic() + patience
    while left := [process for process in marked(mark) if process.status() != psutil.STATUS_ZOMBIE]:
        late = time.monotonic() > deadline
        for process in left:
            if late or process.pid not in seen:
                with suppress(psutil.Error):
                    process.kill() if late else process.terminate()
        seen.update(process.pid for process in left)
        psutil.wait_procs(left, timeout=0.2)
    return len(seen)


@dataclass(frozen=True)
class BusyPort:
    """A port that can't be had, and who has it."""

    port: int
    holder: str


def busy(ports: Iterable[int], host: str = "127.0.0.1") -> list[BusyPort]:
    """Return those ports that something else listens on."""
    return [BusyPort(port, holder(port)) for port in ports if not free(port, host)]


def free(port: int, host: str) -> bool:
    """Tell whether a server could listen here."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Name the process that listens on a port, as far as we may see."""
    try:
        found = [at for at in psutil.net_connections(kind="inet") if at.laddr and at.laddr.port == port]
    except psutil.AccessDenied:
        return "a process we may not see"
    for connection in found:
        if connection.pid and connection.status == psutil.CONN_LISTEN:
            with suppress(psutil.Error):
                words = " ".join(psutil.Process(connection.pid).cmdline())
                return f"pid {connection.pid} ({words[:80]})"
    return "a process of another user"


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on right now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def last_lines(log: Path, offset: int, count: int = 3) -> str:
    """Return the last lines of a log that were written after `offset` bytes, on one line."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(offset, log.stat().st_size - 4_000))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:])[-400:]
