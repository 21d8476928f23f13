import copy
import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import psutil
import pyarrow as pa
import pytest
import serving_parts as parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_parts import KINDS, new_database

BODIES: dict[str, Any] = {
    "/v1/prices/predict": {"rows": [{"size": 3.0, "note": "a", "id": "x", "time": "2026-01-31T12:30:00+01:00"}]},
    "/v1/fruit/predict": {"rows": [{"weight": 1.0}, {"weight": -1, "id": "w"}]},
    "/v1/fruit/labels": {"labels": [{"id": "x", "label": "pear", "time": "2026-01-31T12:30:00Z"}]},
}
NASTY: list[Any] = [
    *(None, True, False, 0, -1, 2**31, 2**63, 2**64, 10**400, -0.0, 5e-324, 1e308, float("nan"), float("inf")),
    *("", "a", "pear", "\0", "\u2028", "\ud800", "é𝒳\u202e", "NaN", "1e999", "x" * 201, "y" * 2000, "../../x"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "2026-01-01", "24:00"),
    *([], {}, [[]], {"": None}, [None] * 300, {"id": {"id": {}}}),
]
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
TYPES = (JSON, f"{JSON}; charset=utf-16", ARROW, "text/plain", "")
STUFFING = (b"", b"\0", b"\xff\xfe", b"[" * 3000, b'{"a":' * 3000, b" " * 9_000_000, b"1" * 5000)
ANSWERED = {200, 400, 401, 404, 405, 409, 413, 415, 422}


@cache
def stream(path: str) -> bytes:
    """Return the rows of a body as Arrow."""
    table, sink = pa.Table.from_pylist(BODIES[path]["rows"] * 3), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as written:
        written.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def flip(draw: Callable[..., Any], raw: bytes) -> bytes:
    """Change some bytes of many."""
    changed = bytearray(raw)
    for _ in range(draw(st.integers(0, 4))):
        changed[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def spoil(draw: Callable[..., Any], body: Any) -> Any:
    """Put something that doesn't belong somewhere into a body, or take something away."""
    path = draw(st.sampled_from(list(places(body))))
    nasty = copy.deepcopy(draw(st.sampled_from(NASTY)))
    if not path:
        return nasty
    at = body
    for key in path[:-1]:
        at = at[key]
    match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
        case "replace":
            at[path[-1]] = nasty
        case "remove":
            del at[path[-1]]
        case "add" if isinstance(at, dict):
            at[draw(st.text(max_size=5))] = nasty
        case _ if isinstance(at, list):
            at.extend([copy.deepcopy(at[path[-1]])] * draw(st.sampled_from([1, 3, 1100])))
    return body


def damage(draw: Callable[..., Any], raw: bytes) -> bytes:
    """Cut, flip or stuff bytes."""
    where = draw(st.integers(0, len(raw)))
    stuffing = draw(
        st.sampled_from([b"", b"\0", b"\xff\xfe", b"[" * 3000, b'{"a":' * 3000, b" " * 9_000_000, b"1" * 5000])
    )
    return draw(st.sampled_from([raw[:where], raw[:where] + stuffing + raw[where:], raw + stuffing, stuffing + raw]))


@st.composite
def asked(draw: Callable[..., Any]) -> tuple[str, str, bytes, dict[str, str]]:
    """A request: one that would be answered, with up to three things wrong."""
    path = draw(st.sampled_from(list(BODIES)))
    body = copy.deepcopy(BODIES[path])
    for _ in range(draw(st.integers(0, 3))):
        body = spoil(draw, body)
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        raw = damage(draw, raw)
    headers = {"accept": draw(st.sampled_from(["*/*", "*/*", "*/*", ARROW]))}
    if path.endswith("predict") and draw(st.integers(0, 3)) == 0:
        raw = draw(st.sampled_from([flip, damage]))(draw, stream(path))
        return "POST", path, raw, headers | {"content-type": ARROW}
    headers["content-type"] = draw(st.sampled_from([JSON] * 6 + list(TYPES)))
    latin = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=250)
    for name in ("idempotency-key", "authorization", "content-encoding"):
        if draw(st.integers(0, 5)) == 0:
            headers[name] = draw(latin)
    if draw(st.integers(0, 9)) == 0:
        path = f"/v1/{quote(draw(st.text(max_size=20)))}/{draw(st.sampled_from(['predict', 'labels']))}"
    if draw(st.integers(0, 9)) == 0:
        return "GET", f"/v1/prices/predictions/{quote(draw(st.text(max_size=300)))}", b"", {}
    return draw(st.sampled_from(["POST"] * 12 + ["GET", "PUT", "DELETE", "HEAD"])), path, raw, headers


@pytest.fixture(scope="module", params=KINDS)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Service]:
    home = tmp_path_factory.mktemp("home")
    parts.promote(home, 1, factor=2.0)
    parts.point(home, "fruit", 1, parts.fruit_version(home / "generations" / "fruit" / "1"))
    with parts.serving(home, HOLDFAST_DATABASE_URL=new_database(request.param, request, home)) as running:
        yield running


def bombard(service: parts.Service, examples: int) -> Counter[int]:
    seen: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(asked())
    def answered(request: tuple[str, str, bytes, dict[str, str]]) -> None:
        method, path, body, headers = request
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        try:
            connection.request(method, path, body, {k: v.encode("latin-1") for k, v in headers.items()})
            answer = connection.getresponse()
            content = answer.read()
        except (BrokenPipeError, ConnectionResetError):  # a body too large is refused while it is still being sent
            assert len(body) > 8 << 20
            return
        finally:
            connection.close()
        seen[answer.status] += 1
        assert answer.status in ANSWERED, (answer.status, content)
        if answer.status != 200 and method != "HEAD":
            assert json.loads(content).keys() == {"error", "where"}

    answered()
    return seen


def hold(service: parts.Service, examples: int) -> None:
    before = psutil.Process(service.process.pid).memory_info().rss
    seen = bombard(service, examples)
    assert {200, 400, 404, 415, 422} <= seen.keys(), seen
    grown = psutil.Process(service.process.pid).memory_info().rss - before
    assert grown < 128 << 20, f"{grown >> 20} MB"
    assert "Traceback" not in (service.home / "service.log").read_text()


def test_whatever_is_sent_is_answered_or_refused_and_nothing_breaks(service: parts.Service) -> None:
    hold(service, examples=200)


@pytest.mark.soak
def test_whatever_is_sent_fifty_thousand_times_to_each_database_breaks_nothing(service: parts.Service) -> None:
    hold(service, examples=50_000)
