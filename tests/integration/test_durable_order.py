"""What the kernel saw: each row is on the disk before the first byte of its answer leaves (P2)."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import serving_parts as parts

CALLS = "pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg"
STRING = 5000  # bytes that are shown of what is written: a page of SQLite's and more
SENDS = ("write", "writev", "sendto", "sendmsg")
BEGUN = re.compile(r"^(\d+) +(\w+)\((\d+)<(.*?)>(.*)$", re.DOTALL)
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
NUMBER = re.compile(r"oracle(\d{6})")
LAZY = """
from monitoring.store.wire import Wire
opened = Wire.open
def open(self):
    opened(self)
    self.own.dbapi_connection.execute("PRAGMA synchronous=NORMAL")
Wire.open = open
"""
HASTY = """
import time
from serving.batching import Batcher
write = Batcher.commit
def commit(self, jobs):
    self.settle([(job, job.entry.rows) for job in jobs])
    time.sleep(0.1)
    write(self, jobs)
Batcher.commit = commit
"""


@dataclass
class Call:
    """A system call; `began` and `ended` are lines of the trace."""

    name: str
    path: str
    data: str
    began: int
    ended: int = -1
    result: str = ""


def calls(trace: str) -> list[Call]:
    """Read what strace wrote; a call that another thread's interrupted is put together again."""
    found: list[Call] = []
    open_ones: dict[str, Call] = {}
    for at, line in enumerate(trace.splitlines()):
        if resumed := RESUMED.match(line):
            call = open_ones.pop(resumed[1], None)
            if call is not None:
                call.ended, call.result = at, resumed[3].rpartition("= ")[2]
                call.data += resumed[3]
        elif begun := BEGUN.match(line):
            call = Call(begun[2], begun[4], begun[5], at)
            found.append(call)
            if line.endswith("<unfinished ...>"):
                open_ones[begun[1]] = call
            else:
                call.ended, call.result = at, begun[5].rpartition("= ")[2]
    return found


def judge(trace: list[Call]) -> dict[str, str]:
    """Return what became of each answered row: "durable", or what was wrong."""
    log = [call for call in trace if call.path.endswith("holdfast.db-wal")]
    written: dict[str, Call] = {}
    for call in log:
        for number in NUMBER.findall(call.data) if call.name == "pwrite64" else ():
            written.setdefault(number, call)
    syncs = [call for call in log if call.name in ("fdatasync", "fsync") and call.result.startswith("0")]
    verdicts: dict[str, str] = {}
    heads: dict[str, Call] = {}
    for call in trace:
        if call.name not in SENDS or ("socket" not in call.path and "TCP" not in call.path):
            continue
        if "HTTP/1.1 " in call.data:
            heads[call.path] = call
        for number in NUMBER.findall(call.data):
            verdicts.setdefault(number, verdict(written.get(number), syncs, heads[call.path]))
    return verdicts


def verdict(written: Call | None, syncs: list[Call], sent: Call) -> str:
    if written is None or not -1 < written.ended < sent.began:
        return "answered before it was written"
    if not any(written.ended < sync.began and sync.ended < sent.began for sync in syncs):
        return "answered before it was synced"
    return "durable"


@contextmanager
def traced(service: parts.Service, to: Path) -> Iterator[None]:
    """Write down the service's calls while the block runs."""
    words = ["strace", "-f", "-yy", "-s", str(STRING), "-e", f"trace={CALLS}", "-o", str(to)]
    with (to.parent / "strace.log").open("w+") as log:
        tracer = subprocess.Popen([*words, "-p", str(service.process.pid)], stdout=log, stderr=log)
        try:
            until = time.monotonic() + 10
            while "attached" not in (said := (to.parent / "strace.log").read_text()):
                if tracer.poll() is not None:
                    pytest.skip(f"strace may not look at another process here: {said.strip()[-200:]}")
                assert time.monotonic() < until, said
                time.sleep(0.05)
            yield
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(20)


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace is installed")
@pytest.mark.parametrize(
    ("mutation", "requests", "told"),
    [
        pytest.param("", 100, {"durable"}, id="sound"),
        pytest.param(LAZY, 5, {"answered before it was synced"}, id="lazy"),
        pytest.param(HASTY, 5, {"answered before it was written"}, id="hasty"),
        pytest.param("", 1000, {"durable"}, id="soak", marks=pytest.mark.soak),
    ],
)
def test_no_byte_of_an_answer_leaves_before_its_rows_are_on_the_disk(
    tmp_path: Path, mutation: str, requests: int, told: set[str]
) -> None:
    parts.promote(tmp_path, 1, factor=2.0)
    command = parts.broken(mutation) if mutation else parts.SERVICE

    def ask(number: int) -> int:
        row = {"size": 1.0, "note": "a", "id": f"oracle{number:06d}"}
        return client.post("/v1/prices/predict", json={"rows": [row]}).status_code

    with parts.serving(tmp_path, command=command) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        assert ask(999_999) == 200
        with traced(service, tmp_path / "trace"), ThreadPoolExecutor(4) as pool:
            assert set(pool.map(ask, range(requests))) == {200}
    verdicts = judge(calls((tmp_path / "trace").read_text(errors="replace")))
    assert verdicts.keys() == {f"{number:06d}" for number in range(requests)}
    assert set(verdicts.values()) <= told
