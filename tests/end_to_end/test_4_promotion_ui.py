"""A person promotes by clicking through MLflow's own pages, as nobody but a person at a browser would."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from browser import CHROMIUM, DRIVER, Browser, browsing
from live_stack import Live
from loop_parts import judgement

from holdfast import demo
from models.judging import Outcome
from models.predictor import manifest_sha256
from models.registry import MODEL
from tasks import registration
from tasks.traffic import wait_until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium with chromedriver is installed"),
]
ENTER = "\ue007"
ALIASES = "//*[@title='Edit aliases' or @aria-label='Edit aliases'] | //*[text()='Aliases']/following::button[1]"
SECONDS = 30  # in which it is answered: 10 are promised, and the machine is busy


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as one:
        yield one


@pytest.fixture(scope="module")
def champion(live: Live) -> None:
    """Something serves; alone, without the tests before, it has to be trained first."""
    if live.resources.store.ledger.generation("digits") is None:
        demo.run_flow(live.settings, "ingest")
        demo.run_flow(live.settings, "train")


def challenger(live: Live, verdict: Outcome) -> str:
    """Register the champion's files as a new version, judged against the champion; return its number."""
    resources = live.resources
    project, serving = resources.project("digits"), resources.store.ledger.generation("digits")
    assert serving is not None
    snapshot = resources.models.read_artifact(serving.run_id, "snapshot.json")
    with (
        TemporaryDirectory() as folder,
        resources.models.start_run("digits", name=f"clicked-{verdict}", tags={"clicked": verdict}) as run,
    ):
        run.text("snapshot.json", snapshot)
        model = resources.models.download("digits", serving.version, Path(folder) / MODEL)
        version, manifest = resources.models.register("digits", run.id, model, card="# digits"), manifest_sha256(model)
    origin = registration.made(resources, "digits", serving.version).inputs
    registration.tell_origin(resources, "digits", version, origin["facts"], origin["parameters"], card="", token=None)
    registration.tell_verdict(
        resources, project, version, judgement(verdict), manifest=manifest, champion=serving.version
    )
    return version


def give_champion(browser: Browser, live: Live, version: str, picture: Path) -> None:
    """Open the version's page, type the alias where MLflow asks for it, and save."""
    browser.open(live.resources.models.version_url("digits", version))
    browser.shows(f"Version {version}", "Aliases", "Description")
    for panel in browser.every("//button[@data-component-id='mlflow.assistant.chat_panel.close']"):
        browser.press(panel)  # it takes a quarter of the picture
    browser.click(ALIASES)
    browser.shows("Add/Edit alias")
    browser.type("//*[@role='dialog']//input[@role='combobox']", f"champion{ENTER}")
    browser.shows("Save aliases")
    browser.picture(picture)
    browser.click("//*[@role='dialog']//button[normalize-space(.)='Save aliases']")


def test_an_alias_given_by_clicking_makes_its_version_serve(
    live: Live, browser: Browser, champion: None, pictures: Path
) -> None:
    models, before = live.resources.models, live.resources.store.ledger.generation("digits")
    assert before is not None
    version = challenger(live, "passed")
    give_champion(browser, live, version, pictures / "promotion.png")
    since = time.monotonic()
    assert wait_until(lambda: demo.serves(live.settings, before.number + 1), SECONDS)
    live.story.say(f"version {version} serves {time.monotonic() - since:.1f} s after the click")
    serving = live.resources.store.ledger.generation("digits")
    assert serving is not None
    assert (serving.number, serving.version) == (before.number + 1, version)
    assert serving.actor == "unauthenticated (MLflow UI)"
    assert wait_until(lambda: models.version("digits", version).stage == "champion", SECONDS)
    browser.reload()
    shown = browser.shows(f"Version {version}", "@ champion", "generation")
    assert re.search(r"^stage\s+champion$", shown, re.MULTILINE), shown
    browser.picture(pictures / "promoted.png")


def test_an_alias_that_its_version_may_not_have_goes_back_and_the_page_says_why(
    live: Live, browser: Browser, champion: None, pictures: Path
) -> None:
    models, before = live.resources.models, live.resources.store.ledger.generation("digits")
    assert before is not None
    version = challenger(live, "refused")
    give_champion(browser, live, version, pictures / "request.png")
    since = time.monotonic()
    assert wait_until(lambda: models.version("digits", version).description.startswith("REFUSED: "), SECONDS)
    live.story.say(f"version {version} is refused {time.monotonic() - since:.1f} s after the click")
    assert wait_until(lambda: models.alias("digits", "champion") == before.version, SECONDS)
    assert live.resources.store.ledger.generation("digits") == before
    browser.reload()
    text = browser.shows(f"Version {version}", "REFUSED: ", f"holdfast promote digits {version} --waive")
    assert "@ champion" not in text
    browser.picture(pictures / "refused.png")
    assert browser.strangers() == set()
