import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import serving_parts as parts

STRICT = "import serving.connections as c; c.CONNECTIONS, c.HEAD_SECONDS = 20, 0.5"
SECONDS = 10.0
LIMIT = 64 << 10
HEAD = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = b"POST /v1/prices/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Service]:
    home = tmp_path_factory.mktemp("connections")
    parts.promote(home, 1, factor=2.0)
    with parts.serving(home, command=parts.broken(STRICT)) as running:
        yield running


def connect(service: parts.Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS)


def told(service: parts.Service, *sent: bytes) -> bytes:
    """Send pieces, and return all that the service says until it hangs up."""
    with connect(service) as one:
        for piece in sent:
            one.sendall(piece)
        said = b""
        while part := one.recv(4096):
            said += part
        return said


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x: " + b"y" * LIMIT,
        HEAD + b"".join(b"x%05d: y\r\n" % i for i in range(LIMIT // 11 + 1)),
        b"GET /" + b"y" * LIMIT,
    ],
    ids=["one header", "many headers", "a path"],
)
def test_a_head_of_more_than_64_kilobytes_is_refused_and_the_connection_closed(
    service: parts.Service, head: bytes
) -> None:
    assert told(service, head[: LIMIT + 1]).startswith(b"HTTP/1.1 431 ")


def test_trailers_without_end_are_cut_off(service: parts.Service) -> None:
    head = CHUNKED + b"transfer-encoding: chunked\r\n\r\n"
    with pytest.raises(ConnectionError):  # which closes with more on its way
        told(service, head, b"2\r\n{}\r\n0\r\nx: ", *[b"y" * LIMIT] * 100)


def test_a_head_that_does_not_come_in_time_is_refused(service: parts.Service) -> None:
    assert told(service, HEAD).startswith(b"HTTP/1.1 408 ")
    assert told(service) == b""


def test_a_connection_that_has_asked_before_must_finish_its_next_head_in_time_too(service: parts.Service) -> None:
    said = told(service, HEAD + b"\r\n" + HEAD)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in said


def test_connections_beyond_the_bound_are_told_to_come_back(service: parts.Service) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=service.url)) for _ in range(20)]
        assert [client.get("/healthz").status_code for client in clients] == [200] * 20
        assert b"retry-after: 1" in told(service)
        assert [client.get("/healthz").status_code for client in clients] == [200] * 20
    assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_bodies_of_many_pieces_and_requests_in_one_piece_go_on(service: parts.Service) -> None:
    rows = {"rows": [{"size": 3.0, "note": "a" * 100, "id": f"long-{i}"} for i in range(1000)]}
    with httpx.Client(base_url=service.url, timeout=SECONDS) as client:
        assert len(client.post("/v1/prices/predict", json=rows).json()["predictions"]) == 1000
    last = HEAD + b"connection: close\r\n\r\n"
    assert told(service, (HEAD + b"x: " + b"y" * 30_000 + b"\r\n\r\n") * 5 + last).count(b"HTTP/1.1 200 ") == 6
