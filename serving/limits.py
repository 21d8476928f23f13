"""How many rows a second a client may send."""

import time
from collections.abc import Callable
from math import ceil

from serving.refusals import Refused

ROUNDING = 1e-6  # seconds; who waits as long as it was told is not refused again


class Bucket:
    """A token bucket of rows, filled at `rate` a second up to one second's worth.

    A request is let in when the bucket holds its rows, or is full: one of more rows than that leaves it in debt, which
    the next ones wait for. So whatever the limit, a request of any allowed size comes through in the end. The event
    loop alone asks it.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self.level, self.at = float(rate), clock()

    def take(self, rows: int) -> None:
        """Let `rows` in.

        Raises: Refused 429, with the seconds after which they are let in if nobody comes between.
        """
        now = self.clock()
        self.level = min(self.level + (now - self.at) * self.rate, float(self.rate))
        self.at = now
        wanted = min(rows, self.rate)
        if self.level < wanted - self.rate * ROUNDING:
            seconds = max(ceil((wanted - self.level) / self.rate), 1)
            raise Refused(429, f"more than {self.rate} rows a second", "rows", reason="rate", retry_after=seconds)
        self.level -= rows
