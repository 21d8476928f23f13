import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_parts import Orchard, plant, train_once
from mlflow_parts import mlflow_server
from postgres_parts import Postgres, binaries, postgres_server
from prefect_stack import Runner, free_port, until

from data.environment import child_environment
from flows import server
from flows.api import Api
from tasks.settings import Settings


@pytest.fixture(scope="session")
def prefect_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A real Prefect server on SQLite with its services, and the settings of a home that uses it."""
    home = tmp_path_factory.mktemp("prefect-home")
    settings = Settings(home=home, prefect_port=free_port(), projects=str(tmp_path_factory.mktemp("projects")))
    settings.home.mkdir(exist_ok=True)
    extra = {**server.environment(settings), "PREFECT_UI_ENABLED": "false"}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            server.command(settings), env=child_environment(home, extra), stdout=log, stderr=log, start_new_session=True
        )
    try:
        api = Api(settings.prefect_url, timeout=5.0)
        until(api.healthy, 90.0)
        api.close()
        yield settings
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def runner(prefect_settings: Settings) -> Iterator[Runner]:
    served = Runner(prefect_settings)
    served.start()
    group = served.process.pid if served.process else 0
    try:
        yield served
    finally:
        if served.process is not None and served.process.poll() is None:
            group = served.process.pid
            served.stop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's MLflow server keeps its database and the artifacts."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_url(mlflow_folder: Path) -> Iterator[str]:
    """A real MLflow server; each test names its own registered models."""
    with mlflow_server(mlflow_folder) as url:
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server; each test module makes its own database."""
    if binaries() is None:
        pytest.skip("no PostgreSQL here: initdb and postgres are neither on the PATH nor in /usr/lib/postgresql")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished training; its batches stand in the home around it."""
    return train_once(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def orchard(request: pytest.FixtureRequest, trained: Path, mlflow_url: str, tmp_path: Path) -> Iterator[Orchard]:
    """A home and a project of the test's own, with the session's training to register."""
    made = plant(trained, mlflow_url, tmp_path / "home", request.node.name)
    yield made
    made.close()
