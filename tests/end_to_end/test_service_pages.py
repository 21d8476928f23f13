import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pages_parts
import pytest
import serving_parts as parts
from browser import CHROMIUM, DRIVER, Browser, browsing

from monitoring.store import Store, open_store

pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium with chromedriver is installed")

WIDTHS = {"desktop": 1280, "phone": 390}
CLIPPED = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('main *')].filter(one => !one.closest('svg, .wide, iframe'))
  .filter(one => one.getBoundingClientRect().right > wide + 0.5).map(one => one.outerHTML.slice(0, 120));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as one:
        yield one


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[parts.Service, int, Store, str]]:
    home = tmp_path_factory.mktemp("town")
    opened = pages_parts.history(home, pages_parts.Words())
    store = open_store(f"sqlite:///{home / 'holdfast.db'}")
    _, key = store.clients.add("ada", ["admin"], datetime.now(UTC), "root")
    with parts.serving(home) as service:
        yield service, opened, store, key
    store.close()


def seen_as(browser: Browser, scheme: str, width: int, height: int = 900) -> None:
    """Look as a person does whose machine is dark or light, and whose screen is so wide."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    for command, params in (("setEmulatedMedia", {"features": features}), ("setDeviceMetricsOverride", screen)):
        browser.call("POST", "goog/cdp/execute", {"cmd": f"Emulation.{command}", "params": params})


def press(browser: Browser, word: str, *then: str) -> str:
    browser.click(f"//main//button[normalize-space(.)='{word}']")
    return browser.shows(*then)


def test_a_person_logs_in_and_sees_an_incident_through(
    town: tuple[parts.Service, int, Store, str], browser: Browser
) -> None:
    service, opened, store, key = town
    seen_as(browser, "light", WIDTHS["desktop"])
    browser.open(f"{service.url}/incidents/{opened}")
    assert browser.run("return location.pathname") == "/login"
    browser.type("//input[@type='password']", "hf_wrong")
    press(browser, "Log in", "Not this time", "unknown or revoked")
    browser.type("//input[@type='password']", key)
    text = press(browser, "Log in", "Drift in prices", "How sure", "So what", "What was done", "size")
    assert browser.run("return [location.pathname, document.cookie]") == [f"/incidents/{opened}", ""]
    assert re.search(r"Which columns matter.*size\s+1.7\s+0.12\s+0.04\s+1", text, re.DOTALL)
    browser.click("//summary[.='Show it here']")
    browser.call("POST", "frame", {"id": 0})
    browser.shows("the report's own script ran")
    assert browser.run("return self.origin") == "null"
    browser.call("POST", "frame", {"id": None})
    press(browser, "Snooze 7 days", "It is snoozed", "snoozed by ada until")
    browser.run("const one = document.querySelector('form[action$=acknowledge] button'); one.click(); one.click()")
    browser.shows("acknowledged by ada")
    press(browser, "Accept")  # without a reason the browser itself asks for one
    browser.type("//input[@id='reason-accept']", "the town has grown")
    press(browser, "Accept", "It is being accepted")
    browser.type("//input[@id='reason-fault']", "no: the scale is broken")
    text = press(browser, "Fault", "It is declared a fault", "declared a fault by ada: no: the scale is broken")
    assert "Accept" not in text
    assert [one.actor for one in store.acceptances.open_ones()] == ["ada"]
    assert len(store.ledger.decisions("prices", kinds=("acknowledge",))) == 1
    browser.open(service.url)
    browser.shows("1 incident is open", "acknowledged by ada", "Budget: 1 false incident a quarter")
    browser.click("//button[.='Log out ada']")
    browser.shows("API key")
    browser.open(service.url)
    assert browser.run("return location.pathname") == "/login"


def test_a_link_on_another_site_leads_a_person_who_has_logged_in_to_the_page_and_may_send_no_form(
    town: tuple[parts.Service, int, Store, str], browser: Browser
) -> None:
    service, opened, store, key = town
    page, mailbox = f"{service.url}/incidents/{opened}", "data:text/html,"  # of an origin that is nobody's
    seen_as(browser, "light", WIDTHS["desktop"])
    browser.open(page)
    if browser.run("return location.pathname") == "/login":
        browser.type("//input[@type='password']", key)
        press(browser, "Log in", "Log out ada")
    browser.open(f"{mailbox}<a href='{page}'>DRIFT prices</a>")
    browser.click("//a")
    browser.shows("Drift in prices", "Log out ada")
    before = store.incidents.get(opened)
    browser.open(f"{mailbox}<form method='post' action='{page}/snooze'><input name='days' value='1'><button>win</form>")
    browser.click("//button")
    browser.wait(lambda: [] if browser.run("return location.protocol") == "http:" else ["an answer"], 20)
    assert store.incidents.get(opened) == before
    browser.open(page)
    browser.shows("Log out ada")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", WIDTHS)
def test_each_page_fits_its_screen(
    town: tuple[parts.Service, int, Store, str], browser: Browser, tmp_path: Path, scheme: str, screen: str
) -> None:
    service, opened, _, key = town
    seen_as(browser, scheme, WIDTHS[screen])
    browser.open(f"{service.url}/login")
    grounds = {browser.run("return getComputedStyle(document.body).backgroundColor")}
    browser.picture(tmp_path / "login.png")
    if browser.run("return location.pathname") == "/login":
        browser.type("//input[@type='password']", key)
        press(browser, "Log in", "prices")
    for page in ("/", "/incidents", f"/incidents/{opened}", "/projects/prices", "/reports/prices/2/57.html", "/docs"):
        browser.open(service.url + page)
        across = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert across[0] <= across[1] == WIDTHS[screen], (page, across)
        assert browser.run(CLIPPED) == [], page
        grounds.add(browser.run("return getComputedStyle(document.body).backgroundColor"))
        browser.picture(tmp_path / f"{page.strip('/').replace('/', '-') or 'overview'}.png")
    assert grounds == {"rgb(247, 246, 243)" if scheme == "light" else "rgb(21, 24, 27)"}


def test_every_control_has_a_name_and_comes_to_the_keyboard(
    town: tuple[parts.Service, int, Store, str], browser: Browser
) -> None:
    service, opened, _, _ = town
    seen_as(browser, "light", WIDTHS["desktop"])
    for page in ("/login", f"/incidents/{opened}"):
        browser.open(service.url + page)
        nameless = "one => !(one.labels?.length || one.textContent.trim() || one.title)"
        controls = "[...document.querySelectorAll('a, button, iframe, input:not([type=hidden])')]"
        assert browser.run(f"return {controls}.filter({nameless}).map(one => one.outerHTML)") == []
        assert browser.run(f"return {controls}.filter(one => one.tabIndex < 0).length") == 0
        named = "one => one.getAttribute('aria-label') || one.getAttribute('aria-hidden') || one.closest('[role=img]')"
        assert browser.run(f"return [...document.querySelectorAll('svg')].filter(one => !({named})(one)).length") == 0
