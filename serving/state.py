"""What every route works with: the generations in memory, the log's writer, the store."""

import logging
from collections.abc import Iterable
from functools import cached_property

from monitoring.store import Store, open_store
from monitoring.tally import Tally
from serving.batching import Batcher
from serving.bodies import Bodies
from serving.cores import Cores
from serving.generations import Generations
from serving.keys import Client, Keys, loopback
from serving.pulse import Pulse
from serving.sessions import Sessions
from serving.shadowing import Shadowing
from serving.telemetry import Telemetry
from serving.turns import Turns
from tasks.resources import Resources
from tasks.settings import Settings

log = logging.getLogger(__name__)


PATIENCE_MS = 1_000  # for another writer, so that no client of a locked store waits for more than 2 s
Headers = Iterable[tuple[bytes, bytes]]


class State:
    """Opened when the server starts, closed when it ends; shared by the event loop and the threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bodies = Bodies()
        self.telemetry = Telemetry()
        self.turns = Turns(lambda: self.pulse.problem, lambda: self.batcher.waiting > 0)
        self.cores = Cores(together=settings.service_cores == "one")
        self.generations = Generations(settings.home, settings.project_folders, self.telemetry.swapped, self.recall)

    @cached_property
    def store(self) -> Store:
        """Predictions, labels, verdicts, incidents, ledger."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        return open_store(self.settings.store_url, PATIENCE_MS)

    @cached_property
    def apart(self) -> Store:
        """The same by connections of its own, for the threads that may not wait behind requests."""
        return open_store(self.settings.store_url, PATIENCE_MS)

    @cached_property
    def batcher(self) -> Batcher:
        """Predicts and logs."""
        return Batcher(self.store.journal.write, self.telemetry, self.cores, self.shadowing.offer)

    @cached_property
    def shadowing(self) -> Shadowing:
        """Runs challengers that nobody waits for, and reports on all."""
        return Shadowing(self.store.shadows.append, self.generations.trials, self.cores)

    @cached_property
    def pulse(self) -> Pulse:
        """Knows whether the store answers."""
        return Pulse(self.apart, self.batcher)

    @cached_property
    def keys(self) -> Keys:
        """Knows who asks."""
        keyless = self.settings.embedded and loopback(self.settings.host)
        return Keys(self.apart.clients.all, keyless=keyless)

    @cached_property
    def sessions(self) -> Sessions:
        """Knows who has logged in."""
        return Sessions(self.keys, self.settings.service_port)

    @cached_property
    def resources(self) -> Resources:
        """What tasks' functions take, with the store that is open here."""
        made = Resources(self.settings)
        made.store = self.store
        return made

    def start(self) -> None:
        """Open the store, load what serves, start the threads."""
        self.keys.start()
        self.shadowing.start()
        self.batcher.start()
        self.pulse.start()
        self.generations.start()

    def stop(self) -> None:
        """Finish what is queued and end the threads."""
        self.generations.stop()
        self.batcher.stop()
        self.shadowing.stop()
        self.pulse.stop()
        self.keys.stop()

    def admit(self, headers: Headers, scope: str, project: str) -> Client:
        """Return who asks; the one place where a request to predict is let in, before its body is read.

        Raises: Refused 401 for a key that nobody has, 403 for what its client may not do.
        """
        client = self.keys.client(headers)
        client.allow(scope, project)
        return client

    def charge(self, client: Client, rows: int) -> None:
        """Take rows from what a client may ask; the one place where rows are limited, before they are predicted.

        Raises: Refused 429.
        """
        if client.rows is not None:
            client.rows.take(rows)

    def count(self, project: str, status: int, rows: int, seconds: float, reason: str = "") -> None:
        """Count one request; the one place where the hot path is measured."""
        self.telemetry.answered("predict", project, status, rows, seconds, reason)

    def version(self, project: str, generation: int, trial: int = 0) -> str:
        """Return the version that a generation served: from memory, for one of long ago from the ledger.

        `trial`: the one whose version answered in its place.
        """
        if trial:
            tried = self.store.trials.get(trial)
            return tried.version if tried else "unknown"
        versions = self.generations.versions
        if (project, generation) not in versions:
            for past in self.store.ledger.generations(project):
                versions.setdefault((project, past.number), past.version)
        return versions.get((project, generation), "unknown")

    def recall(self, trial: int) -> Tally | None:
        """Return what was counted of a trial by the processes before this one; None where it is over."""
        found = self.store.trials.get(trial)
        return None if found is None or found.ended_at else Tally.from_json(found.measured)
