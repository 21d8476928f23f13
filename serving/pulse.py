"""Whether the store answers: asked by a thread of its own, so that no probe and no client has to wait for it."""

import logging
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from math import inf

from data.errors import HoldfastError
from monitoring.store import Store
from serving.batching import Batcher

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
READ_SECONDS = 1.5  # a read that takes longer hangs
WRITE_SECONDS = 8.0  # a write waits for another writer, within the store's own bound
STOP_SECONDS = 2.0


class Pulse:
    """Reads a row again and again; writes one while commits fail, so that they count as mended without any client."""

    def __init__(self, store: Store, batcher: Batcher) -> None:
        self.store, self.batcher = store, batcher
        self.failure = ""  # why the last read failed
        self.late_at = inf  # when the look under way hangs
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self.thread.start()

    def stop(self) -> None:
        """End; a look that hangs is not waited for."""
        self.ended.set()
        self.thread.join(STOP_SECONDS)

    @property
    def hangs(self) -> bool:
        """Whether whoever asks the store now would wait, nobody knows how long."""
        return time.monotonic() > self.late_at

    @property
    def problem(self) -> str:
        """Why the log can't be written; empty if it can."""
        told = "the store does not answer: it takes questions and is silent" if self.hangs else ""
        return told or self.batcher.log_problem or self.failure

    def watch(self) -> None:
        """Look until the end."""
        while not self.ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Read; write if the last commit failed. What a database raises besides, the watch must survive."""
        try:
            self.late_at = time.monotonic() + READ_SECONDS
            self.store.ledger.generation("any")
            self.failure = ""
            if self.batcher.log_problem:
                self.write()
        except HoldfastError as error:
            self.failure = str(error)
        except Exception as error:
            log.exception("the store can't be looked at")
            self.failure = f"{type(error).__name__}: {error}"[:200]
        finally:
            self.late_at = inf

    def write(self) -> None:
        """Write one row durably, and say that commits may succeed again; what fails here has been said already."""
        self.late_at = time.monotonic() + WRITE_SECONDS
        with suppress(HoldfastError):
            self.store.notes.put("pulse of the service", "written after a commit that failed", datetime.now(UTC))
            self.batcher.log_problem = ""
            log.info("the log can be written again")
