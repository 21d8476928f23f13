"""Serve the deployments: what `python -m flows.runner` does once its environment stands.

Each flow run is a child process (`python -m prefect.engine`). Project files are looked at every second, so a new,
changed, broken or removed one shows in Prefect without a restart.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner

from data.errors import BrokenProject, ServerUnavailable
from flows.api import Refused, opened
from flows.automations import HEARTBEAT_SECONDS
from flows.backlog import collapse
from flows.deployments import apply
from flows.orphans import left_open, tidy
from flows.run_files import touch, write_broken
from projects import discovery
from projects.declaration import Project
from tasks.settings import Settings

logger = logging.getLogger(__name__)

POLL = 2.0
"""Seconds between two polls for work."""
PATIENCE = 10.0
"""Seconds that Prefect's runner has to cancel a run before we do."""
LOOK = 1.0
"""Seconds between two looks at the project folders and at the backlog."""
RETRY_BROKEN = 10.0
"""Seconds after which a broken project file is tried again: what it imports may have been mended."""


class Served(RunnerDeployment):
    """A deployment that stands in Prefect already, so that serving it writes nothing."""

    deployment_id: UUID

    async def aapply(self, *args: Any, **keys: Any) -> UUID:  # noqa: ARG002
        """Return the id under which it stands."""
        return self.deployment_id


class Watched:
    """The project files as they were last loaded."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loaded: dict[str, Project] = {}
        self.broken: dict[str, BrokenProject] = {}
        self._seen: tuple[frozenset[str], dict[str, tuple[int, int]]] | None = None
        self._tried = 0.0

    def forget(self) -> None:
        """Take everything for changed at the next look: what was read did not reach Prefect."""
        self._seen = None

    def changed(self, now: float) -> bool:
        """Load everything anew if a file or what is at work has changed, or a broken one is due for another try."""
        folders, examples = self.settings.project_folders, self.settings.examples_at_work
        seen = examples, footprint((discovery.SHIPPED, *folders))
        again = bool(self.broken) and now - self._tried > RETRY_BROKEN
        if seen == self._seen and not again:
            return False
        before = set(self.broken)
        self.loaded, self.broken = discovery.load_all(folders, examples)
        for name in sorted(set(self.broken) - before):
            logger.error("%s", self.broken[name])
        first_or_new = seen != self._seen or set(self.broken) != before
        self._seen, self._tried = seen, now
        return first_or_new


def footprint(folders: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Return time and size of every Python file in the folders and one level below."""
    found = {}
    for folder in folders:
        for path in (*folder.glob("*.py"), *folder.glob("*/*.py")):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # removed while we looked
            found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found


class Service:
    """The runner and the loops beside it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runner = Runner(
            name="holdfast",
            query_seconds=POLL,
            prefetch_seconds=0,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            limit=settings.runner_limit,
            pause_on_shutdown=False,
        )
        self.projects = Watched(settings)
        self.ids: dict[str, str] = {}
        self.orphans: list[dict[str, str]] = []
        self.cancelling: dict[str, float] = {}

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; running flows are then cancelled."""
        await self.begin()
        stopped = asyncio.Event()
        serving = asyncio.create_task(self.runner.start())
        while not self.runner.started and not serving.done():
            await asyncio.sleep(0.05)
        for name in (signal.SIGTERM, signal.SIGINT):  # after start, which takes SIGTERM for itself
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
        looking = asyncio.create_task(self.look())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({serving, looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        looking.cancel()
        stopping.cancel()
        if not serving.done():
            await self.runner.astop()
        await serving
        if looking.done() and not looking.cancelled():
            looking.result()  # a bug there must not pass in silence

    async def begin(self) -> None:
        """Wait for Prefect, put everything there, and take over what an earlier runner left."""
        while True:
            try:
                await self.refresh()
                await asyncio.to_thread(self.inherit)
                return
            except ServerUnavailable as error:
                logger.info("waiting: %s", error)
                await asyncio.sleep(0.5)

    async def refresh(self) -> None:
        """If a project file has changed, put the deployments into Prefect and serve those that are new."""
        now = asyncio.get_running_loop().time()
        if not await asyncio.to_thread(self.projects.changed, now) and self.ids:
            return
        write_broken(self.settings.home, self.projects.broken)
        try:
            self.ids = await asyncio.to_thread(apply, self.settings, self.projects.loaded, self.projects.broken)
        except ServerUnavailable:
            self.projects.forget()
            raise
        for name, known_as in self.ids.items():
            await self.runner.aadd_deployment(Served(name=name, flow_name=None, deployment_id=UUID(known_as)))
        logger.info("serving %d deployments of %d projects", len(self.ids), len(self.projects.loaded))

    def inherit(self) -> None:
        """Take over what an earlier runner left open."""
        with opened(self.settings.prefect_url) as api:
            self.orphans = tidy(api, left_open(api, self.ids.values()))

    def housekeep(self) -> None:
        """Collapse queues, see cancellations through, and follow the orphans to their end."""
        with opened(self.settings.prefect_url, timeout=5.0, patience=2.0) as api:
            collapse(api, self.ids.values())
            tidy(api, self.overdue(left_open(api, self.ids.values(), ["CANCELLING"])))
            if self.orphans:
                mine = {run["id"] for run in self.orphans}
                self.orphans = tidy(api, [run for run in left_open(api, self.ids.values()) if run["id"] in mine])

    def overdue(self, cancelling: list[dict[str, str]]) -> list[dict[str, str]]:
        """Return the runs whose cancellation nobody sees to: Prefect's own watch ends when the server is away."""
        now = time.monotonic()
        self.cancelling = {run["id"]: self.cancelling.get(run["id"], now) for run in cancelling}
        return [run for run in cancelling if now - self.cancelling[run["id"]] > PATIENCE]

    async def look(self) -> None:
        """Look at the files and at the queue, again and again; an unreachable Prefect is waited for."""
        away = ""
        while True:
            try:
                await self.refresh()
                await asyncio.to_thread(self.housekeep)
                touch(self.settings.home, "runner")
                away = ""
            except (ServerUnavailable, Refused) as error:
                if str(error) != away:
                    logger.warning("%s", error)
                away = str(error)
            await asyncio.sleep(LOOK)
