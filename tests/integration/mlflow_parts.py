"""A real MLflow server on SQLite, as the supervisor starts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from prefect_stack import free_port

from data.environment import child_environment


@contextmanager
def mlflow_server(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """Without `holdfast.servers.webhook_variables` it is a server that refuses webhooks to this machine."""
    url = f"http://127.0.0.1:{free_port()}"
    words = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={url.rpartition(':')[2]}"]
    words += ["--workers=1", f"--backend-store-uri=sqlite:///{folder}/mlflow.db", "--serve-artifacts"]
    words += [f"--artifacts-destination={folder}/artifacts"]
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            words, env=child_environment(folder, variables), stdout=log, stderr=log, start_new_session=True, cwd=folder
        )
    try:
        deadline = time.monotonic() + 90
        while not up(url):
            assert server.poll() is None, (folder / "mlflow.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "MLflow did not start in 90 s"
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
