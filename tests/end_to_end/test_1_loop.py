import httpx
import pytest
from live_stack import Live

from flows import client
from flows.api import opened
from holdfast import demo, stack
from holdfast.record import running

pytestmark = pytest.mark.stack


def test_every_process_comes_up_and_a_scheduled_run_completes(live: Live) -> None:
    up = running(live.settings.home)
    assert up is not None
    assert up.ready
    assert set(up.processes) == {"prefect", "mlflow", "service", "runner", "keeper"}
    client.reschedule(live.settings, "monitor/digits", demo.MONITOR)

    def scheduled() -> bool:
        ended = {"state": {"type": {"any_": ["COMPLETED"]}}}
        with opened(live.settings.prefect_url) as api:
            runs = api.call("POST", "/flow_runs/filter", {"flow_runs": ended, "limit": 50})
        return any(run["auto_scheduled"] for run in runs)

    live.story.wait("scheduled run that completed", scheduled, 90)


def test_a_second_stack_of_the_same_home_is_not_started(live: Live) -> None:
    with pytest.raises(stack.AlreadyUp):
        stack.supervise(live.settings, lambda _: None, lambda _: None)


def test_the_loop_closes_on_real_images(live: Live) -> None:
    demo.play(live.settings, live.story, live.box, live.console)

    store = live.resources.store
    assert [entry.number for entry in store.ledger.generations("digits")] == [1, 2]
    by_drift, by_hand = store.intents.recent("digits", 10)
    assert (by_drift.outcome, by_drift.attempt, by_drift.actor) == ("promoted", 1, None)
    assert (by_hand.outcome, by_hand.incident_id) == ("promoted", None)
    kinds = [alert["kind"] for alert in live.box.received]
    assert kinds.count("fault") == 1
    assert kinds.count("drift") + kinds.count("degraded") == 1
    live.story.wait("the follow-up of the retraining", lambda: live.box.texts("follow-up"), 30)
    assert [alert["outcome"] for alert in live.box.received if alert["kind"] == "follow-up"] == ["promoted"]
    assert kinds.count("recovered") == 1  # the fault; that the drift is answered, the follow-up says
    ids = [alert["id"] for alert in live.box.received]
    assert len(ids) == len(set(ids))


def test_every_window_has_one_verdict_for_each_check(live: Live) -> None:
    verdicts = live.resources.store.verdicts.all("digits")
    keys = [(one.window.generation, one.window.index, one.check) for one in verdicts]
    assert len(keys) == len(set(keys))
    data = [one for one in verdicts if one.check == "data" and one.window.generation == 1]
    assert [one.outcome for one in data[:3]] == ["ok", "fault", "ok"]
    assert "drift" in {one.outcome for one in data[3:]}


def test_what_the_service_logged_is_what_it_answered(live: Live) -> None:
    logged = live.resources.store.predictions
    assert logged.count("digits") >= 7 * demo.WINDOW
    answer = httpx.get(f"{live.settings.service_url}/v1/projects").json()
    (digits,) = [entry for entry in answer if entry["project"] == "digits"]
    assert digits["generation"] == 2


def test_the_registry_shows_the_stages_and_the_ledger_says_why(live: Live) -> None:
    models = live.resources.models
    serving = live.resources.store.ledger.generation("digits")
    assert serving is not None
    live.story.wait("champion alias", lambda: models.alias("digits", "champion") == serving.version, 20)
    assert models.alias("digits", "previous") == "1"
    chain = live.resources.store.ledger.why(f"version {serving.version}", "digits")
    kinds = [decision.kind for decision in chain]
    assert "promote" in kinds
    assert "retrain" in kinds
