"""The form in Prefect, by a real server, a real runner, and the requests that its UI makes."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loop_parts import WINDOW, Orchard, judgement, plant, plums
from prefect_stack import Runner, until
from store_parts import asked_for

from flows import client
from flows.api import Api, Refused
from flows.automations import zombies
from flows.keeper import keeper_of
from flows.orphans import living
from models.judging import Outcome
from monitoring.store.approvals import Approval
from tasks import accepting, leases, retraining
from tasks.settings import Settings
from tasks.watching import watch


@dataclass
class Stand:
    """A project whose versions wait for people, and the Prefect in which they answer."""

    orchard: Orchard
    api: Api

    def ask(self, verdict: Outcome) -> str:
        version = self.orchard.register(verdict)
        with leases.leased(self.orchard, self.orchard.name, holder="run-1") as run:
            run.version, run.judgement = version, judgement(verdict)
            retraining.settle(self.orchard, run)
        return version

    def question(self, version: str) -> Approval:
        found = self.orchard.store.approvals.latest(self.orchard.name, version)
        assert found is not None
        return found

    def attend(self) -> None:
        """Let a keeper that was started just now look at the questions."""
        keeper = keeper_of(self.orchard.settings)
        keeper.forms.attend()
        keeper.resources.store.close()

    def state(self, version: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.call("GET", f"/flow_runs/{self.question(version).run}")["state"]
        return found

    def fill_in(self, version: str, **said: str) -> dict[str, Any]:
        """Submit the form as the UI does."""
        run = self.question(version).run
        answer: dict[str, Any] = self.api.call("POST", f"/flow_runs/{run}/resume", {"run_input": said})
        return answer


@pytest.fixture(scope="module")
def stand(
    prefect_settings: Settings, trained: Path, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    orchard = plant(trained, mlflow_url, tmp_path_factory.mktemp("forms") / "home", "forms")
    shutil.copytree(trained.parent / "registry", orchard.settings.home / "registry")
    ours = {"prefect_port": prefect_settings.prefect_port, "data_remote": str(trained.parent / "remote")}
    orchard.settings = orchard.settings.model_copy(update=ours)
    orchard.declare(('promote="auto"', 'promote="approve"'))
    runner = Runner(orchard.settings)
    runner.start()
    api = Api(prefect_settings.prefect_url)
    try:
        yield Stand(orchard, api)
    finally:
        api.close()
        runner.stop()
        orchard.store.close()


@pytest.fixture(scope="module")
def waiting(stand: Stand) -> dict[str, str]:
    """Two versions whose forms are there, each found again by keepers that were started later."""
    stand.orchard.promote()
    versions = {verdict: stand.ask(verdict) for verdict in ("passed", "question")}
    for _ in range(2):
        stand.attend()
    until(lambda: all(stand.state(version)["name"] == "Suspended" for version in versions.values()), 90)
    return versions


def test_a_form_waits_without_a_process_and_its_link_is_in_the_alert(stand: Stand, waiting: dict[str, str]) -> None:
    runs = {stand.question(version).run for version in waiting.values()}
    until(lambda: not runs & living().keys())
    told = asked_for(stand.orchard.store.outbox.due(stand.orchard.now(), 100))
    base = stand.orchard.settings.prefect_url.removesuffix("/api")
    links = sorted(message.payload["links"]["approve or reject"] for message in told)
    assert links == sorted(f"{base}/runs/flow-run/{run}" for run in runs)
    assert len(links) == 2


def test_a_form_says_what_is_asked_and_wants_an_answer_with_a_reason(stand: Stand, waiting: dict[str, str]) -> None:
    version = waiting["question"]
    run = stand.question(version).run
    keys = stand.state(version)["state_details"]["run_input_keyset"]
    schema = stand.api.call("GET", f"/flow_runs/{run}/input/{keys['schema']}")
    assert schema["properties"]["decision"]["enum"] == ["approve", "reject"]
    assert schema["required"] == ["decision", "reason"]
    above = stand.api.call("GET", f"/flow_runs/{run}/input/{keys['description']}")
    assert "| better | failed | -0.1 | 0 | [-0.2, 0.2] |".replace("[", "\\[").replace("]", "\\]") in above
    assert "A yes waives better." in above
    unfit = ({}, {"decision": "approve"}, {"decision": "approve", "reason": " a "}, {"decision": "?", "reason": "why"})
    for said in unfit:
        assert stand.fill_in(version, **said)["status"] == "REJECT"
    assert stand.state(version)["name"] == "Suspended"


def test_an_answer_in_another_form_is_taken_and_ends_the_one_that_waits(stand: Stand, waiting: dict[str, str]) -> None:
    name, settings, version = stand.orchard.name, stand.orchard.settings, waiting["passed"]
    said = {"version": version, "decision": "reject", "reason": "not on a Friday"}
    for wrong in ({"decision": "perhaps"}, {"reason": "a"}, {"version": "the last"}):
        with pytest.raises(Refused):
            client.start(settings, f"approve/{name}", said | wrong)
    ended = client.run(settings, f"approve/{name}", said, timeout=90)
    assert (ended.state, stand.question(version).answer) == ("Completed", "rejected")
    assert f"rejected by flow run approve-{name}-{version}: not on a Friday" in ended.message
    stand.attend()
    assert stand.question(version).closed_at is not None
    state = stand.state(version)
    assert (state["type"], state["name"]) == ("COMPLETED", "Answered")
    assert "was rejected by flow run approve" in state["message"]


def test_the_answer_in_the_form_makes_the_version_serve(stand: Stand, waiting: dict[str, str]) -> None:
    version = waiting["question"]
    assert stand.fill_in(version, decision="approve", reason="the world did change")["status"] == "ACCEPT"
    until(lambda: stand.state(version)["type"] in client.ENDED, 90)
    assert stand.state(version)["message"] == f"version {version} serves as generation 2: the world did change"
    serving = stand.orchard.serving
    assert (serving.version, serving.waived) == (version, ("better",))
    assert serving.actor == f"flow run ask-{stand.orchard.name}-{version}"
    stand.attend()
    assert stand.orchard.store.approvals.unclosed() == []


def test_a_run_that_is_suspended_is_not_missed_by_the_automation_that_looks_for_dead_ones() -> None:
    assert {"prefect.flow-run.Suspended", "prefect.flow-run.Paused"} <= set(zombies("ours")["trigger"]["expect"])


def test_a_word_given_on_a_page_is_carried_out_by_the_projects_deployment_and_once(stand: Stand) -> None:
    orchard = stand.orchard
    orchard.declare(("minimum_labels=30", 'minimum_labels=30, retrain="off"'))
    orchard.serve("9")
    for n in range(7):
        orchard.answer(plums(WINDOW, shift=2.5 if n > 2 else 0.0, seed=1000 + n), prefix=f"w{n}-")
    watch(orchard, orchard.name)
    [incident] = orchard.store.incidents.open_ones(orchard.name, "drift")
    accepting.ask(orchard, incident.id, "a new supplier", "ada")
    [asked] = orchard.store.acceptances.open_ones()
    for _ in range(2):
        keeper = keeper_of(orchard.settings)
        keeper.acceptor.attend()
        keeper.resources.store.close()
    until(lambda: orchard.store.acceptances.get(asked.id).ended_at, 90)  # type: ignore[union-attr]
    run = orchard.store.acceptances.get(asked.id).run  # type: ignore[union-attr]
    until(lambda: client.run_state(orchard.settings, str(run)) == "Completed", 30)
    told = stand.api.call("GET", f"/flow_runs/{run}")
    assert told["name"] == f"accept-{orchard.name}-{incident.id}"
    assert "is accepted by ada: a new supplier" in told["state"]["message"]
    assert orchard.store.incidents.get(incident.id).closed_why == "accepted by ada: a new supplier"  # type: ignore[union-attr]
    assert len(orchard.store.references.revisions(orchard.name, orchard.serving.number)) == 2
    mine = {"flow_runs": {"name": {"any_": [told["name"]]}}}
    assert len(stand.api.call("POST", "/flow_runs/filter", mine)) == 1


@pytest.mark.soak
def test_a_form_that_waits_for_longer_than_a_dead_run_may_be_silent_is_still_there(stand: Stand) -> None:
    version = stand.ask("question")
    stand.attend()
    until(lambda: stand.state(version)["name"] == "Suspended", 90)
    time.sleep(150)
    assert stand.state(version)["name"] == "Suspended"
