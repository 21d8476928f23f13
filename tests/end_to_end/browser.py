"""A real headless Chromium, driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of an element's reference
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--window-size=1400,1000",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what asks for others is seen, and gets nothing
)  # fmt: skip


@dataclass
class Browser:
    """One window; `asked` holds the addresses that its pages have asked for so far."""

    session: httpx.Client
    asked: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self.session.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def open(self, url: str) -> None:
        self.call("POST", "url", {"url": url})

    def reload(self) -> None:
        """Ask for the page anew; opening an address that differs in nothing but what is after # does not."""
        self.call("POST", "refresh", {})

    def run(self, script: str, *arguments: object) -> Any:
        return self.call("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def text(self) -> str:
        """What a person reads on the page, text in frames left out."""
        return str(self.run("return document.body ? document.body.innerText : ''")).replace("\u00a0", " ")

    def shows(self, *words: str, seconds: float = 20) -> str:
        """Wait until the page shows all the words, and return its text."""
        missing = self.wait(lambda: [word for word in words if word not in self.text()], seconds)
        text = self.text()
        assert not missing, f"{self.call('GET', 'url')} does not show {missing}, but: {text[:3000]}"
        return text

    def wait(self, missing: Callable[[], list[str]], seconds: float) -> list[str]:
        """Wait until nothing is missing, and return what still is."""
        end = time.monotonic() + seconds
        while (lacking := missing()) and time.monotonic() < end:
            time.sleep(0.2)
        return lacking

    def find(self, xpath: str) -> str:
        return str(self.call("POST", "element", {"using": "xpath", "value": xpath})[ELEMENT])

    def every(self, xpath: str) -> list[str]:
        return [one[ELEMENT] for one in self.call("POST", "elements", {"using": "xpath", "value": xpath})]

    def press(self, element: str) -> None:
        self.call("POST", f"element/{element}/click", {})

    def click(self, xpath: str) -> None:
        self.press(self.find(xpath))

    def type(self, xpath: str, text: str) -> None:
        self.call("POST", f"element/{self.find(xpath)}/value", {"text": text})

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "screenshot")))

    def requests(self) -> list[str]:
        """Return every address asked for since the window opened, failed requests included."""
        for entry in self.call("POST", "se/log", {"type": "performance"}):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self.asked.append(event["params"]["request"]["url"])
        return self.asked

    def strangers(self) -> set[str]:
        """Return the hosts other than this machine that a page has asked for something."""
        parts = [urlsplit(url) for url in self.requests()]
        own = ("data", "blob", "chrome")
        return {part.netloc for part in parts if part.scheme not in own and part.hostname != "127.0.0.1"}


@contextmanager
def browsing() -> Iterator[Browser]:
    """Lend a window with a profile of its own."""
    assert CHROMIUM is not None
    assert DRIVER is not None
    with tempfile.TemporaryDirectory(prefix="holdfast-browser-", ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "driver.log"
        with log.open("wb") as to:
            driver = subprocess.Popen([DRIVER, "--port=0"], stdout=to, stderr=to)
        try:
            address = f"http://127.0.0.1:{port_of(log)}/session"
            options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}/user"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
            with httpx.Client(timeout=60, trust_env=False) as opening:
                made = opening.post(address, json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
            assert "sessionId" in made, made
            window = f"{address}/{made['sessionId']}"
            with httpx.Client(base_url=window, timeout=60, trust_env=False) as session:
                try:
                    yield Browser(session)
                finally:
                    session.delete(window)  # which ends Chromium
        finally:
            driver.terminate()
            driver.wait(10)


def port_of(log: Path) -> int:
    """Wait until the driver has said on which free port it listens."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if "started successfully on port" in line:
                return int(line.rpartition(" ")[2].rstrip("."))
        time.sleep(0.1)
    raise AssertionError(log.read_text())
