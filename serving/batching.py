"""Natural batching: predict what queued during the last batch, commit what queued during the last commit.

No timers: an idle service answers one row at once, a busy one shares each network call and each fsync.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from data.errors import HoldfastError
from monitoring.store.journal import Conflict, Entry, Logged, Outcome
from monitoring.store.replies import Key
from monitoring.store.wire import Locked
from serving.answering import Question, answer
from serving.canary import answer_on_trial
from serving.cores import LONG_SECONDS, Cores
from serving.deadlines import Deadlines
from serving.generations import Served
from serving.lists import Wanted, as_rows
from serving.refusals import Refused
from serving.telemetry import Telemetry
from serving.trials import Challenger

log = logging.getLogger(__name__)

BATCH_ROWS = 64  # uncapped, a CNN's buffers grew from 90 to 508 MB (facts, section 5)
COMMIT_ROWS = 2048
WAITING_ROWS = 16_384
WAITING_BYTES = 64 << 20  # of bodies whose rows wait, their clients still there or not
PREDICT_SECONDS = 15.0
COMMIT_SECONDS = 1.5  # a store that is locked, full or away holds nobody up for more than 2 s
STOP_SECONDS = 10.0

Write = Callable[[Sequence[Entry]], list[Outcome]]
Offer = Callable[[Challenger, Question, Outcome], None]
Result = list[Logged] | HoldfastError


class Job:
    """One request on its way: what is asked, then its rows, then an entry for the log, then the answer.

    After `deadline`, in `time.monotonic`, its client is told that there is no answer, and nobody works on it any more.
    """

    __slots__ = ("asked", "deadline", "entry", "future", "key", "question", "served", "size", "weight")

    def __init__(self, served: Served, asked: Question | Wanted, key: Key | None, weight: int) -> None:
        self.served, self.asked, self.key, self.weight = served, asked, key, weight
        self.size = len(asked)
        self.question: Question = []
        self.future: asyncio.Future[list[Logged]] = asyncio.get_running_loop().create_future()
        self.deadline = time.monotonic() + PREDICT_SECONDS
        self.entry: Entry | None = None

    def over(self, now: float) -> bool:
        """Whether nobody waits for it any more."""
        return self.deadline <= now or self.future.done()


class Batcher:
    """Two threads, one behind the other: the network's and the log's writer.

    Beside the first stands one that waits for other processes, so that a slow one holds up no other project.
    """

    def __init__(self, write: Write, telemetry: Telemetry, cores: Cores, offer: Offer) -> None:
        self.write, self.telemetry, self.cores, self.offer = write, telemetry, cores, offer
        self.long = False  # whether networks take long enough to have a core of their own
        self.to_predict: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.to_wait: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.to_commit: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.deadlines: Deadlines[Job] = Deadlines(self.give_up)
        self.gathered: list[Job] = []
        self.waiting = self.weight = 0  # rows and bytes, until the threads are done with them
        self.log_problem = ""  # why the last commit failed; empty once one succeeds
        self.threads = [
            (threading.Thread(target=self.run, args=(inbox, cap, handle), name=name, daemon=True), inbox)
            for name, inbox, cap, handle in (
                ("predict", self.to_predict, BATCH_ROWS, self.predict),
                ("wait", self.to_wait, BATCH_ROWS, self.predict_by_generation),
                ("commit", self.to_commit, COMMIT_ROWS, self.commit),
            )
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread, _ in self.threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end the threads; a database that doesn't answer is not waited for."""
        for thread, inbox in self.threads:
            inbox.put(None)
            thread.join(STOP_SECONDS)

    def submit(
        self, served: Served, asked: Question | Wanted, key: Key | None, weight: int
    ) -> "asyncio.Future[list[Logged]]":
        """Promise one durable answer a row, of a list as many as there are; a row answered before gets that answer.

        Raises: Refused 503 where too much waits. The promise: 409 where an id or a key was used with other features;
            503 where model or log fail.
        """
        if self.waiting + len(asked) > WAITING_ROWS or self.weight + weight > WAITING_BYTES:
            why = self.log_problem or "the service has as many rows waiting as it can: try again"
            raise Refused(503, why, "rows", reason="queue")
        job = Job(served, asked, key, weight)
        self.waiting += job.size
        self.weight += weight
        self.deadlines.add(job)
        self.gathered.append(job)
        if len(self.gathered) == 1:
            job.future.get_loop().call_soon(self.hand_over, 0)
        return job.future

    def hand_over(self, before: int) -> None:
        """Give the network's thread what was gathered, once a turn of the loop brought nothing more.

        A thread that wakes for the first of many rows would take turns with the loop that reads the others.
        """
        if before < len(self.gathered) < BATCH_ROWS:
            asyncio.get_running_loop().call_soon(self.hand_over, len(self.gathered))
            return
        gathered, self.gathered = self.gathered, []
        for job in gathered:
            (self.to_wait if job.served.distant else self.to_predict).put(job)

    def give_up(self, job: Job) -> None:
        """Tell a client that waited long enough."""
        if not job.future.done():
            job.future.set_exception(self.late())

    def run(self, inbox: "queue.SimpleQueue[Job | None]", cap: int, handle: Callable[[list[Job]], None]) -> None:
        """Take what is queued, up to `cap` rows, and handle it; again until the end is queued."""
        self.cores.gather()
        held: Job | None = None
        while (first := held or inbox.get()) is not None:
            held, ended = self.turn(first, inbox, cap, handle)
            if ended:
                return
            del first  # with its generation: what serves no more is let go now, not with the next request

    def turn(
        self, first: Job, inbox: "queue.SimpleQueue[Job | None]", cap: int, handle: Callable[[list[Job]], None]
    ) -> tuple[Job | None, bool]:
        """Handle a job with those queued behind it; return one that was one too many, and whether the end was there."""
        held: Job | None = None
        jobs, size, ended = [first], first.size, False
        while size < cap and not inbox.empty():
            job = inbox.get()
            if job is None:
                ended = True
                break
            if size + job.size > cap:
                held = job
                break
            jobs.append(job)
            size += job.size
        if jobs := self.wanted(jobs):
            handle(jobs)
        return held, ended

    def wanted(self, jobs: list[Job]) -> list[Job]:
        """Return the jobs whose clients still wait, and let go of the others."""
        now = time.monotonic()
        over = {id(job) for job in jobs if job.over(now)}
        self.settle([(job, self.late()) for job in jobs if id(job) in over])
        return [job for job in jobs if id(job) not in over]

    def late(self) -> Refused:
        """Say that an answer took too long."""
        return Refused(503, self.log_problem or "no durable answer in time: ask again", "store", reason="log")

    def predict_by_generation(self, jobs: list[Job]) -> None:
        """Predict by generation, since each job stays with the one its rows were validated by."""
        groups: dict[int, list[Job]] = {}
        for job in jobs:
            groups.setdefault(id(job.served), []).append(job)
        for group in groups.values():
            self.predict_group(group)

    def predict(self, jobs: list[Job]) -> None:
        """Predict in this process, on as many cores as that takes."""
        started = time.thread_time()
        self.predict_by_generation(jobs)
        if (time.thread_time() - started > LONG_SECONDS) != self.long:
            self.long = not self.long
            (self.cores.spread if self.long else self.cores.gather)()

    def predict_group(self, jobs: list[Job]) -> None:
        """Predict jobs of one generation together; if that fails each alone, so that only the culprit fails."""
        served = jobs[0].served
        ask = answer if served.challenger is None else answer_on_trial
        try:
            for job in jobs:
                job.question = as_rows(served, job.asked)
            entries = ask(served, [job.question for job in jobs])
        except Exception as error:  # the network or a project's feature code may raise anything; the thread must live
            if len(jobs) > 1:
                for job in jobs:
                    self.predict_group([job])
                return
            expected = isinstance(error, HoldfastError)
            said = str(error) if expected else f"{type(error).__name__}: {str(error)[:200]}"
            why = f"generation {served.generation} failed to predict: {said}"
            log.exception("%s %s", served.project, why, exc_info=not expected)
            self.settle([(jobs[0], Refused(503, why, reason="model"))])
            return
        self.telemetry.batches.add(sum(len(job.question) for job in jobs))
        ended: list[tuple[Job, Result]] = []
        now = time.monotonic()
        for job, entry in zip(jobs, entries, strict=True):
            if isinstance(entry, Refused) or job.over(now):
                ended.append((job, entry if isinstance(entry, Refused) else self.late()))
                continue
            if not job.question and job.key is None:  # a list that holds nothing, and nobody may ask for it again
                ended.append((job, []))
                continue
            entry.key, job.entry, job.deadline = job.key, entry, now + COMMIT_SECONDS
            self.to_commit.put(job)
        self.settle(ended)

    def commit(self, jobs: list[Job]) -> None:
        """Make every job's rows durable in one transaction, then answer them all; wait for another writer in turns."""
        while jobs:
            started = time.perf_counter()
            try:
                outcomes = self.write([job.entry for job in jobs if job.entry])
            except Locked as error:
                self.log_problem = f"the prediction log failed: {error}"
                jobs = self.wanted(jobs)
            except HoldfastError as error:
                self.refuse(jobs, str(error))
                return
            except Exception as error:  # whatever a database raises, its clients are told and the thread must live
                log.exception("the prediction log refused %d rows", sum(job.size for job in jobs))
                if len(jobs) == 1:
                    self.refuse(jobs, f"{type(error).__name__}: {error}")
                    return
                for job in jobs:  # only the culprit fails
                    self.commit(self.wanted([job]))
                return
            else:
                self.log_problem = ""
                self.telemetry.committed_batch(sum(len(job.question) for job in jobs), time.perf_counter() - started)
                self.settle([(job, told(job, outcome)) for job, outcome in zip(jobs, outcomes, strict=True)])
                for job, outcome in zip(jobs, outcomes, strict=True):
                    if job.served.challenger is not None:
                        self.offer(job.served.challenger, job.question, outcome)
                return

    def refuse(self, jobs: list[Job], why: str) -> None:
        """Tell the clients of a commit that failed, and say so once."""
        if not self.log_problem:
            log.error("the prediction log failed: %s", why)
        self.log_problem = f"the prediction log failed: {(why.splitlines() or [''])[0][:200]}"
        self.settle([(job, Refused(503, self.log_problem, "store", reason="log")) for job in jobs])

    def settle(self, outcomes: Iterable[tuple[Job, Result]]) -> None:
        """Hand results to the event loop that waits for them, with one wake-up for all."""
        outcomes = list(outcomes)
        if outcomes:
            outcomes[0][0].future.get_loop().call_soon_threadsafe(self.resolve, outcomes)

    def resolve(self, outcomes: list[tuple[Job, Result]]) -> None:
        """Fulfil the futures; a client that was told to ask again has its own behind it."""
        for job, result in outcomes:
            self.waiting -= job.size
            self.weight -= job.weight
            self.deadlines.waiting.discard(job)
            if job.future.done():
                continue
            if isinstance(result, HoldfastError):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)


def told(job: Job, outcome: Outcome) -> Result:
    """Return what answers a job, or why the log took none of its rows."""
    if not isinstance(outcome, Conflict):
        return outcome
    if outcome.row is None or job.entry is None:
        why = "this Idempotency-Key was used before, with another body or for rows that are gone"
        return Refused(409, why, "idempotency-key")
    return Refused(
        409, f"id {job.entry.rows[outcome.row].id!r} was answered before, for other features", f"rows[{outcome.row}].id"
    )
