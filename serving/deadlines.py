"""What must end by a time, looked over ten times a second: a timer of its own would cost each request more."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Generic, Protocol, TypeVar

TICK = 0.1


class Due(Protocol):
    """Something that must end; `deadline` is in `time.monotonic`."""

    deadline: float


T = TypeVar("T", bound=Due)


class Deadlines(Generic[T]):
    """Tells `late` once of each thing that is still here after its deadline. The event loop alone uses it."""

    def __init__(self, late: Callable[[T], None]) -> None:
        self.late = late
        self.waiting: set[T] = set()
        self.timer: asyncio.TimerHandle | None = None

    def add(self, one: T) -> None:
        """Begin to watch."""
        self.waiting.add(one)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(TICK, self.look)

    def look(self) -> None:
        """Tell of everything late, and look again while something waits."""
        now = monotonic()
        for one in [one for one in self.waiting if one.deadline <= now]:
            self.waiting.discard(one)
            self.late(one)
        self.timer = asyncio.get_running_loop().call_later(TICK, self.look) if self.waiting else None
