"""One write of the routes at a time: whoever waits for its turn holds no thread and no connection, and not for long."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from serving.refusals import Refused

PATIENCE = 1.5  # seconds for a turn and its first transaction, and again for each one after
GIVE_WAY = 0.05  # seconds between two transactions, in which the log's writer, which waits by polling, comes in
LATE = "the store is busy: nothing is lost by asking again, what was written already counts once"

T = TypeVar("T")


class Turns:
    """Who writes now.

    Args:
        problem: says why the store can't be written; then nobody waits at all.
        pressed: whether somebody waits for whom a turn of many transactions pauses.
    """

    def __init__(self, problem: Callable[[], str], pressed: Callable[[], bool]) -> None:
        self.problem, self.pressed = problem, pressed
        self.turn = asyncio.Lock()
        self.apart = CapacityLimiter(1)  # a thread beside those of the pages, which may all be taken

    async def write(self, works: Iterable[Callable[[], T]]) -> list[T]:
        """Do each work, a transaction, one after the other in one turn, and return what they return.

        Raises: Refused 503 after a while without progress; what was begun may still be committed then.
        """
        if why := self.problem():
            raise Refused(503, why, "store", reason="store")
        done: list[T] = []
        try:
            with anyio.fail_after(PATIENCE) as patience:
                async with self.turn:
                    for work in works:
                        done.append(await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self.apart))
                        patience.deadline = anyio.current_time() + PATIENCE
                        await asyncio.sleep(GIVE_WAY if self.pressed() else 0)
        except TimeoutError:
            raise Refused(503, self.problem() or LATE, "store", reason="store") from None
        return done
