"""On which cores the service's threads run.

The event loop and the two threads behind it take turns at the interpreter's lock. On several cores each turn wakes
another core with cold caches, which cost 13 to 31 % of a request's CPU time (bench/RESULTS.md). What does without
the lock for long (a large network, the check of a new generation) has all cores.
"""

import os
from contextlib import suppress

LONG_SECONDS = 0.002  # of CPU a batch: from here on a second core saves more than turns at the lock cost


class Cores:
    """Where a thread runs; elsewhere than on Linux, wherever it is put. `together`: whether to keep threads on one."""

    def __init__(self, *, together: bool) -> None:
        known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.all = set(known)
        self.one = {known[os.getpid() % len(known)]} if together and known else self.all

    def gather(self) -> None:
        """Put the calling thread to the others that share the lock."""
        self.put(self.one)

    def spread(self) -> None:
        """Let the calling thread run anywhere."""
        self.put(self.all)

    def put(self, where: set[int]) -> None:
        """Bind the calling thread; where that is forbidden, leave it as it is."""
        if len(self.all) > 1:
            with suppress(OSError):
                os.sched_setaffinity(0, where)
