import logging
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from data.errors import ServerUnavailable
from monitoring.store.clients import ApiClient, hashed
from serving import keys
from serving.keys import Client, Keys
from serving.refusals import Refused

NOW = datetime(2026, 11, 1, tzinfo=UTC)
KEY = "hf_" + "k" * 43


def row(id_: int = 1, secret: str = KEY, **changes: Any) -> ApiClient:
    fields: dict[str, Any] = {
        "name": f"c{id_}",
        "secret_sha256": hashed(secret),
        "scopes": ("predict",),
        "projects": (),
        "rows_per_second": 5,
        "created_at": NOW,
        "created_by": "ada",
    }
    return ApiClient(id_, **{**fields, **changes})


class Table:
    def __init__(self, *rows: ApiClient) -> None:
        self.rows: list[ApiClient] | Exception = list(rows)

    def __call__(self) -> list[ApiClient]:
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def watching(table: Table, *, keyless: bool = False) -> Keys:
    made = Keys(table, keyless=keyless)
    made.look()
    return made


def basic(text: str) -> bytes:
    return b"Basic " + b64encode(text.encode())


def status(watched: Keys, **headers: bytes) -> int:
    try:
        watched.client([(name.replace("_", "-").encode(), value) for name, value in headers.items()])
    except Refused as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": b"Bearer " + KEY.encode()}, 200),
        ({"authorization": b"bearer  " + KEY.encode() + b" "}, 200),
        ({"x_api_key": KEY.encode()}, 200),
        ({"authorization": basic(f"any:{KEY}")}, 200),
        ({"authorization": basic(f":{KEY}")}, 200),
        ({"x_api_key": KEY.encode(), "authorization": b"Bearer no"}, 200),
        ({}, 401),
        ({"authorization": b""}, 401),
        ({"authorization": b"Bearer"}, 401),
        ({"authorization": b"Bearer " + KEY[:-1].encode()}, 401),
        ({"authorization": KEY.encode()}, 401),
        ({"authorization": basic(KEY)}, 401),
        ({"authorization": basic(f"{KEY}:")}, 401),
        ({"authorization": b"Basic \xff\xfe"}, 401),
        ({"authorization": b"Basic =="}, 401),
        ({"authorization": b"Digest " + KEY.encode()}, 401),
        ({"x_api_key": hashed(KEY).encode()}, 401),
        ({"x_api_key": b"\xff" * 5000}, 401),
        ({"host": b"127.0.0.1"}, 401),
    ],
)
def test_a_key_is_known_in_three_headers_and_nothing_else_is_one(headers: dict[str, bytes], expected: int) -> None:
    assert status(watching(Table(row())), **headers) == expected


def test_scopes_and_projects_bound_what_a_client_may_do() -> None:
    client = Client("till", ["predict"], ["digits"])
    client.allow("predict", "digits")
    for scope, project in (("label", "digits"), ("predict", "prices"), ("read", "")):
        with pytest.raises(Refused) as refusal:
            client.allow(scope, project)
        assert refusal.value.status == 403
    admin = Client("root", ["admin"])
    for scope in ("predict", "label", "read", "admin"):
        admin.allow(scope, "any")
    with pytest.raises(Refused):
        Client("reader", ["read"]).allow("predict", "digits")


def test_a_revoked_key_ends_with_the_next_look_and_the_others_keep_what_they_have_used_up() -> None:
    table = Table(row(1), row(2, "other"))
    watched = watching(table)
    kept = watched.client([(b"x-api-key", KEY.encode())])
    assert kept.rows is not None
    kept.rows.take(5)
    table.rows = [row(1), row(2, "other", revoked_at=NOW)]
    watched.look()
    assert status(watched, x_api_key=b"other") == 401
    assert watched.client([(b"x-api-key", KEY.encode())]) is kept


@pytest.mark.parametrize(
    "host", [None, b"127.0.0.1", b"127.0.0.1:8000", b"localhost:9000", b"LOCALHOST", b"[::1]:8000", b"127.8.8.8"]
)
def test_without_any_key_this_machine_may_ask(host: bytes | None) -> None:
    watched = watching(Table(), keyless=True)
    assert status(watched, **({} if host is None else {"host": host})) == 200


@pytest.mark.parametrize(
    "host", [b"evil.example", b"127.0.0.1.evil.example", b"10.0.0.5:8000", b"localhost.evil:80", b"[2001:db8::1]", b""]
)
def test_a_page_elsewhere_whose_name_leads_here_is_not_let_in(host: bytes) -> None:
    assert status(watching(Table(), keyless=True), host=host) == 401


def test_a_home_that_has_had_a_key_never_opens_again() -> None:
    table = Table()
    watched = watching(table, keyless=True)
    assert status(watched) == 200
    table.rows = [row()]
    watched.look()
    assert status(watched) == 401
    table.rows = [row(revoked_at=NOW)]
    watched.look()
    assert status(watched) == 401
    assert status(watching(table, keyless=True)) == 401


def test_without_keys_and_not_embedded_nobody_may_ask_and_the_refusal_says_what_to_run() -> None:
    with pytest.raises(Refused, match="holdfast keys add NAME --scope predict") as refusal:
        watching(Table()).client([(b"host", b"127.0.0.1")])
    assert refusal.value.status == 401
    assert [value.partition(" ")[0] for _, value in refusal.value.headers()] == ["Basic", "Bearer"]


@pytest.mark.parametrize("failure", [ServerUnavailable("the store does not answer"), ValueError("a broken file")])
def test_while_the_store_is_away_known_keys_go_on_and_unknown_ones_are_not_called_wrong(failure: Exception) -> None:
    table = Table(row())
    watched = watching(table)
    table.rows = failure
    watched.look()
    assert status(watched, x_api_key=KEY.encode()) == 200
    assert status(watched, x_api_key=b"made since") == 503
    assert status(watched) == 401
    assert status(watching(table, keyless=True), x_api_key=KEY.encode()) == 503


def test_a_key_that_cant_be_read_lets_nobody_in_and_keeps_no_other_from_being_revoked() -> None:
    table = Table(row(1), row(2, "other"))
    watched = watching(table)
    table.rows = [row(1, revoked_at=NOW), row(2, "other"), row(3, secret_sha256="no hash")]
    watched.look()
    assert status(watched, x_api_key=KEY.encode()) == 401
    assert status(watched, x_api_key=b"other") == 200
    assert watched.problem == ""


def test_a_row_that_is_no_client_ends_no_watch() -> None:
    table = Table(row())
    watched = watching(table)
    table.rows = [row(), row(2, scopes=None)]
    watched.look()
    assert status(watched, x_api_key=KEY.encode()) == 200
    assert "TypeError" in watched.problem


def test_a_watch_that_hangs_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watching(Table(row()))
    monkeypatch.setattr(watched, "looked_at", watched.looked_at - keys.BLIND_SECONDS)
    assert status(watched, x_api_key=KEY.encode()) == 503


def test_that_anybody_may_ask_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    for table, keyless, said in (
        (Table(), True, "anybody on this machine may ask"),
        (Table(), False, "nobody may ask"),
        (Table(row()), True, ""),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            watched = Keys(table, keyless=keyless)
            watched.start()
            watched.stop()
        assert said in caplog.text
        assert bool(said) == bool(caplog.text)
