"""A clean folder in which a version is made again, by its own sources, in a process that sees nothing else.

All that is asked of archived sources, of whatever age: `python -m tasks.pipeline STEP PROJECT` works in
`$HOLDFAST_HOME/workspace/artifacts/PROJECT`, takes what is right in `.snapshot/` without a registry of batches, and
tells of its progress on stderr.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from data.environment import tool_environment
from data.errors import HoldfastError
from data.versions import DataRegistry, Snapshot
from models.machine import TUNING
from tasks import provenance

REMAKING = Path(__file__).with_name("remaking.py")
FOREIGN = ("HOLDFAST_", "MLFLOW_", "PREFECT_", "PYTHON")  # today's stack, and ways to today's sources
TOLD = re.compile(r"(\w+) +(\d+)% (.*)")  # as tasks.pipeline writes it
LINES = 30  # of what a child says, kept to explain its end


class NotRemade(HoldfastError):
    """The archived sources could not be run to their end here; the message is their last line."""


@dataclass(frozen=True)
class CleanRoom:
    """A folder with one version's sources and data. `recorded`: the facts of its training."""

    folder: Path
    project: str
    recorded: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The home that the archived sources see."""
        return self.folder / "home"

    @property
    def artifacts(self) -> Path:
        """Where their outputs appear."""
        return self.home / "workspace" / "artifacts" / self.project

    def furnish(self, snapshot: Snapshot, batches: DataRegistry, code: bytes) -> None:
        """Put the snapshot's files and the sources in place.

        Raises: Corrupt.
        """
        batches.restore(snapshot, self.artifacts / ".snapshot")
        (self.artifacts / "snapshot.json").write_text(snapshot.to_json())
        provenance.extract(code, self.folder / "code")

    def run(self, steps: Sequence[str], progress: Callable[[float, str], None], threads: int | None = None) -> None:
        """Run steps of the archived pipeline; `threads`: other than on record.

        Raises: NotRemade.
        """
        words = [sys.executable, "-P", str(REMAKING), str(self.folder / "code"), self.project, *steps]
        child = subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.variables(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            last = listen(child, progress)
            if child.wait():
                raise NotRemade(f"{self.project} can't be trained again here: {explained(last, child.returncode)}")
        finally:
            end(child)

    def variables(self, threads: int | None) -> dict[str, str]:
        """Return the child's environment: this machine's, the recorded tuning, nothing of today's stack."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(FOREIGN) and not TUNING.fullmatch(name)
        }
        tuning = (word.partition("=") for word in self.recorded.get("tuning", "").split())
        kept |= {name: value for name, _, value in tuning if TUNING.fullmatch(name)}
        cuda = self.recorded.get("device", "").startswith("cuda")
        return {
            **kept,
            **tool_environment(self.home),
            "HOLDFAST_PROJECTS": str(self.folder / "code" / provenance.PROJECT),
            "HOLDFAST_DEVICE": "cuda" if cuda else "cpu",
            "HOLDFAST_THREADS": str(threads or self.recorded["threads"]),
        }


def listen(child: "subprocess.Popen[bytes]", progress: Callable[[float, str], None]) -> list[str]:
    """Hand on what a child tells of its progress until it closes its stderr; return the last of what else it says."""
    assert child.stderr is not None
    last: deque[str] = deque(maxlen=LINES)
    rest = ""
    while chunk := os.read(child.stderr.fileno(), 65536):
        *lines, rest = re.split(r"[\r\n]", rest + chunk.decode(errors="replace"))
        for line in (*lines, ""):
            if told := TOLD.fullmatch(line.strip()):
                progress(int(told[2]) / 100, told[3].strip())
            elif line.strip():
                last.append(line)
    return [*last, rest] if rest.strip() else list(last)


def explained(last: Sequence[str], status: int) -> str:
    """Say in one line how a child ended."""
    said = " ".join(last[-1].split()) if last else "it said nothing"
    return f"it was killed by signal {-status}" if status < 0 else said[:500]


def end(child: "subprocess.Popen[bytes]") -> None:
    """End a child with all that it forked."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stderr):
        if pipe is not None:
            pipe.close()
    child.wait()


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """Give a folder of its own below `home`, and leave nothing; what a killed process left is swept out first."""
    from filelock import FileLock

    root = home / "verify"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / uuid.uuid4().hex
    mine = FileLock(f"{folder}.lock", thread_local=False)
    with FileLock(home / "verify.lock", thread_local=False):
        sweep(root)
        mine.acquire()
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        mine.release()
        Path(mine.lock_file).unlink(missing_ok=True)


def sweep(root: Path) -> None:
    """Remove the folders that nobody holds; the caller holds the lock under which new ones are made."""
    from filelock import FileLock, Timeout

    for path in root.glob("*.lock"):
        lock = FileLock(path, thread_local=False)
        with suppress(Timeout):
            lock.acquire(timeout=0)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            lock.release()
            path.unlink(missing_ok=True)
