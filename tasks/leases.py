"""The right to train a project, as a run holds it: taken, renewed while it works, given back with its outcome."""

import dataclasses
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import Busy, HoldfastError, ServerUnavailable, StaleToken
from monitoring.records import Intent
from projects.declaration import Project
from tasks.resources import Resources

if TYPE_CHECKING:
    from models.judging import Judgement

logger = logging.getLogger(__name__)


class AlreadyDone(HoldfastError):
    """Another run has this intent: nothing is left to do."""


@dataclass
class Run:
    """One training under way: what its steps have made so far."""

    project: Project
    holder: str
    token: int
    folder: Path
    intent: int | None = None
    attempt: int | None = None
    version: str = ""
    judgement: "Judgement | None" = None
    outcome: str = "failed"
    lost: threading.Event = field(default_factory=threading.Event)


@contextmanager
def leased(resources: Resources, name: str, *, holder: str, intent: int | None = None) -> Iterator[Run]:
    """Take the project's lease, renew it while the block runs, and end the intent with the run's outcome.

    Raises:
        Busy: another training holds the lease.
        AlreadyDone: another run has claimed this intent, or it has ended.
    """
    project = resources.project(name)
    now = resources.now()
    if intent is not None:
        token, attempt = claimed(resources, intent, holder)
    else:
        attempt = None
        token = resources.store.leases.acquire(name, holder, resources.settings.lease_ttl, now)
    folder = resources.settings.workspace / "artifacts" / ".runs" / str(token) / name
    run = Run(project, holder, token, folder, intent, attempt)
    finished = threading.Event()
    renewing = threading.Thread(target=renew, args=(resources, run, finished), daemon=True, name="lease")
    renewing.start()
    try:
        yield run
    finally:
        finished.set()
        renewing.join()
        close(resources, run)


def claimed(resources: Resources, intent: int, holder: str) -> tuple[int, int]:
    """Take the lease for an intent and claim it; return token and attempt. Exactly one run of an attempt gets both.

    Raises: AlreadyDone; Busy, when a training that is not this intent's holds the lease.
    """
    store, now = resources.store, resources.now()
    promise = open_promise(resources, intent)
    try:
        token = store.leases.acquire(promise.project, holder, resources.settings.lease_ttl, now)
    except Busy:
        open_promise(resources, intent)
        raise
    if not store.intents.claim(intent, promise.attempt, holder, now):
        store.leases.release(promise.project, token)
        open_promise(resources, intent)
        raise AlreadyDone(f"intent {intent} was claimed by another run")
    return token, promise.attempt


def open_promise(resources: Resources, intent: int) -> Intent:
    """Return an intent that waits for a run.

    Raises: AlreadyDone.
    """
    found = resources.store.intents.get(intent)
    if found is None or found.state == "ended":
        raise AlreadyDone(f"intent {intent} is settled: {found.outcome if found else 'unknown'}")
    if found.state == "running":
        raise AlreadyDone(f"intent {intent} is already being done by run {found.run}")
    return found


def renew(resources: Resources, run: Run, finished: threading.Event) -> None:
    """Keep the lease until `finished`; once it is lost, say so to the run."""
    own = dataclasses.replace(resources)  # connections of this thread's
    pause = resources.settings.lease_seconds / 4
    while not finished.wait(pause):
        try:
            own.store.leases.renew(run.project.name, run.token, own.settings.lease_ttl, own.now())
        except StaleToken:
            run.lost.set()
            return
        except ServerUnavailable as error:
            logger.warning("%s: the lease is renewed later: %s", run.project.name, error)


def close(resources: Resources, run: Run) -> None:
    """End the intent and give the lease back, unless a newer holder has both; a failed run's intent stays open."""
    shutil.rmtree(run.folder.parent, ignore_errors=True)
    store = resources.store
    try:
        store.leases.check(run.project.name, run.token)
        if run.intent is not None and run.outcome != "failed":
            store.intents.end(run.intent, run.outcome, resources.now(), run.attempt)
        store.leases.release(run.project.name, run.token)
    except StaleToken:
        logger.warning("%s: lease %d was taken over; its outcome is dropped", run.project.name, run.token)


def guard(resources: Resources, run: Run) -> None:
    """Stop a run whose lease has gone to another.

    Raises: StaleToken.
    """
    resources.store.leases.check(run.project.name, run.token)


def held(resources: Resources, run: Run, progress: Callable[[float, str], None]) -> Callable[[float, str], None]:
    """Return `progress`, which raises StaleToken once the lease is lost: what takes long tells of itself by it."""

    def tell(share: float, what: str) -> None:
        if run.lost.is_set():
            guard(resources, run)
        progress(share, what)

    return tell
