"""What every test shares: a home of its own, quiet tools, fixed seeds, and no network but this machine."""

import atexit
import os
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from data.environment import foreign, tool_environment

sys.path.append(str(Path(__file__).parent / "integration"))  # its real servers serve the end-to-end tests too

# before any tool is imported
SESSION_HOME = Path(tempfile.mkdtemp(prefix="holdfast-tests-"))
atexit.register(shutil.rmtree, SESSION_HOME, ignore_errors=True)
os.environ.update(tool_environment(SESSION_HOME))
for unwanted in foreign(os.environ):
    if unwanted != "HOLDFAST_HOME":
        del os.environ[unwanted]

DATASETS = Path(os.environ["HOLDFAST_DATASETS"]) if os.environ.get("HOLDFAST_DATASETS") else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long failure tests at their full counts")
    known = int(os.environ.get("SEED") or 1)
    parser.addoption("--seed", type=int, default=known, help="what the failure tests draw from; also SEED")


def pytest_configure(config: pytest.Config) -> None:
    """A run of the suite repeats the last one; new examples are searched for by the soak."""
    hypothesis.settings.register_profile("same", derandomize=True, print_blob=True)
    hypothesis.settings.register_profile("search", print_blob=True)
    hypothesis.settings.load_profile("search" if config.getoption("--soak") else "same")


FLOORS = ("unit", "model", "integration", "end_to_end")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is quick comes first; beside another process, a file's tests stay together, and so do Prefect's."""
    items.sort(key=lambda item: FLOORS.index(item.path.relative_to(Path(__file__).parent).parts[0]))
    for item in items:
        served = "prefect_settings" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("prefect" if served else item.path.stem))
    if config.getoption("--soak"):
        return
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="a soak: make soak runs it"))


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """What random failures are drawn from, so that they can be had again."""
    return int(pytestconfig.getoption("--seed"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  libraries draw from the global generator


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to connect anywhere else, so that no test leans on the network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            host = str(address[0])
            if not (host.startswith("127.") or host in ("::1", "localhost")):
                raise OSError(f"tests may not connect to {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def datasets() -> Path:
    if DATASETS is None or not DATASETS.is_dir():
        pytest.skip("HOLDFAST_DATASETS names no folder with the public data sets")
    return DATASETS
