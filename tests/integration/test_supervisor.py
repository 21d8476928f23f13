import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from data.errors import BadSetting
from holdfast.processes import MARK, Identity, end_marked, free_ports, marked
from holdfast.record import Stack, recorded, running
from holdfast.servers import touched
from holdfast.stack import check_ports, down, with_free_ports
from holdfast.supervisor import Child, ChildFailed, Patience, Supervisor
from tasks.settings import read_settings

SERVE = """
import os, pathlib, subprocess, sys, time
if len(sys.argv) > 2:  # a descendant that leaves the group
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("up", os.getpid(), flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
FAIL = "import sys; sys.exit('no such database')"


def child(folder: Path, name: str, script: str = SERVE, *words: str, after: tuple[str, ...] = ()) -> Child:
    ready = folder / f"{name}.ready"
    command = (sys.executable, "-c", script, str(ready), *words)
    return Child(name, command, dict(os.environ), folder / "logs" / f"{name}.log", touched(ready), after)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*children: Child, patience: Patience | None = None) -> Supervisor:
        said: list[str] = []
        quick = patience or Patience(first=0.05, most=0.2, calm=60, ready=10)
        supervisor = Supervisor(children, f"test-{os.getpid()}-{len(made)}", said.append, quick)
        supervisor.said = said  # type: ignore[attr-defined]
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        supervisor.stop(grace=2)


def until(supervisor: Supervisor, claim: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, supervisor.watched
        supervisor.round()
        time.sleep(0.02)


def test_children_start_in_order_and_a_killed_one_comes_back(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = supervise(child(tmp_path, "keeper", after=("server",)), child(tmp_path, "server"))
    supervisor.round()
    assert [one.state for one in supervisor.watched.values()] == ["waiting", "starting"]
    until(supervisor, lambda: supervisor.ready)
    first = supervisor.watched["keeper"].record()
    assert Identity(first["pid"], first["created"]).alive

    os.kill(first["pid"], signal.SIGKILL)
    until(supervisor, lambda: not supervisor.ready)
    until(supervisor, lambda: supervisor.ready)
    again = supervisor.watched["keeper"].record()
    assert again["restarts"] == 1
    assert again["pid"] != first["pid"]
    assert any("keeper was killed by SIGKILL; starting it again in 0.1 s" in text for text in supervisor.said)


def test_a_child_that_never_comes_up_ends_with_its_own_last_words(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    patience = Patience(first=0.02, most=0.05, limit=3)
    supervisor = supervise(child(tmp_path, "server", FAIL), patience=patience)
    with pytest.raises(ChildFailed, match=r"server ended with status 1: no such database \(3 times; its log: .*server"):
        until(supervisor, lambda: False)


def test_a_child_that_hangs_before_it_is_ready_is_started_again(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = supervise(
        child(tmp_path, "server", "import time; time.sleep(600)"), patience=Patience(first=0.02, ready=0.3)
    )
    until(supervisor, lambda: any("was not ready within 0 s" in text for text in supervisor.said))


def test_deaths_wait_longer_each_time_up_to_a_limit() -> None:
    assert [Patience().delay(deaths) for deaths in (1, 2, 3, 20)] == [0.5, 1.0, 2.0, 30.0]


def test_stopping_ends_descendants_that_left_their_group(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise(child(tmp_path, "server", SERVE, "with a descendant"))
    until(supervisor, lambda: supervisor.ready)
    assert len(marked(supervisor.mark)) == 2
    supervisor.stop(grace=2)
    assert marked(supervisor.mark) == []


SUPERVISING = """
import sys, time
from pathlib import Path
from tests.integration.test_supervisor import SERVE, child
from holdfast.supervisor import Supervisor
supervisor = Supervisor([child(Path(sys.argv[1]), "server", SERVE, "with a descendant")], sys.argv[2], print)
while True:
    supervisor.round()
    time.sleep(0.05)
"""


def test_children_and_their_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    mark = f"killed-{os.getpid()}"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, "-c", SUPERVISING, str(tmp_path), mark], env=environment)
    try:
        wait_for(lambda: (tmp_path / "server.ready").exists() and len(marked(mark)) == 2)
        process.kill()
        process.wait()
        wait_for(lambda: not marked(mark))
    finally:
        process.kill()
        end_marked(mark, patience=0)


def wait_for(claim: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_busy_port_is_named_with_who_holds_it(tmp_path: Path) -> None:
    settings = with_free_ports(read_settings(home=tmp_path))
    check_ports(settings)
    with socket.socket() as held:
        held.bind(("127.0.0.1", settings.mlflow_port))
        held.listen()
        with pytest.raises(BadSetting, match=rf"port {settings.mlflow_port} \(mlflow\) is held by pid {os.getpid()} "):
            check_ports(settings)
        check_ports(settings.model_copy(update={"mlflow_tracking_uri": "http://elsewhere:5000"}))


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_a_stack_is_running_while_its_supervisor_is(tmp_path: Path) -> None:
    stand_in = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, MARK: "left"})
    urls = {"prefect": "p", "prefect_api": "p/api", "mlflow": "m", "service": "s"}
    stack = Stack(str(tmp_path), "left", Identity.of(stand_in.pid), 0.0, True, urls, {"prefect": 1}, "")
    stack.write()
    assert running(tmp_path) == stack
    assert stack.environment["PREFECT_API_URL"] == "p/api"

    stand_in.kill()
    stand_in.wait()
    assert running(tmp_path) is None
    assert recorded(tmp_path) == stack
    said: list[str] = []
    assert down(tmp_path, said.append)
    left.wait(timeout=5)
    assert said == ["ended what was left: 1 processes"]
    assert not down(tmp_path, said.append)


def test_a_record_of_another_make_is_no_stack(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    (tmp_path / "stack.json").write_text(json.dumps({"home": "x"}))
    assert running(tmp_path) is None
    assert not Identity(os.getpid(), psutil.Process().create_time() - 100).alive
