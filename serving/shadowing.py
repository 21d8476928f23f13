"""The challenger in the champion's shadow, and what is counted of every trial, on its way to the store.

One thread behind everything else. It never holds a request up: what it has no time for is dropped and counted.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from data.errors import HoldfastError
from monitoring.store.journal import Logged, Outcome
from monitoring.store.shadows import Shadow
from serving.answering import Question
from serving.canary import tried
from serving.cores import LONG_SECONDS, Cores
from serving.trials import Challenger, Trials

log = logging.getLogger(__name__)

BATCH_ROWS = 64
WAITING_ROWS = 2048  # to be predicted
UNWRITTEN_ROWS = 4096
TICK = 0.5  # seconds between two commits
STOP_SECONDS = 5.0

Append = Callable[[Sequence[Shadow], Mapping[int, Mapping[str, Any]]], set[int]]
Asked = tuple[Challenger, Question]


class Shadowing:
    """Bounded: the predicting queue by `WAITING_ROWS`, answers not yet written by `UNWRITTEN_ROWS`."""

    def __init__(self, append: Append, trials: Trials, cores: Cores) -> None:
        self.append, self.trials, self.cores = append, trials, cores
        self.long = False  # whether networks take long enough to have a core of their own
        self.inbox: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self.offered = self.taken = 0  # rows; the first by the thread that commits, the second by this one
        self.rows: list[Shadow] = []
        self.told: dict[int, Mapping[str, Any]] = {}
        self.write_at = 0.0
        self.thread = threading.Thread(target=self.run, name="shadow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def stop(self) -> None:
        """Write what is there, then end the thread."""
        self.inbox.put(None)
        self.thread.join(STOP_SECONDS)

    def offer(self, challenger: Challenger, question: Question, outcome: Outcome | list[Logged]) -> None:
        """Take a request that the champion has answered durably; its rows were logged, or had been before.

        What was answered before under an Idempotency-Key may stand in the log under other ids than this question's.
        """
        if challenger.mode != "shadow" or not isinstance(outcome, list):
            return
        if not question or [row.id for row in outcome] != identities(question):
            return
        if self.offered - self.taken + len(question) > WAITING_ROWS:
            challenger.tally.dropped += len(question)
            return
        self.offered += len(question)
        self.inbox.put((challenger, question))

    def run(self) -> None:
        """Predict what is queued, and write twice a second; until the end is queued."""
        ended = False
        self.cores.gather()
        while not ended:
            asked, ended = self.collect()
            for challenger in {id(one): one for one, _ in asked}.values():
                self.predict(challenger, [question for one, question in asked if one is challenger])
            if ended or time.monotonic() >= self.write_at:
                self.write_at = time.monotonic() + TICK
                self.write()

    def collect(self) -> tuple[list[Asked], bool]:
        """Return what is queued, up to a batch's rows, and whether the end was queued."""
        asked: list[Asked] = []
        rows = 0
        while rows < BATCH_ROWS:
            try:
                one = self.inbox.get(timeout=0 if asked else max(self.write_at - time.monotonic(), 0.01))
            except queue.Empty:
                break
            if one is None:
                return asked, True
            asked.append(one)
            rows += len(one[1])
        return asked, False

    def predict(self, challenger: Challenger, questions: list[Question]) -> None:
        """Answer rows that nobody waits for."""
        at, project, started = datetime.now(UTC), challenger.served.project, time.thread_time()
        rows = [row for part in tried(challenger, questions) for row in part if row is not None]
        if (time.thread_time() - started > LONG_SECONDS) != self.long:
            self.long = not self.long
            (self.cores.spread if self.long else self.cores.gather)()
        self.taken += sum(map(len, questions))
        room = UNWRITTEN_ROWS - len(self.rows)
        challenger.tally.unwritten += max(len(rows) - room, 0)
        self.rows += [Shadow(challenger.trial, project, row.id, at, row.output) for row in rows[: max(room, 0)]]

    def write(self) -> None:
        """Commit answers and counts together; a trial that is over is dropped, a store that is away is asked again."""
        running = list(self.trials.running.values())
        counts: dict[int, Mapping[str, Any]] = {trial: tally.to_json() for trial, tally in running}
        news = {trial: told for trial, told in counts.items() if self.told.get(trial) != told}
        if not self.rows and not news:
            return
        try:
            going = self.append(self.rows, news)
        except HoldfastError as error:
            log.warning("the shadow's log waits: %s", error)
            return
        except Exception:  # whatever a database raises, this thread must live
            log.exception("the store refused %d answers of a shadow", len(self.rows))
        else:
            self.trials.over |= news.keys() - going
            self.told = counts
        self.rows = []


def identities(question: Question) -> list[str]:
    """Return the ids of a request's rows."""
    return [row.id for row in question] if isinstance(question, list) else list(question.ids)
