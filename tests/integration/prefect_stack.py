"""What the tests with a real Prefect share: waiting, and a runner that may be killed."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from data.environment import child_environment
from tasks.settings import Settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], object], seconds: float = 30.0, pause: float = 0.2) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)


class Runner:
    """A runner process that a test may kill and start again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = settings.home / "runner.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ready = self.settings.home / "run" / "runner.ready"
        ready.unlink(missing_ok=True)
        extra = {
            "HOLDFAST_PREFECT_PORT": str(self.settings.prefect_port),
            "HOLDFAST_PROJECTS": self.settings.projects,
            "HOLDFAST_RUNNER_LIMIT": "2",
            "HOLDFAST_DATA_REMOTE": self.settings.data_remote,
            "MLFLOW_TRACKING_URI": self.settings.mlflow_tracking_uri,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.runner"],
                env=child_environment(self.settings.home, extra),
                cwd=self.settings.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(ready.exists, 60.0)

    def kill(self) -> None:
        """SIGKILL the runner alone; its children live on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    @property
    def folder(self) -> Path:
        """Where its project files are."""
        return Path(self.settings.projects)
