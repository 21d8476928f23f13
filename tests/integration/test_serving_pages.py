import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
import serving_parts as parts

from data.schema import schema_from_json
from monitoring.effects import Effects, NewDecision, NewIncident
from monitoring.records import Check, Outcome, Verdict, WindowKey
from monitoring.store import Store, open_store
from serving.openapi_schemas import example_of

EVIL = "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def verdict(index: int, check: Check, outcome: Outcome, reason: str) -> Verdict:
    start = NOW + timedelta(hours=index)
    return Verdict(WindowKey("prices", 1, index, start, start + timedelta(hours=1)), check, outcome, 200, reason)


def fill(store: Store) -> None:
    for index in range(6):
        store.record_verdict(verdict(index, "data", "ok", "nothing moved"), Effects(), NOW)
        store.record_verdict(verdict(index, "performance", "ok", "as good as ever"), Effects(), NOW)
    effects = Effects(
        opened=NewIncident("prices", "drift", 1, EVIL, {}),
        decisions=(
            *(NewDecision("prices", "suppress", f"window 1.{index}", "an incident is open") for index in range(3)),
            NewDecision("prices", "alert", None, EVIL),
            NewDecision("prices", "retrain", EVIL, "2 of 3"),
        ),
    )
    store.record_verdict(verdict(6, "data", "drift", EVIL), effects, NOW)
    past, _ = store.incidents.open(NewIncident("prices", "fault", 1, "a dead sensor", {}), NOW)
    store.incidents.close(past.id, "a healthy window came", NOW)
    ask = NewDecision("prices", "ask", "version 2", f"version 2 waits for a person: {EVIL}")
    asked, _ = store.approvals.ask(ask, version="2", champion=None, now=NOW, expires_at=NOW + timedelta(days=3))
    store.approvals.note_run(asked.id, "0123-run", NOW)
    store.verdicts.attach_report(verdict(6, "data", "drift", "").window, "data", {"html": "prices/w6.html"})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("home")
    parts.promote(home, 1, factor=2.0)
    parts.point(home, "fruit", 1, parts.fruit_version(home / "generations" / "fruit" / "1"))
    fill(open_store(f"sqlite:///{home / 'holdfast.db'}"))
    reports = home / "reports" / "prices"
    reports.mkdir(parents=True)
    (reports / "w6.html").write_text("<script>document.title = 'ran'</script>")
    (reports / "w6.pickle").write_text("no report")
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "broken.json").write_text(orjson.dumps({"wobbly": {"where": "w.py:3", "why": EVIL}}).decode())
    (home / "reports-of-others").mkdir()
    (home / "reports-of-others" / "x.html").write_text("secret")
    (reports / "link.html").symlink_to(home / "reports-of-others" / "x.html")
    (reports / "loop.html").symlink_to(reports / "loop.html")
    with parts.serving(home) as service, httpx.Client(base_url=service.url) as one:
        yield one


def test_the_overview_shows_each_project_and_lets_nothing_from_data_run(client: httpx.Client) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    asked = ("version 2 waits for a person", "/runs/flow-run/0123-run", "until 2026-03-04 12:00 UTC")
    shown = ("generation 1", "version 101", "drift incident 1", "2 of 3", "/reports/prices/w6.html", "fruit")
    for words in (*shown, *asked):
        assert words in page.text
    assert "a dead sensor. Closed after 0 seconds: a healthy window came" in page.text
    assert "w.py:3: &lt;/title&gt;" in page.text
    assert page.text.count('<td class="kind">suppress</td>') == 1
    assert "(and 2 more before it)" in page.text
    assert "train/digits" in page.text  # a project without a champion says what to run
    assert page.text.count('<rect class="ok"') == 2 * 6 + 1  # the legend's too
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert "&lt;script&gt;" in page.text


def test_the_documentation_needs_no_other_server_and_its_examples_are_answered(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert "<script" not in page.text
    assert "<link" not in page.text
    assert "/v1/prices/predict" in page.text
    document = client.get("/openapi.json").json()
    for project in ("prices", "fruit"):
        body = document["paths"][f"/v1/{project}/predict"]["post"]["requestBody"]
        row = body["content"]["application/json"]["schema"]["properties"]["rows"]["items"]
        schema = {"prices": parts.PRICES, "fruit": parts.FRUIT}[project]
        assert row["required"] == list(schema.features)
        assert row["additionalProperties"] is False
        example = example_of(body["content"]["application/json"]["schema"])
        assert client.post(f"/v1/{project}/predict", json=example).status_code == 200, example


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../holdfast.db",
        "/reports/%2e%2e/reports-of-others/x.html",
        "/reports/..%2freports-of-others%2fx.html",
        "/reports//etc/passwd",
        "/reports/prices/link.html",
        "/reports/prices/loop.html",
        "/reports/prices/w6.pickle",
        "/reports/prices",
        "/reports/",
        "/reports/prices/w6.html%00",
        "/reports/" + "a" * 5000 + ".html",
    ],
)
def test_nothing_but_reports_is_served_as_one(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_report_runs_in_a_sandbox_that_reaches_nothing_and_needs_no_key(client: httpx.Client) -> None:
    around = client.get("/reports/prices/w6.html")
    assert "'none'; style-src 'sha256-" in around.headers["content-security-policy"]
    [address] = re.findall(r'<iframe sandbox="allow-scripts" [^>]* src="(/sandbox/[^"]+)"', around.text)
    framed = client.get(address)
    assert (framed.status_code, "ran" in framed.text) == (200, True)
    assert framed.headers["content-security-policy"] == (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'"
    )
    assert framed.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in framed.headers
    until, _, rest = address.removeprefix("/sandbox/").partition(".")
    for forged in (f"/sandbox/{int(until) + 1}.{rest}", address.replace("w6", "w7"), "/sandbox/9²9.x/prices/w6.html"):
        assert client.get(forged).status_code == 403


def test_projects_are_listed_with_what_serves_them(client: httpx.Client) -> None:
    listed = {one["project"]: one for one in client.get("/v1/projects").json()}
    assert (listed["prices"]["generation"], listed["prices"]["task"]) == (1, "regression")
    assert schema_from_json(listed["fruit"]["schema"]) == parts.FRUIT
    assert listed["digits"] == {"project": "digits", "ready": False, "problem": "no champion yet"}
    assert client.get("/v1/prices/predictions/never").status_code == 404
    assert client.get("/v1/price/predictions/x").status_code == 404
