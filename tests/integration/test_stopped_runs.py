"""A training whose process stands still until another has taken over, by real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from loop_parts import Orchard
from store_parts import child

from data.errors import HoldfastError
from tasks import promotion

LEASE = 1.0  # seconds

STAND_STILL = """
import os, shutil, signal, sys, threading
from pathlib import Path
from loop_parts import Orchard, judgement
from data.errors import HoldfastError
from data.versions import DataRegistry
from models.registry import Registry
from monitoring.store.leases import Leases
from tasks import comparison, leases, promotion, retraining
from tasks.settings import Settings

home, name, trained, mlflow, seconds, where = sys.argv[1:]
trained = Path(trained)
settings = Settings(
    home=home, projects=f"{home}/projects", mlflow_tracking_uri=mlflow, lease_seconds=float(seconds)
)
shared = DataRegistry(trained.parent / "registry", str(trained.parent / "remote"))
orchard = Orchard(settings, name=name, trained=trained, shared=shared)
owner, function = {
    "register": (Registry, "register"), "judge": (comparison, "judge_version"), "settle": (promotion, "serve"),
}[where]
moving, renewing, calm = getattr(owner, function), Leases.renew, threading.Lock()

def renew(*arguments):
    with calm:
        return renewing(*arguments)

Leases.renew = renew  # stopped in the middle of a commit, a process would hold SQLite's only lock as well

def stopped(*arguments, **keys):
    found = moving(*arguments, **keys) if where == "judge" else None
    with calm:
        os.kill(os.getpid(), signal.SIGSTOP)
    return found or moving(*arguments, **keys)

with leases.leased(orchard, name, holder="the one that stands still") as run:
    shutil.copytree(trained, run.folder)
    run.version, run.judgement = "", None
    if where != "register":
        run.version, run.judgement = orchard.register(None if where == "judge" else "passed"), judgement("passed")
    setattr(owner, function, stopped)
    for step in (getattr(retraining, where), retraining.register, retraining.judge, retraining.settle):
        try:
            step(orchard, run)
        except HoldfastError as error:
            print(type(error).__name__, flush=True)
        else:
            print("done", flush=True)
"""


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize(
    "where", ["register", pytest.param("judge", marks=pytest.mark.soak), pytest.param("settle", marks=pytest.mark.soak)]
)
def test_what_a_stopped_training_does_when_it_goes_on_is_never_judged_or_promoted(
    orchard: Orchard, children: list[subprocess.Popen[str]], where: str
) -> None:
    settings = orchard.settings
    words = [settings.home, orchard.name, orchard.trained, settings.mlflow_url, LEASE, where]
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_STILL, *map(str, words)], stdout=subprocess.PIPE, text=True, env=child()
    )
    children.append(process)
    until_stopped(process)
    token = taken_over(orchard)
    judged = orchard.store.ledger.decisions(orchard.name, kinds=("judge",))
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=60)
    assert said.split() == ["StaleToken"] * 4
    assert orchard.store.ledger.decisions(orchard.name, kinds=("judge", "promote", "ask", "refuse")) == judged
    assert orchard.generations == []
    assert orchard.models.aliases(orchard.name).get("champion") is None
    assert orchard.store.leases.current(orchard.name).token == token  # type: ignore[union-attr]
    if where == "register":
        [orphan] = orchard.models.versions(orchard.name)  # MLflow has no fence: it took the version
        with pytest.raises(HoldfastError, match="never judged"):
            promotion.promote(orchard, orchard.name, orphan.number, actor="ada", reason="it is there")
        assert orchard.generations == []


def until_stopped(process: subprocess.Popen[str]) -> None:
    """Wait until the process has stopped itself."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended: {status}"


def taken_over(orchard: Orchard) -> int:
    """Wait for the lease to run out, and let another training take it."""
    held = orchard.store.leases.current(orchard.name)
    assert held is not None
    while orchard.now() < held.expires_at:
        time.sleep(0.05)
    return orchard.store.leases.acquire(orchard.name, "another", timedelta(seconds=120), orchard.now())
