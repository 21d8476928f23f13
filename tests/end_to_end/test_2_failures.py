"""Each process of the stack is killed while it works; what was promised still holds afterwards."""

import threading
import time

import httpx
import psutil
import pytest
from live_stack import Live

from flows import client
from holdfast import demo
from holdfast.record import running
from monitoring.effects import Effects, NewDecision, NewIncident, NewIntent
from monitoring.records import Message
from tasks.traffic import Cameras, wait_until

pytestmark = pytest.mark.stack


def pid_of(live: Live, name: str) -> int:
    up = running(live.settings.home)
    assert up is not None
    return int(up.processes[name]["pid"])


def kill(live: Live, name: str) -> None:
    """SIGKILL one process with all its children, and wait until the supervisor has brought it back."""
    before = pid_of(live, name)
    process = psutil.Process(before)
    for each in (*process.children(recursive=True), process):
        each.kill()

    def back() -> bool:
        up = running(live.settings.home)
        return up is not None and up.ready and up.processes[name]["pid"] not in (None, before)

    assert wait_until(back, 60), f"{name} did not come back"


def promise(live: Live, reason: str) -> int:
    """Open an incident whose governor has allowed a retraining, in the transaction that monitor would use."""
    resources = live.resources
    now = resources.now()
    generation = resources.store.ledger.generation("digits")
    assert generation is not None
    event = {"event": "holdfast.retrain.requested", "payload": {"project": "digits"}}
    applied = resources.store.record(
        Effects(
            opened=NewIncident("digits", "degraded", generation.number, reason),
            messages=(Message(f"test.{reason}", "prefect", "event", event, now),),
            intent=NewIntent("digits", actor="a test"),  # a person may train again on rows that were learned
            decisions=(NewDecision("digits", "retrain", None, reason),),
        ),
        now,
    )
    assert applied.intent is not None
    return applied.intent.id


def intent_ends(live: Live, number: int, seconds: float = 150) -> str:
    def outcome() -> str | None:
        found = live.resources.store.intents.get(number)
        return found.outcome if found else None

    return str(live.story.wait(f"the end of intent {number}", outcome, seconds))


def close_incidents(live: Live) -> None:
    for incident in live.resources.store.incidents.open_ones("digits"):
        live.resources.store.incidents.close(incident.id, "test is over", live.resources.now())


def test_killing_the_service_loses_no_acknowledged_answer(live: Live) -> None:
    journal: list[str] = []
    stop = threading.Event()

    def send() -> None:
        with Cameras(live.settings.service_url, seed=11) as cameras:
            while not stop.is_set():
                journal.extend(cameras.send(10, dial=demo.DIAL).ids)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(1)
    kill(live, "service")
    time.sleep(2)
    stop.set()
    sender.join()
    lost = [key for key in journal if live.resources.store.predictions.get("digits", key) is None]
    assert len(journal) > 20
    assert lost == []


@pytest.mark.parametrize("name", ["mlflow", "prefect"])
def test_predictions_go_on_while_a_server_is_killed_and_comes_back(live: Live, name: str) -> None:
    failed: list[int] = []
    stop = threading.Event()

    def send() -> None:
        with Cameras(live.settings.service_url, seed=12) as cameras:
            while not stop.is_set():
                failed.append(cameras.send(10, dial=demo.DIAL).failed)
                time.sleep(0.1)

    sender = threading.Thread(target=send)
    sender.start()
    kill(live, name)
    stop.set()
    sender.join()
    assert sum(failed) == 0
    assert len(failed) > 5


def test_a_retraining_whose_process_is_killed_is_done_once_by_a_second_attempt(live: Live) -> None:
    close_incidents(live)
    serving = live.resources.store.ledger.generation("digits")
    intent = promise(live, "killed-run")
    running_run = live.story.wait("the run of the intent", lambda: run_of(live, intent), 60)
    assert wait_until(lambda: bool(flow_processes(running_run)), 30)
    for process in flow_processes(running_run):
        process.kill()
    outcome = intent_ends(live, intent)
    found = live.resources.store.intents.get(intent)
    assert found is not None
    assert found.attempt == 2
    assert outcome in ("promoted", "kept", "refused", "challenger")
    crashed = client.run_state(live.settings, running_run)
    assert crashed in ("Crashed", "Failed")
    now_serving = live.resources.store.ledger.generation("digits")
    assert serving is not None
    assert now_serving is not None
    assert now_serving.number - serving.number == (1 if outcome == "promoted" else 0)
    assert wait_until(lambda: live.resources.store.leases.current("digits") is None, 10)  # let go a moment later


def test_killing_runner_and_keeper_with_a_retraining_under_way_leaves_no_stuck_lease(live: Live) -> None:
    close_incidents(live)
    intent = promise(live, "killed-runner")
    live.story.wait("the run of the intent", lambda: run_of(live, intent), 60)
    kill(live, "runner")
    kill(live, "keeper")
    assert intent_ends(live, intent, 200) in ("promoted", "kept", "refused", "challenger")
    assert wait_until(lambda: live.resources.store.leases.current("digits") is None, 10)  # let go a moment later
    promises = live.resources.store.intents.recent("digits", 10)
    assert all(each.ended_at for each in promises)


def test_of_two_trainings_started_at_once_the_second_is_refused_with_the_reason(live: Live) -> None:
    first = client.start(live.settings, "train/digits", {"project": "digits"})
    holds = live.story.wait("the first training's lease", lambda: live.resources.store.leases.current("digits"), 60)
    second = client.run(live.settings, "train/digits", {"project": "digits"}, timeout=90)
    assert holds.holder == first.id
    assert second.state == "Failed"
    assert "refused" in second.message
    assert "already training" in second.message
    assert client.wait(live.settings, first, timeout=120).state == "Completed"


def test_an_automation_that_fires_twice_starts_one_retraining(live: Live) -> None:
    close_incidents(live)
    intent = promise(live, "fires-twice")
    twin = client.start(live.settings, "train/digits", {"project": "digits", "intent": intent})
    intent_ends(live, intent)
    ended = client.wait(live.settings, twin, timeout=90)
    assert ended.state == "Completed"
    assert live.resources.store.intents.get(intent).attempt == 1  # type: ignore[union-attr]


def test_the_whole_stack_killed_at_once_comes_back_with_the_same_champion(live: Live) -> None:
    before = live.resources.store.ledger.generation("digits")
    for name in ("service", "keeper", "runner", "mlflow", "prefect"):
        kill(live, name)
    assert before is not None
    assert wait_until(lambda: demo.serves(live.settings, before.number), 60)
    assert live.resources.store.ledger.generation("digits") == before
    assert httpx.get(f"{live.settings.service_url}/readyz").status_code == 200


def run_of(live: Live, intent: int) -> str | None:
    found = live.resources.store.intents.get(intent)
    return found.run if found and found.state == "running" else None


def flow_processes(run: str) -> list[psutil.Process]:
    """The processes of one flow run, known by the run's id in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found
