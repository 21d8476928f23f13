import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pages_parts
import pytest
import serving_parts as parts

from monitoring.store import Store, open_store

BROWSER = {"accept": "text/html,application/xhtml+xml"}


class Town:
    """A service with a history and keys, and one incident that is open."""

    def __init__(self, service: parts.Service, opened: int, store: Store, keys: dict[str, str]) -> None:
        self.service, self.opened, self.store, self.keys = service, opened, store, keys
        self.page = f"/incidents/{opened}"

    def browser(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.service.url, headers={**BROWSER, **headers}, timeout=30)

    def lines(self, kind: str) -> list[str]:
        return [one.inputs["actor"] for one in self.store.ledger.decisions("prices", kinds=(kind,))]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    home, projects = tmp_path_factory.mktemp("town"), tmp_path_factory.mktemp("projects")
    (projects / "prices.py").write_text(pages_parts.PROJECT)
    with pages_parts.told(home, HOLDFAST_PROJECTS=str(projects)) as (service, opened):
        store = open_store(service.store_url)
        made = {
            name: store.clients.add(name, [scope], datetime.now(UTC), "root")[1]
            for name, scope in (("ada", "admin"), ("rita", "read"), ("leaver", "admin"), ("pia", "predict"))
        }
        until = time.monotonic() + 3
        while httpx.get(f"{service.url}/v1/projects").status_code != 401:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Town(service, opened, store, made)
        store.close()


def token_in(page: httpx.Response) -> str:
    return re.findall(r'name="token" value="(\w+)"', page.text)[-1]


def login(client: httpx.Client, key: str, onward: str = "/") -> httpx.Response:
    form = client.get("/login", params={"next": onward})
    return client.post("/login", data={"token": token_in(form), "key": key, "next": onward})


def test_a_person_without_a_key_is_led_to_the_login_and_back_and_out(town: Town) -> None:
    with town.browser() as client:
        turned = client.get(town.page)
        assert (turned.status_code, turned.headers["location"]) == (303, f"/login?next={town.page}")
        assert "www-authenticate" not in turned.headers  # no window of the browser's own
        entered = login(client, town.keys["ada"], town.page)
        assert (entered.status_code, entered.headers["location"]) == (303, town.page)
        cookie = entered.headers["set-cookie"]
        assert re.fullmatch(r"holdfast-\d+=[\w-]{43}; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax", cookie)
        shown = client.get(town.page)
        assert (shown.status_code, "Log out ada" in shown.text) == (200, True)
        assert client.get("/login").headers["location"] == "/"
        assert client.post("/logout", data={"token": "wrong"}).status_code == 403
        assert client.get("/").status_code == 200
        kept = dict(client.cookies)
        assert client.post("/logout", data={"token": token_in(shown)}).headers["location"] == "/login"
        client.cookies.update(kept)  # a copy of the cookie is worth nothing then
        assert client.get("/").headers["location"] == "/login"


def test_a_program_without_a_key_is_told_so(town: Town) -> None:
    refused = httpx.get(town.service.url)
    assert (refused.status_code, refused.json()["where"]) == (401, "authorization")


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", '/"><script>', "\n"]
)
def test_after_the_login_no_other_site_follows(town: Town, onward: str) -> None:
    with town.browser() as client:
        shown = client.get("/login", params={"next": onward})
        assert 'name="next" value="/"' in shown.text
        assert login(client, town.keys["rita"], onward).headers["location"] == "/"


def test_wrong_keys_are_refused_and_after_some_no_more_are_looked_at(town: Town) -> None:
    with town.browser(**{"x-forwarded-for": "192.0.2.7"}) as client:  # as a proxy on this machine tells it
        answers = [login(client, "hf_" + "x" * 43) for _ in range(11)]
        assert [one.status_code for one in answers] == [401] * 10 + [429]
        assert "unknown or revoked" in answers[0].text
        assert "www-authenticate" not in answers[0].headers
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 6
        assert login(client, town.keys["ada"]).status_code == 429
    with town.browser() as client:
        assert login(client, town.keys["ada"]).status_code == 303


def test_over_https_the_cookie_is_for_https_only(town: Town) -> None:
    with town.browser(**{"x-forwarded-proto": "https"}) as client:
        form = client.get("/login")
        given = form.headers["set-cookie"]
        assert given.startswith("__Host-holdfast-")
        assert given.endswith("; Secure")


@pytest.mark.parametrize("deed", ["acknowledge", "snooze", "retrain", "accept", "fault"])
def test_nobody_acts_without_a_session_a_scope_and_a_form_of_ours(town: Town, deed: str) -> None:
    before = town.store.incidents.get(town.opened)
    fields = {"days": "1", "reason": "because"}
    path = f"{town.page}/{deed}"
    with town.browser() as nobody:
        assert nobody.post(path, data=fields).headers["location"] == f"/login?next={town.page}"
    with town.browser(**{"x-api-key": town.keys["ada"]}) as program:
        shown = program.get(town.page)
        assert "Log in" in shown.text
        assert f'action="{path}"' not in shown.text
        assert program.post(path, data=fields).status_code == 403
        stranger = {**fields, "token": token_in(program.get("/login"))}
        assert program.post(path, data=stranger).status_code == 403
        bearer = httpx.post(town.service.url + path, data=fields, auth=("me", town.keys["ada"]))
        assert bearer.status_code == 403
    with town.browser() as reader:
        login(reader, town.keys["rita"])
        shown = reader.get(town.page)
        assert "needs the scope admin" in shown.text
        assert reader.post(path, data={**fields, "token": token_in(shown)}).status_code == 403
    with town.browser() as ada, town.browser() as other:
        for client in (ada, other):
            login(client, town.keys["ada"])
        mine, theirs = (token_in(client.get(town.page)) for client in (ada, other))
        assert ada.post(path, data=fields).status_code == 403
        assert ada.post(path, data={**fields, "token": theirs}).status_code == 403
        elsewhere = {"sec-fetch-site": "cross-site", "origin": "null"}
        assert ada.post(path, data={**fields, "token": mine}, headers=elsewhere).status_code == 403
        assert ada.post(path, json={**fields, "token": mine}).status_code == 415
        assert ada.get(path).status_code == 405
        assert ada.post(f"{town.page}/explode", data={"token": mine}).status_code == 404
    assert town.store.incidents.get(town.opened) == before


def test_a_key_without_the_scope_read_sees_no_page_and_gives_way_to_another(town: Town) -> None:
    with town.browser() as client:
        assert login(client, town.keys["pia"]).status_code == 303
        refused = client.get("/")
        assert (refused.status_code, "has no scope &#x27;read&#x27;" in refused.text) == (403, True)
        assert '<a href="/login">Log in with another key</a>' in refused.text
        assert login(client, town.keys["rita"]).status_code == 303
        assert client.get("/").status_code == 200


def test_a_session_ends_with_its_key(town: Town) -> None:
    with town.browser() as client:
        login(client, town.keys["leaver"])
        assert client.get("/").status_code == 200
        town.store.clients.revoke("leaver", datetime.now(UTC), "root")
        until = time.monotonic() + 3
        while client.get("/").status_code == 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert client.get("/").headers["location"] == "/login"


def test_a_sessions_cookie_opens_no_route_for_programs(town: Town) -> None:
    with town.browser() as client:
        login(client, town.keys["ada"])
        assert client.get("/v1/projects").status_code == 401
        assert client.post("/v1/prices/predict", json={"rows": [{"size": 1.0, "note": "a"}]}).status_code == 401


def test_what_is_refused_is_said_on_the_page_and_changes_nothing(town: Town) -> None:
    with town.browser() as client:
        login(client, town.keys["ada"])
        sent = {"token": token_in(client.get(town.page))}
        for deed, fields, status, why in (
            ("accept", {"reason": "  "}, 422, "a reason is needed"),
            ("fault", {"reason": "x" * 501}, 422, "a reason is needed"),
            ("snooze", {"days": "9999"}, 422, "1, 7 days"),
        ):
            refused = client.post(f"{town.page}/{deed}", data={**sent, **fields})
            assert (refused.status_code, why in refused.text) == (status, True)
            assert "Nothing was done" in refused.text
        assert client.post("/incidents/4711/acknowledge", data=sent).status_code == 404
        assert client.get("/incidents/4711").status_code == 404
        assert client.get("/incidents/²").status_code == 404
    assert town.lines("accept") == town.lines("declare-fault") == town.lines("snooze") == []


def test_an_action_clicked_twice_at_once_is_done_once_in_the_name_of_the_key(town: Town) -> None:
    with town.browser() as client:
        login(client, town.keys["ada"])
        token = token_in(client.get(town.page))

        def click(deed: str, **fields: str) -> list[int]:
            def once(_: int) -> int:
                return client.post(f"{town.page}/{deed}", data={"token": token, **fields}).status_code

            with ThreadPoolExecutor(4) as many:
                return list(many.map(once, range(4)))

        assert click("snooze", days="1") == [303] * 4
        found = town.store.incidents.get(town.opened)
        assert found is not None
        assert found.snoozed_by == "ada"
        assert timedelta(hours=23) < found.snoozed_until - datetime.now(UTC) < timedelta(hours=25)
        retrained = client.post(f"{town.page}/retrain", data={"token": token})
        assert retrained.status_code == 303, retrained.text.partition("<main>")[2]
        [intent] = town.store.intents.of(town.opened)
        assert (intent.actor, intent.ended_at) == ("ada", None)
        assert click("acknowledge") == [303] * 4
        assert town.lines("acknowledge") == ["ada"]
        assert click("accept", reason="the  town has grown") == [303] * 4
        [asked] = town.store.acceptances.open_ones()
        assert (asked.actor, asked.reason) == ("ada", "the town has grown")
        assert click("fault", reason="the scale is broken") == [303] * 4
        assert town.lines("declare-fault") == ["ada"]
        lured = client.get(f"{town.page}?did=retrain", headers={"sec-fetch-site": "cross-site"}).text
        assert "A retraining is asked for." not in lured
        shown = client.get(f"{town.page}?did=fault").text
        for words in ("It is declared a fault.", "acknowledged by ada", "the scale is broken", "snoozed by ada"):
            assert words in shown
        assert f'action="{town.page}/accept"' not in shown  # a broken sensor is not harmless


def test_on_a_machine_without_keys_the_forms_need_their_token_all_the_same(tmp_path: Path) -> None:
    with pages_parts.told(tmp_path) as (service, opened), httpx.Client(base_url=service.url, headers=BROWSER) as client:
        page, store = f"/incidents/{opened}", open_store(service.store_url)
        assert client.post(f"{page}/acknowledge").status_code in (403, 415)
        assert client.post(f"{page}/acknowledge", data={"token": "x"}).status_code == 403
        elsewhere = {"host": "evil.example"}
        assert client.get(page, headers=elsewhere).status_code == 401
        shown = client.get(page)
        assert "Log out" not in shown.text
        assert client.post(f"{page}/acknowledge", data={"token": token_in(shown)}).status_code == 303
        found = store.incidents.get(opened)
        store.close()
        assert found is not None
        assert found.acknowledged_by == "local"
