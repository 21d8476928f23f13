import tracemalloc
from collections.abc import Callable

import pytest

from serving.app import predicted_project
from serving.keys import local

LONG = 60_000


@pytest.mark.parametrize(
    "ask",
    [
        lambda i: predicted_project(f"/v1/{i}{'x' * LONG}/predict"),
        lambda i: predicted_project(f"/{i}{'x' * LONG}"),
        lambda i: local(b"%d" % i + b"x" * LONG),
        lambda i: local(b"[%d" % i + b"x" * LONG),
    ],
    ids=["project", "path", "host", "address"],
)
def test_nothing_that_a_stranger_sends_is_kept(ask: Callable[[int], object]) -> None:
    ask(0)
    tracemalloc.start()
    try:
        for i in range(1, 60):
            ask(i)
        assert tracemalloc.get_traced_memory()[0] < 10 * LONG
    finally:
        tracemalloc.stop()


def test_this_machine_is_known_by_its_names() -> None:
    assert [local(host) for host in (b"localhost:80", b"127.0.0.1", b"[::1]:8000", b"example.com", b"")] == [
        True,
        True,
        True,
        False,
        False,
    ]
