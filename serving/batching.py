"""Natural batching: predict what queued during the last batch, commit what queued during the last commit.

No timers: an idle service answers one row at once, a busy one shares each network call and each fsync.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from data.errors import HoldfastError
from monitoring.records import Prediction
from serving.generations import Served
from serving.refusals import Refused
from serving.validation import ReadRow

log = logging.getLogger(__name__)

BATCH_ROWS = 64  # uncapped, a CNN's buffers grew from 90 to 508 MB (facts, section 5)
COMMIT_ROWS = 2048
WAITING_ROWS = 16_384
ANSWER_SECONDS = 15.0  # above the store's own wait for a lock, so that its reason is what is told

Append = Callable[[list[Prediction]], list[Prediction]]


@dataclass(eq=False)
class Job:
    """One request on its way: validated rows, then predictions, then the answer."""

    served: Served
    rows: list[ReadRow]
    future: "asyncio.Future[list[Prediction]]"
    predictions: list[Prediction] = field(default_factory=list)


class Batcher:
    """Two threads, one behind the other: the network's and the log's writer."""

    def __init__(self, append: Append) -> None:
        self.append = append
        self.to_predict: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.to_commit: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.waiting = 0
        self.log_problem = ""  # why the last commit failed; empty once one succeeds
        self.threads = [
            threading.Thread(target=self.run, args=(self.to_predict, BATCH_ROWS, self.predict), name="predict"),
            threading.Thread(target=self.run, args=(self.to_commit, COMMIT_ROWS, self.commit), name="commit"),
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end both threads."""
        for thread, inbox in zip(self.threads, (self.to_predict, self.to_commit), strict=True):
            inbox.put(None)
            thread.join()

    async def answer(self, served: Served, rows: list[ReadRow]) -> list[Prediction]:
        """Return one durable prediction a row; a row whose id was answered before gets that answer.

        Raises: Refused 409 where an id was used with other features; 503 where model or log fail.
        """
        if self.waiting + len(rows) > WAITING_ROWS:
            raise Refused(503, "the service has as many rows waiting as it can: try again", "rows")
        job = Job(served, rows, asyncio.get_running_loop().create_future())
        self.waiting += len(rows)
        self.to_predict.put(job)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await job.future
        except TimeoutError as error:
            raise Refused(
                503, f"no durable answer within {ANSWER_SECONDS:g} seconds; retry with the same id"
            ) from error
        finally:
            self.waiting -= len(rows)

    def run(self, inbox: "queue.SimpleQueue[Job | None]", cap: int, handle: Callable[[list[Job]], None]) -> None:
        """Take what is queued, up to `cap` rows, and handle it; again until the end is queued."""
        held: Job | None = None
        while (first := held or inbox.get()) is not None:
            held, ended = None, False
            jobs, size = [first], len(first.rows)
            while size < cap and not inbox.empty():
                job = inbox.get()
                if job is None:
                    ended = True
                    break
                if size + len(job.rows) > cap:
                    held = job
                    break
                jobs.append(job)
                size += len(job.rows)
            handle(jobs)
            if ended:
                return

    def predict(self, jobs: list[Job]) -> None:
        """Predict by generation, since each job stays with the one its rows were validated by."""
        groups: dict[int, list[Job]] = {}
        for job in jobs:
            groups.setdefault(id(job.served), []).append(job)
        for group in groups.values():
            self.predict_group(group)

    def predict_group(self, jobs: list[Job]) -> None:
        """Predict jobs of one generation together; if that fails each alone, so that only the culprit fails."""
        served = jobs[0].served
        try:
            answered = served.answer([row for job in jobs for row in job.rows])
        except Exception as error:  # the network or a project's feature code may raise anything; the thread must live
            if len(jobs) > 1:
                for job in jobs:
                    self.predict_group([job])
                return
            log.exception("%s generation %d failed to predict", served.project, served.generation)
            told = error if isinstance(error, HoldfastError) else f"{type(error).__name__}: {str(error)[:200]}"
            settle([(jobs[0], Refused(503, f"generation {served.generation} failed to predict: {told}"))])
            return
        start = 0
        failed: list[tuple[Job, list[Prediction] | HoldfastError]] = []
        for job in jobs:
            mine = answered[start : start + len(job.rows)]
            start += len(job.rows)
            job.predictions = [prediction for prediction in mine if prediction is not None]
            if len(job.predictions) == len(mine):
                self.to_commit.put(job)
                continue
            why = f"generation {served.generation} gave a non-finite output; nothing was logged"
            failed.append((job, Refused(503, why, f"rows[{mine.index(None)}]")))
        settle(failed)

    def commit(self, jobs: list[Job]) -> None:
        """Make every job's predictions durable in one transaction, then answer them all."""
        first: dict[tuple[str, str], Prediction] = {}
        for job in jobs:
            for prediction in job.predictions:
                first.setdefault((prediction.project, prediction.id), prediction)
        try:
            stored = self.append(list(first.values()))
        except Exception as error:  # whatever a database raises, its clients are told and the thread must live
            log.exception("the prediction log refused %d rows", len(first))
            self.log_problem = f"the prediction log failed: {str(error).splitlines()[0][:200]}"
            settle([(job, Refused(503, self.log_problem)) for job in jobs])
            return
        self.log_problem = ""
        known = {(prediction.project, prediction.id): prediction for prediction in stored}
        settle([(job, outcome(job, known)) for job in jobs])


def outcome(job: Job, known: dict[tuple[str, str], Prediction]) -> list[Prediction] | Refused:
    """Return what is in the log for a job, unless it holds other features under one of its ids."""
    answered = [known[prediction.project, prediction.id] for prediction in job.predictions]
    for i, (mine, stored) in enumerate(zip(job.predictions, answered, strict=True)):
        if mine.features != stored.features:
            return Refused(409, f"id {mine.id!r} was answered before, for other features", f"rows[{i}].id")
    return answered


def settle(outcomes: Iterable[tuple[Job, list[Prediction] | HoldfastError]]) -> None:
    """Hand results to the event loop that waits for them, with one wake-up for all."""
    outcomes = list(outcomes)
    if outcomes:
        outcomes[0][0].future.get_loop().call_soon_threadsafe(resolve, outcomes)


def resolve(outcomes: list[tuple[Job, list[Prediction] | HoldfastError]]) -> None:
    """Fulfil the futures; a client that gave up has cancelled its own."""
    for job, result in outcomes:
        if job.future.done():
            continue
        if isinstance(result, HoldfastError):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
