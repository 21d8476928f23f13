"""What people see of the stack that went through the loop and the failures, in a real browser."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import CHROMIUM, DRIVER, Browser, browsing
from live_stack import Live

from flows.api import Api, opened
from flows.deployments import KINDS
from models.links import run_page
from tasks.traffic import wait_until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium with chromedriver is installed"),
]

MODEST = """
from projects.declaration import Category, Model, Number, Project, Schema

def rows():
    raise SystemExit("this project of a test has no rows")

project = Project(
    name="modest",
    task="classification",
    schema=Schema(columns={"x": Number(), "y": Category(levels=("a", "b"))}, target="y", key="id"),
    source=rows,
    model=Model(network="mlp"),
)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as one:
        yield one


@pytest.fixture(scope="module")
def prefect(live: Live) -> str:
    return live.settings.prefect_url.removesuffix("/api")


@pytest.fixture(scope="module")
def api(live: Live) -> Iterator[Api]:
    with opened(live.settings.prefect_url) as one:
        yield one


def training(api: Api) -> dict[str, Any]:
    """The newest training of digits that was judged."""
    ended = {"state": {"type": {"any_": ["COMPLETED"]}}, "name": {"any_": ["train-digits"]}}
    runs = api.call("POST", "/flow_runs/filter", {"flow_runs": ended, "sort": "END_TIME_DESC"})
    return next(run for run in runs if "version" in run["state"]["message"])


def test_prefect_lists_the_deployments_and_explains_their_parameters(
    live: Live, browser: Browser, prefect: str, api: Api
) -> None:
    browser.open(f"{prefect}/deployments")
    browser.run("localStorage.setItem('deployment-list-limit', '100')")  # a page holds 10, and there are more kinds
    browser.reload()
    listed = set(re.findall(r"^digits\n(\w+)$", browser.shows("digits", "rollback"), re.MULTILINE))
    assert listed == {kind.flow for kind in KINDS}
    train = api.call("GET", "/deployments/name/train/digits")
    browser.open(f"{prefect}/deployments/deployment/{train['id']}/run")
    browser.shows("Parameters", '"auto" takes a GPU where there is one', "people leave it empty")


def test_a_training_shows_its_gates_and_what_it_did(live: Live, browser: Browser, prefect: str, api: Api) -> None:
    browser.open(f"{prefect}/runs/flow-run/{training(api)['id']}")
    browser.shows("epoch", "Artifacts")  # the log says what our own code did
    browser.click("(//*[normalize-space(.)='Artifacts'])[last()]")
    browser.shows("train-digits-report", "gates-digits-report", "gates-digits-table")
    browser.click("(//*[normalize-space(.)='gates-digits-report'])[last()]")
    browser.shows("passed floor:accuracy: accuracy", "passed baseline:", "in MLflow")


def test_mlflow_shows_the_verdict_first_and_the_alias(live: Live, browser: Browser) -> None:
    serving = live.resources.store.ledger.generation("digits")
    assert serving is not None
    browser.open(live.resources.models.version_url("digits", serving.version))
    text = browser.shows(f"Version {serving.version}", "@ champion", "threshold", "Limits", "Schema", "Model registry")
    described = text[text.index("Description") :].splitlines()
    assert next(line for line in described[1:] if line not in ("", "Edit")).startswith("PASSED")
    run = live.resources.models.client.get_run(serving.run_id)
    browser.open(run_page(live.settings.mlflow_url, run.info.experiment_id, serving.run_id))
    browser.shows("this run in Prefect", "snapshot", "training.epochs")


def test_the_whole_card_opens_from_the_page_of_its_version(live: Live, browser: Browser) -> None:
    serving = live.resources.store.ledger.generation("digits")
    assert serving is not None
    browser.open(live.resources.models.version_url("digits", serving.version))
    browser.shows("The whole card")
    [link] = browser.run(
        "return [...document.links].filter(one => one.innerText === 'The whole card').map(one => one.href)"
    )
    browser.open(link)
    until(lambda: browser.run("return document.querySelector('iframe')?.sandbox.value") == "allow-scripts")
    browser.call("POST", "frame", {"id": 0})
    try:
        browser.shows(f"version {serving.version}", f"serves as generation {serving.number}", "What it confuses")
        browser.shows(f"holdfast verify digits@{serving.version}")
        assert browser.run("return document.scripts.length") == 0
    finally:
        browser.call("POST", "frame", {"id": None})


def test_the_overview_shows_what_serves_how_it_was_and_what_happened(live: Live, browser: Browser) -> None:
    serving = live.resources.store.ledger.generation("digits")
    (incident,) = live.resources.store.incidents.recent("digits", 1)
    assert serving is not None
    browser.open(live.settings.service_url)
    text = browser.shows(f"generation {serving.number}", f"version {serving.version}", f"incident {incident.id}")
    assert "no champion yet" in text  # electricity
    cells = "[...document.querySelectorAll('svg rect[rx]')].map(one => [one.className.baseVal, one.textContent])"
    told = browser.run(f"return {cells}")
    for verdict in live.resources.store.verdicts.recent("digits", 40):
        assert any(name == verdict.outcome and verdict.reason in title for name, title in told)


def test_a_drift_report_opens_in_a_sandbox(live: Live, browser: Browser) -> None:
    judged = live.resources.store.verdicts.history("digits", 500)
    path = next(one.report["html"] for one in judged if one.report and one.report.get("html"))
    browser.open(f"{live.settings.service_url}/reports/{path}")
    browser.call("POST", "frame", {"id": 0})
    try:
        browser.shows("of generation", "Drift in column", "image.brightness")
        assert browser.run("return self.origin") == "null"  # so that its scripts reach nothing of the service's
        with pytest.raises(AssertionError, match="sandboxed"):
            browser.run("return document.cookie")
    finally:
        browser.call("POST", "frame", {"id": None})


def test_the_documentation_shows_a_request_to_paste(live: Live, browser: Browser) -> None:
    browser.open(f"{live.settings.service_url}/docs")
    browser.shows("/v1/digits/predict")
    browser.click("//summary[contains(., '/v1/digits/predict')]")
    browser.shows(f"curl -s {live.settings.service_url}/v1/digits/predict")


def test_a_project_file_appears_without_a_restart_and_when_broken_disables_only_itself(
    live: Live, browser: Browser, prefect: str, api: Api
) -> None:
    path = live.projects / "modest.py"
    path.write_text(MODEST)
    try:
        shown = until(lambda: api.find("/deployments/name/train/modest"))
        comes_to_show(browser, live.settings.service_url, "ingest/modest and train/modest")
        path.write_text(MODEST.replace('target="y"', 'target="why"'))
        until(lambda: api.call("GET", "/deployments/name/train/modest")["paused"])
        comes_to_show(browser, live.settings.service_url, "Its project file is broken", "modest.py:", "why")
        browser.open(f"{prefect}/deployments/deployment/{shown['id']}")
        browser.shows("Description")
        browser.click("(//*[normalize-space(.)='Description'])[last()]")
        browser.shows("Disabled:", "modest.py:")
        assert not api.call("GET", "/deployments/name/train/digits")["paused"]
    finally:
        path.unlink()


def test_no_page_asked_anybody_else(browser: Browser) -> None:
    assert len(browser.requests()) > 20
    assert browser.strangers() == set()


def until(claim: Callable[[], Any]) -> Any:
    assert wait_until(lambda: bool(claim()), 30)
    return claim()


def comes_to_show(browser: Browser, url: str, *words: str) -> None:
    """Open a page again and again, as a person who waits for it would."""

    def shown() -> bool:
        browser.open(url)
        return all(word in browser.text() for word in words)

    until(shown)
