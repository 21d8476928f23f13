"""The only Prefect door against a real server, a real runner and real flow processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect_stack import Runner, free_port, until

from data.environment import child_environment
from data.errors import NoSuchProject, ServerUnavailable
from flows import client, events
from flows.api import Api, Refused
from flows.deployments import KINDS, apply, differences
from flows.orphans import living
from projects.discovery import find, load_all
from tasks.settings import Settings

PROJECT = """
import os, pathlib, time
from datetime import timedelta
from projects.declaration import Category, Model, Number, Project, Schedule, Schema

HERE = pathlib.Path(__file__).parent

def rows():
    (HERE / "{name}.began").write_text(str(os.getpid()))
    while (HERE / "{name}.wait").exists():
        time.sleep(0.05)
    raise SystemExit("the source of this test has no rows")

project = Project(
    name="{name}",
    task="classification",
    schema=Schema(columns={{"x": Number(), "y": Category(levels=("a", "b"))}}, target="y", key="id"),
    source=rows,
    model=Model(network="mlp"),
    schedule=Schedule(monitor=timedelta(seconds={monitor}), ingest=timedelta(hours=6)),
)
"""
FLOWS = tuple(kind.flow for kind in KINDS)


def declare(folder: Path, name: str, *, monitor: float = 3600) -> Path:
    path = folder / f"{name}.py"
    beside = folder / f".{name}"
    beside.write_text(PROJECT.format(name=name, monitor=monitor))
    beside.replace(path)
    return path


@pytest.fixture(scope="module")
def api(prefect_settings: Settings) -> Iterator[Api]:
    opened = Api(prefect_settings.prefect_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def tiny(runner: Runner, api: Api, prefect_settings: Settings) -> str:
    """A project that appears while the runner is at work; the shipped ones' monitors are paused by a person."""
    declare(runner.folder, "tiny")
    shipped = find([], prefect_settings.examples_at_work)
    assert set(shipped) == {"digits"}  # the others were not asked for
    for name in shipped:
        found = deployment(api, f"monitor/{name}")
        api.call("POST", f"/deployments/{found['id']}/pause_deployment")
    until(lambda: all(api.find(f"/deployments/name/{flow}/tiny") for flow in FLOWS))
    until(lambda: f"serving {(len(shipped) + 1) * len(FLOWS)} " in runner.log.read_text())
    return "tiny"


def deployment(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"/deployments/name/{name}")
    return found


def runs_of(api: Api, name: str) -> list[dict[str, Any]]:
    body = {"flow_runs": {"deployment_id": {"any_": [deployment(api, name)["id"]]}}, "sort": "START_TIME_DESC"}
    found: list[dict[str, Any]] = api.call("POST", "/flow_runs/filter", body)
    return found


def test_every_project_has_its_deployments_with_typed_forms(tiny: str, api: Api) -> None:
    form = deployment(api, "train/tiny")["parameter_openapi_schema"]["properties"]
    assert form["device"]["enum"] == ["auto", "cpu", "cuda"]
    assert form["project"]["enum"] == ["tiny"]
    assert all(field["description"] for field in form.values())
    assert set(deployment(api, "promote/tiny")["parameter_openapi_schema"]["properties"]) == {
        "project", "version", "reason", "waive", "request",
    }  # fmt: skip
    schedules = {flow: deployment(api, f"{flow}/tiny")["schedules"] for flow in FLOWS}
    assert {flow: [each["active"] for each in found] for flow, found in schedules.items() if found} == {
        "monitor": [True],
        "ingest": [False],
    }
    assert "verdict" in deployment(api, "monitor/tiny")["description"]


def test_a_wrong_parameter_is_refused_before_anything_runs(tiny: str, prefect_settings: Settings) -> None:
    with pytest.raises(Refused, match="abacus"):
        client.start(prefect_settings, "train/tiny", {"device": "abacus"})
    with pytest.raises(NoSuchProject, match="tiny"):
        client.start(prefect_settings, "train/tinny")


def test_a_run_that_finds_nothing_to_do_says_what_to_do_first(tiny: str, prefect_settings: Settings, api: Api) -> None:
    told: list[str] = []
    ended = client.run(prefect_settings, "train/tiny", timeout=90, progress=lambda run: told.append(run.state))
    assert (ended.state, ended.message) == ("Completed", "no batch yet: run ingest/tiny")
    assert told[0] == "Scheduled"
    shown = api.call("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [ended.id]}}})
    assert any("no batch yet: run ingest/tiny" in artifact["data"] for artifact in shown)
    assert client.run_state(prefect_settings, ended.id) == "Completed"


def test_an_event_starts_one_run_with_a_typed_intent_and_its_duplicate_none(
    tiny: str, prefect_settings: Settings, api: Api
) -> None:
    before = {run["id"] for run in runs_of(api, "train/tiny")}
    payload = {"project": "tiny", "intent": 41, "token": 7}
    for _ in range(2):
        events.emit(prefect_settings.prefect_url, events.RETRAIN_REQUESTED, payload)

    def new() -> list[dict[str, Any]]:
        return [run for run in runs_of(api, "train/tiny") if run["id"] not in before]

    until(new)
    until(lambda: all(run["state_type"] in client.ENDED for run in new()), 60)
    started = new()
    assert [run["parameters"]["intent"] for run in started] == [41] * len(started)
    # on SQLite the broker may deliver twice; then each run but one has nothing to do, and here none has
    assert all(run["state_type"] == "COMPLETED" and "intent 41" in run["state"]["message"] for run in started)


def test_asking_twice_with_one_key_starts_one_run(tiny: str, prefect_settings: Settings) -> None:
    asked = [client.start(prefect_settings, "train/tiny", {"intent": 42}, key="intent-42-7").id for _ in range(2)]
    assert asked[0] == asked[1]
    until(lambda: client.run_state(prefect_settings, asked[0]) == "Completed", 60)


def test_a_schedule_starts_runs_and_does_not_pile_them_up(tiny: str, runner: Runner, api: Api) -> None:
    declare(runner.folder, "tiny", monitor=1)
    until(lambda: any(run["state_type"] == "COMPLETED" for run in runs_of(api, "monitor/tiny")), 60)
    time.sleep(8)
    open_states = [run["state_type"] for run in runs_of(api, "monitor/tiny") if due(run)]
    declare(runner.folder, "tiny")
    assert open_states.count("RUNNING") + open_states.count("PENDING") <= 2
    assert open_states.count("SCHEDULED") <= 4


def test_a_changed_schedule_holds_though_runs_of_the_old_one_were_planned(
    tiny: str, runner: Runner, api: Api, prefect_settings: Settings
) -> None:
    declare(runner.folder, "tiny", monitor=600)
    found = deployment(api, "monitor/tiny")
    for every in (timedelta(hours=6), timedelta(minutes=1), timedelta(hours=6), timedelta(minutes=1)):
        client.reschedule(prefect_settings, "monitor/tiny", every)
        until(lambda: client.next_start(api, found["id"]) is not None, 30)
        planned = client.next_start(api, found["id"])
        assert planned is not None
        assert planned <= datetime.now(UTC) + every
    declare(runner.folder, "tiny")


def due(run: dict[str, Any]) -> bool:
    return float(run["estimated_start_time_delta"]) > 0


def test_a_broken_project_file_disables_only_itself_until_it_is_mended(
    tiny: str, runner: Runner, api: Api, prefect_settings: Settings
) -> None:
    path = declare(runner.folder, "wobbly")
    until(lambda: api.find("/deployments/name/train/wobbly"))
    path.write_text(path.read_text().replace('target="y"', 'target="why"'))
    until(lambda: deployment(api, "train/wobbly")["paused"])
    said = deployment(api, "train/wobbly")["description"]
    assert "Disabled" in said
    assert "wobbly.py:" in said
    assert "wobbly" in json.loads((prefect_settings.home / "run" / "broken.json").read_text())
    assert not deployment(api, "train/tiny")["paused"]
    declare(runner.folder, "wobbly")
    until(lambda: not deployment(api, "train/wobbly")["paused"])
    path.unlink()
    until(lambda: deployment(api, "train/wobbly")["paused"])
    assert "no project file" in deployment(api, "train/wobbly")["description"]


def test_a_run_whose_runner_and_process_were_killed_ends_as_crashed(
    tiny: str, runner: Runner, prefect_settings: Settings
) -> None:
    run, child = held(runner, prefect_settings)
    runner.kill()
    os.kill(child, signal.SIGKILL)
    assert client.run_state(prefect_settings, run) == "Running"
    release(runner)
    runner.start()
    until(lambda: client.run_state(prefect_settings, run) == "Crashed", 10)


def test_a_run_outlives_its_runner_and_can_still_be_cancelled(
    tiny: str, runner: Runner, prefect_settings: Settings, api: Api
) -> None:
    run, _ = held(runner, prefect_settings)
    runner.kill()
    runner.start()
    time.sleep(2)
    assert client.run_state(prefect_settings, run) == "Running"
    api.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    until(lambda: run not in living(), 15)
    until(lambda: client.run_state(prefect_settings, run) in {"Cancelled", "Crashed"}, 10)
    release(runner)


def test_a_runner_that_is_told_to_stop_ends_its_runs_and_pauses_nothing(
    tiny: str, runner: Runner, prefect_settings: Settings, api: Api
) -> None:
    run, _ = held(runner, prefect_settings)
    assert runner.stop() == 0
    assert client.run_state(prefect_settings, run) in {"Cancelled", "Crashed", "Cancelling"}
    assert not deployment(api, "monitor/tiny")["paused"]
    release(runner)
    runner.start()
    until(lambda: client.run_state(prefect_settings, run) in {"Cancelled", "Crashed"}, 10)


@pytest.mark.soak
def test_a_run_whose_runner_never_comes_back_is_crashed_by_its_silence(
    tiny: str, runner: Runner, prefect_settings: Settings
) -> None:
    run, child = held(runner, prefect_settings)
    runner.kill()
    os.kill(child, signal.SIGKILL)
    until(lambda: client.run_state(prefect_settings, run) == "Crashed", 150)
    release(runner)
    runner.start()


def held(runner: Runner, settings: Settings) -> tuple[str, int]:
    """Start an ingest whose source waits, and return the run and its process once it is there."""
    began = runner.folder / "tiny.began"
    began.unlink(missing_ok=True)
    (runner.folder / "tiny.wait").touch()
    run = client.start(settings, "ingest/tiny").id
    until(began.exists)
    until(lambda: client.run_state(settings, run) == "Running")
    return run, int(began.read_text())


def release(runner: Runner) -> None:
    (runner.folder / "tiny.wait").unlink()


def test_what_a_person_edits_in_prefect_survives_and_is_told(
    tmp_path: Path, prefect_settings: Settings, api: Api
) -> None:
    declare(tmp_path, "edited", monitor=60)
    settings = prefect_settings.model_copy(update={"home": tmp_path})
    loaded = {"edited": load_all([tmp_path])[0]["edited"]}
    apply(settings, loaded, {})
    assert differences(settings) == []
    edit(api)
    declare(tmp_path, "edited", monitor=30)
    loaded = {"edited": load_all([tmp_path])[0]["edited"]}
    apply(settings, loaded, {})
    apply(settings, loaded, {})
    assert schedule(api, "monitor/edited") == (5.0, False)
    assert deployment(api, "ingest/edited")["schedules"] == []
    assert deployment(api, "train/edited")["parameters"] == {"project": "edited", "device": "cpu"}
    assert not automation(api, "retrain/edited")["enabled"]
    assert api.find(f"/automations/{ZOMBIES_GONE[0]}") is None
    told = differences(settings)
    assert [line.split(":")[0] for line in told] == [
        "ingest/edited", "monitor/edited", "train/edited", "automation 'holdfast", "automation 'retrain/edited'",
    ]  # fmt: skip
    assert "every 0:00:05, off in Prefect, every 0:00:30, on" in told[1]


ZOMBIES_GONE: list[str] = []


def edit(api: Api) -> None:
    """What a person may do in the UI."""
    monitor = deployment(api, "monitor/edited")
    path = f"/deployments/{monitor['id']}/schedules/{monitor['schedules'][0]['id']}"
    api.call("PATCH", path, {"active": False, "schedule": {"interval": 5.0}})
    ingest = deployment(api, "ingest/edited")
    api.call("DELETE", f"/deployments/{ingest['id']}/schedules/{ingest['schedules'][0]['id']}")
    train = deployment(api, "train/edited")
    api.call("PATCH", f"/deployments/{train['id']}", {"parameters": {"project": "edited", "device": "cpu"}})
    api.call("PATCH", f"/automations/{automation(api, 'retrain/edited')['id']}", {"enabled": False})
    zombies = automation(api, "holdfast: crash runs whose process is gone")
    ZOMBIES_GONE.append(zombies["id"])
    api.call("DELETE", f"/automations/{zombies['id']}")


def schedule(api: Api, name: str) -> tuple[float, bool]:
    (only,) = deployment(api, name)["schedules"]
    return only["schedule"]["interval"], only["active"]


def automation(api: Api, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = api.call("POST", "/automations/filter", {"automations": {"name": {"any_": [name]}}})
    return found[0]


def test_a_keeper_works_on_while_prefect_and_mlflow_are_away_and_stops_cleanly(tmp_path: Path) -> None:
    ready = tmp_path / "run" / "keeper.ready"
    ports = {"HOLDFAST_PREFECT_PORT": str(free_port()), "HOLDFAST_MLFLOW_PORT": str(free_port())}
    environment = child_environment(tmp_path, {**ports, "HOLDFAST_KEEPER_SECONDS": "0.1"})
    with (tmp_path / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen([sys.executable, "-m", "flows.keeper"], env=environment, stdout=log, stderr=log)
    until(ready.exists, 60)
    first = ready.read_text()
    until(lambda: ready.read_text() > first)
    keeper.terminate()
    assert keeper.wait(timeout=10) == 0
    assert "Traceback" not in (tmp_path / "keeper.log").read_text()


def test_an_event_for_a_dead_server_fails_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(ServerUnavailable):
        events.emit(f"http://127.0.0.1:{free_port()}/api", events.RETRAIN_REQUESTED, {"project": "tiny", "intent": 1})
    assert time.monotonic() - begun < 3
