from datetime import UTC, datetime

import pytest

from monitoring.store.clients import ApiClient, hashed
from serving.keys import Keys
from serving.refusals import Refused
from serving.sessions import MOST, OF_ONE, PAUSE, SECONDS, TRIES, Attempts, Sessions

KEY = "hf_" + "k" * 43


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rows() -> list[ApiClient]:
    return [ApiClient(1, "ada", hashed(KEY), ("admin",), (), None, datetime(2026, 1, 1, tzinfo=UTC), "root")]


@pytest.fixture
def sessions(rows: list[ApiClient], clock: Clock) -> Sessions:
    keys = Keys(lambda: rows, keyless=False)
    keys.look()
    return Sessions(keys, 8000, clock)


def brought(sessions: Sessions, cookie: str) -> dict[bytes, bytes]:
    return {b"cookie": f"other=1; {sessions.name}={cookie}".encode()}


def test_a_session_is_its_keys_until_it_ends_is_closed_or_the_key_is_revoked(
    sessions: Sessions, rows: list[ApiClient], clock: Clock
) -> None:
    first, second, third = (sessions.open(KEY) for _ in range(3))
    assert [sessions.client(one).name for one in (first, second, third)] == ["ada"] * 3
    sessions.close(first)
    assert sessions.client(first) is None
    clock.now += SECONDS - 1
    assert sessions.client(second) is not None
    clock.now += 1
    assert sessions.client(second) is None
    fresh = sessions.open(KEY)
    rows.clear()
    sessions.keys.look()
    assert sessions.client(fresh) is None
    with pytest.raises(Refused, match="unknown or revoked"):
        sessions.open(KEY)


def client(number: int, secret: str) -> ApiClient:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return ApiClient(number, f"client-{number}", hashed(secret), ("predict",), (), None, made, "root")


def test_only_so_many_sessions_are_held(sessions: Sessions, rows: list[ApiClient]) -> None:
    others = [f"hf_{number:043}" for number in range(2, 3 + MOST // OF_ONE)]
    rows += [client(number, secret) for number, secret in enumerate(others, 2)]
    sessions.keys.look()
    oldest = sessions.open(KEY)
    newest = [sessions.open(secret) for secret in others for _ in range(OF_ONE)][-1]
    assert len(sessions.held) == MOST
    assert (sessions.client(oldest), sessions.client(newest) is None) == (None, False)


def test_who_logs_in_again_and_again_ends_no_session_but_their_own(sessions: Sessions, rows: list[ApiClient]) -> None:
    rows.append(client(2, other := "hf_" + "o" * 43))
    sessions.keys.look()
    mine, first = sessions.open(KEY), sessions.open(other)
    for _ in range(MOST):
        sessions.open(other)
    assert sessions.client(mine) is not None
    assert sessions.client(first) is None


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_cookies_the_one_for_https_counts(sessions: Sessions, order: int) -> None:
    both = [f"{sessions.name}={'a' * 43}", f"__Host-{sessions.name}={'b' * 43}"]
    assert sessions.cookie({b"cookie": "; ".join(both[::order]).encode()}) == "b" * 43


@pytest.mark.parametrize("cookie", ["", "short", "x" * 44, "ä" * 43, "x" * 42 + ";", "hf_'" + "x" * 39])
def test_a_cookie_that_is_none_of_ours_is_none(sessions: Sessions, cookie: str) -> None:
    assert sessions.cookie(brought(sessions, cookie)) == ""
    assert sessions.client(cookie) is None


def test_a_form_is_taken_from_the_browser_that_got_it_and_from_our_pages_only(sessions: Sessions) -> None:
    mine, other = sessions.open(KEY), sessions.open(KEY)
    headers = brought(sessions, mine)
    assert sessions.cookie(headers) == mine
    sessions.check(headers, sessions.token(mine))
    sessions.check({**headers, b"sec-fetch-site": b"same-origin"}, sessions.token(mine))
    wrong = [
        (headers, ""),
        (headers, "ä"),
        (headers, sessions.token(other)),
        ({}, sessions.token("")),
        ({**headers, b"sec-fetch-site": b"cross-site"}, sessions.token(mine)),
        ({**headers, b"sec-fetch-site": b"same-site"}, sessions.token(mine)),
    ]
    for sent, token in wrong:
        with pytest.raises(Refused, match="not sent from a page of ours"):
            sessions.check(sent, token)


def test_a_cookie_is_for_no_script_and_for_no_other_site(sessions: Sessions) -> None:
    plain, safe = (sessions.header("c" * 43, secure=secure) for secure in (False, True))
    assert plain == f"holdfast-8000={'c' * 43}; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax"
    assert safe.startswith("__Host-holdfast-8000=")
    assert safe.endswith("; Secure")
    assert "Max-Age=0" in sessions.header("", secure=False)


def test_wrong_keys_from_an_address_are_few_and_then_slow_and_others_go_on(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(TRIES):
        attempts.admit("192.0.2.1")
        attempts.failed("192.0.2.1")
    with pytest.raises(Refused) as refusal:
        attempts.admit("192.0.2.1")
    assert (refusal.value.status, refusal.value.retry_after) == (429, int(PAUSE))
    attempts.admit("192.0.2.2")
    clock.now += refusal.value.retry_after
    attempts.admit("192.0.2.1")
    attempts.failed("192.0.2.1")
    with pytest.raises(Refused):
        attempts.admit("192.0.2.1")
    clock.now += TRIES * PAUSE
    for _ in range(TRIES):
        attempts.admit("192.0.2.1")
        attempts.failed("192.0.2.1")


def test_the_addresses_of_one_network_share_their_tries(clock: Clock) -> None:
    attempts = Attempts(clock)
    for host in range(TRIES):
        attempts.failed(f"2001:db8::{host:x}")
    with pytest.raises(Refused):
        attempts.admit("2001:db8::ffff")
    attempts.admit("2001:db8:0:1::1")


def test_addresses_that_one_socket_for_both_kinds_tells_have_tries_of_their_own(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(TRIES):
        attempts.failed("::ffff:192.0.2.1")
    for known in ("::ffff:192.0.2.1", "192.0.2.1"):
        with pytest.raises(Refused):
            attempts.admit(known)
    attempts.admit("::ffff:192.0.2.2")
