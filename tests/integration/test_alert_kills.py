"""Processes that judge and send, killed at random: nothing is lost, and copies share their id (P12, P14, P15)."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import pytest
from store_parts import KINDS, child, new_database

from monitoring.store import Store, open_store

PROJECT = "plums"
JUDGE = """
import sys
from datetime import UTC, datetime, timedelta
from monitoring.alerts import Channels, drain
from monitoring.declarations import Governor, Monitors
from monitoring.governor import Circumstances
from monitoring.evidence import Setting
from monitoring.incidents import effects
from monitoring.records import Verdict, WindowKey
from monitoring.store import open_store

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
url, hook, project, windows = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
store = open_store(url)
channels = Channels(webhook_url=hook, webhook_secret="secret", senders={"prefect": lambda event: None})
print("ready", flush=True)

def judge(index, now):
    outcome = "fault" if index % 2 == 0 else "ok"
    detail = {"faults": {"size": "is constant"}} if outcome == "fault" else {}
    window = WindowKey(project, 1, index, now - timedelta(hours=1), now)
    verdict = Verdict(window, "data", outcome, 60, f"{outcome}: window {index}", detail)
    open_ones = store.incidents.open_ones(project)
    met = Setting(Monitors(), Governor(), Circumstances(now, 0), [], open_ones, ("webhook",), now)
    store.record_verdict(verdict, effects(verdict, met), now)

judged = {one.window.index for one in store.verdicts.all(project)}
for index in range(max(judged, default=0), windows):  # the last one once more, as who doesn't know that it is written
    now = NOON + timedelta(hours=index)
    judge(index, now)
    drain(store, channels, now, wait=60)
drain(store, channels, NOON + timedelta(hours=windows), wait=60)
"""


@dataclass(frozen=True)
class Plan:
    """How many windows are judged, and how many kills there are at least."""

    windows: int
    kills: int


TWIN = Plan(windows=60, kills=6)
SOAK = Plan(windows=1000, kills=150)


class Receiver(ThreadingHTTPServer):
    """Takes webhooks; now and then it has the sender killed, before or after it answers."""

    daemon_threads = True

    def __init__(self, random: Random, share: float) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.random, self.share = random, share
        self.sender: subprocess.Popen[str] | None = None
        self.senders = 0
        self.got: list[tuple[str, int, str]] = []  # id, which sender, hash of what it says

    def kill(self) -> None:
        if self.sender is not None and self.sender.poll() is None:
            os.kill(self.sender.pid, signal.SIGKILL)


class Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = hashlib.sha256(json.dumps(body["data"], sort_keys=True).encode()).hexdigest()
        self.server.got.append((self.headers["webhook-id"], self.server.senders, said))
        when = self.server.random.choice(["before", "after"]) if self.server.random.random() < self.server.share else ""
        if when == "before":
            self.server.kill()
        self.send_response(204)
        self.end_headers()
        if when == "after":
            time.sleep(self.server.random.choice([0.0, 0.002, 0.01]))
            self.server.kill()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def receiving(random: Random, plan: Plan) -> Iterator[Receiver]:
    server = Receiver(random, 1.5 * plan.kills / plan.windows)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def judge_on(server: Receiver, url: str, plan: Plan, random: Random) -> int:
    """Start the process anew until it has done all; return how often it was killed."""
    kills = 0
    while True:
        hook = f"http://127.0.0.1:{server.server_address[1]}/"
        words = [sys.executable, "-c", JUDGE, url, hook, PROJECT, str(plan.windows)]
        server.senders += 1
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=child()) as process:
            server.sender = process
            assert process.stdout is not None
            process.stdout.readline()
            if kills < plan.kills and random.random() < 0.3:
                time.sleep(random.uniform(0, 0.15))  # anywhere: in a commit, between two
                server.kill()
            code = process.wait(120 + plan.windows)  # seconds: a window takes one at the worst, on a busy machine
        if code == 0:
            return kills
        assert code == -signal.SIGKILL
        kills += 1
        server.share = server.share if kills < plan.kills else 0.0


def expected(store: Store, plan: Plan) -> set[str]:
    """The ids that follow from the verdicts: an alert for each fault, a word at its end."""
    faults = {f"{PROJECT}.1.data.{index}.fault.webhook" for index in range(0, plan.windows, 2)}
    over = [one.id for one in store.incidents.recent(PROJECT, plan.windows) if one.closed_at]
    assert len(over) == plan.windows // 2
    return faults | {f"{PROJECT}.incident-{number}.closed.webhook" for number in over}


CASES = [pytest.param(TWIN, "sqlite", id="twin")]
CASES += [pytest.param(SOAK, kind, id=f"soak-{kind}", marks=pytest.mark.soak) for kind in KINDS]


@pytest.mark.parametrize(("plan", "kind"), CASES)
def test_every_window_has_one_verdict_and_every_alert_arrives_however_often_the_process_is_killed(
    plan: Plan, kind: str, seed: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = new_database(kind, request, tmp_path)
    with receiving(Random(seed), plan) as server:
        kills = judge_on(server, url, plan, Random(seed + 1))
    store = open_store(url)
    assert kills >= plan.kills
    assert [one.window.index for one in store.verdicts.all(PROJECT)] == list(range(plan.windows))
    assert (store.outbox.waiting(), store.outbox.parked()) == ([], [])
    arrived = Counter(id_ for id_, _, _ in server.got)
    assert set(arrived) == expected(store, plan)
    copies = sum(arrived.values()) - len(arrived)
    assert 0 < copies <= kills
    assert len({(id_, said) for id_, _, said in server.got}) == len(arrived)  # copies say the same
    assert max(Counter((id_, sender) for id_, sender, _ in server.got).values()) == 1  # who lives sends once
    sys.stdout.write(f"\nseed {seed}: {kills} kills, {len(arrived)} alerts, {copies} copies\n")
    store.close()
