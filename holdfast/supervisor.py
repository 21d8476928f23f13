"""Keep a few child processes running: start in order, wait until ready, bring back what died, end all of it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data.errors import HoldfastError
from holdfast.processes import MARK, Identity, dies_with_parent, end_marked, last_lines

LOG_BYTES = 20_000_000  # a log longer than this is moved to NAME.log.1 and begun anew


class ChildFailed(HoldfastError):
    """A process of the stack would not come up; the message has its own last words."""


@dataclass(frozen=True)
class Child:
    """A process to keep running.

    `ready` is asked, with the time the process was started at, until it first says yes. `after` names children
    that must be ready before this one starts; they are ended after it.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[float], bool]
    after: tuple[str, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class Patience:
    """How often a child may die. Seconds; `calm` of running forgives earlier deaths."""

    first: float = 0.5
    most: float = 30.0
    calm: float = 60.0
    ready: float = 120.0
    limit: int = 5

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many deaths in a row."""
        return float(min(self.first * 2 ** (failures - 1), self.most))


@dataclass
class Watched:
    """A child as it is now."""

    child: Child
    process: "subprocess.Popen[bytes] | None" = None
    identity: Identity | None = None
    started: float = 0.0  # seconds since 1970
    ready: bool = False
    was_ready: bool = False
    restarts: int = 0
    failures: int = 0
    start_at: float = 0.0  # monotonic
    asked_at: float = 0.0  # monotonic
    log_offset: int = 0
    reason: str = ""

    @property
    def state(self) -> Literal["waiting", "starting", "ready", "failing"]:
        """One word for people."""
        if self.process is None:
            return "failing" if self.failures else "waiting"
        return "ready" if self.ready else "starting"

    def record(self) -> dict[str, Any]:
        """What others may know of it."""
        return {
            "pid": self.identity.pid if self.identity else None,
            "created": self.identity.created if self.identity else None,
            "state": self.state,
            "restarts": self.restarts,
            "reason": self.reason,
        }


@dataclass
class Supervisor:
    """Children of this process, all carrying one mark. Use it from one thread: the kernel ties children to it."""

    children: Sequence[Child]
    mark: str
    say: Callable[[str], None]
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self.watched = {child.name: Watched(child) for child in self.children}
        self.reaper: subprocess.Popen[bytes] | None = None
        self.trimmed_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether every child is ready now."""
        return all(one.ready for one in self.watched.values())

    def round(self) -> None:
        """Start what is due, see who died and who has become ready.

        Raises: ChildFailed, when a child that never was ready has died too often.
        """
        self._keep_reaper()
        for one in self.watched.values():
            if one.process is None:
                self._start_if_due(one)
            elif one.process.poll() is not None:
                self._bury(one, died(one.process.returncode))
            elif not one.ready:
                self._ask(one)
            elif one.failures and time.time() - one.started > self.patience.calm:
                one.failures = 0
        self._trim_logs()

    def stop(self, grace: float = 10.0) -> None:
        """End all children, those that need others first, and whatever they left behind."""
        waves = [[one for one in self.watched.values() if bool(one.child.after) is needy] for needy in (True, False)]
        for wave in waves:
            for one in wave:
                signal_group(one.process, signal.SIGTERM)
            deadline = time.monotonic() + grace
            for one in wave:
                if one.process is not None:
                    with suppress(subprocess.TimeoutExpired):
                        one.process.wait(max(0.0, deadline - time.monotonic()))
                    signal_group(one.process, signal.SIGKILL)
                    one.process.wait()
        end_marked(self.mark, patience=1)
        if self.reaper is not None and self.reaper.stdin is not None:
            self.reaper.stdin.close()
            self.reaper.wait()

    def _start_if_due(self, one: Watched) -> None:
        if time.monotonic() < one.start_at or not all(self.watched[name].ready for name in one.child.after):
            return
        child = one.child
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("ab") as log:
            one.log_offset = log.tell()
            one.started = time.time()
            one.process = subprocess.Popen(
                child.command,
                env={**child.environment, MARK: self.mark},
                cwd=child.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 (this process has one thread)
            )
        one.identity = Identity.of(one.process.pid)

    def _ask(self, one: Watched) -> None:
        """Ask a starting child whether it is ready, and end one that has taken too long."""
        now = time.monotonic()
        if now - one.asked_at < 0.2:
            return
        one.asked_at = now
        taken = time.time() - one.started
        if one.child.ready(one.started):
            again = " again" if one.was_ready else ""
            one.ready = one.was_ready = True
            one.reason = ""
            self.say(f"{one.child.name} is ready{again} ({taken:.1f} s)")
        elif taken > self.patience.ready and one.process is not None:
            signal_group(one.process, signal.SIGKILL)
            one.process.wait()
            self._bury(one, f"was not ready within {self.patience.ready:.0f} s")

    def _bury(self, one: Watched, how: str) -> None:
        """Note a death and set the time of the next start."""
        signal_group(one.process, signal.SIGKILL)  # what it left in its group would hold its port
        words = "" if how.startswith("was killed") else last_lines(one.child.log, one.log_offset)
        one.process, one.ready = None, False
        one.failures += 1
        one.restarts += 1
        one.reason = f"{one.child.name} {how}" + (f": {words}" if words else "")
        if one.failures >= self.patience.limit and not one.was_ready:
            raise ChildFailed(f"{one.reason} ({one.failures} times; its log: {one.child.log})")
        delay = self.patience.delay(one.failures)
        one.start_at = time.monotonic() + delay
        often = (
            f", {one.failures} times in a row, its log: {one.child.log}" if one.failures >= self.patience.limit else ""
        )
        self.say(f"{one.reason}; starting it again in {delay:.1f} s{often}")

    def _keep_reaper(self) -> None:
        """Have the process that cleans up after us should we be killed."""
        if self.reaper is None or self.reaper.poll() is not None:
            self.reaper = subprocess.Popen(
                [sys.executable, "-m", "holdfast.reaper", self.mark],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _trim_logs(self) -> None:
        """Begin a log anew when it has grown long; children append, so the file itself stays."""
        if time.monotonic() - self.trimmed_at < 10:
            return
        self.trimmed_at = time.monotonic()
        for one in self.watched.values():
            log = one.child.log
            if log.exists() and log.stat().st_size > LOG_BYTES:
                shutil.copyfile(log, log.with_name(log.name + ".1"))
                os.truncate(log, 0)
                one.log_offset = 0


def died(status: int) -> str:
    """Say how a process ended."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def signal_group(process: "subprocess.Popen[bytes] | None", number: signal.Signals) -> None:
    """Signal a child's whole process group, which may outlive the child."""
    if process is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
