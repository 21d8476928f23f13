import base64
import hashlib
import hmac
import json
import logging
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from data.errors import DeliveryFailed
from monitoring.alerts import Channels, deliver, drain, pause
from monitoring.records import Message
from monitoring.store import Store, open_store

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # imported by Apprise

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a key of some length").decode()


def message(channel: str, name: str = "digits.incident-1", at: datetime = AT, **payload: Any) -> Message:
    text = payload.pop("text", "3 of 200 frames are constant: mend the camera")
    facts = {"project": "digits", "kind": "fault", "text": text, "links": {"why": "http://127.0.0.1/why"}, **payload}
    return Message(f"{name}.{channel}", channel, "alert", facts, at)


class Receiver(ThreadingHTTPServer):
    """Takes webhooks; answers with `status` after `delay` seconds."""

    daemon_threads = True
    status = 204
    delay = 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("location", f"{self.server.url}/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail by SMTP; `refuses` makes it answer 451 to every message."""

    daemon_threads = True
    allow_reuse_address = True
    refuses = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.mails: list[Mail] = []
        self.recipients: list[str] = []

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class Conversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.say("220 ready")
        for line in self.rfile:
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.say("354 go on")
                self.take()
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                if word == b"RCPT":
                    self.server.recipients.append(line.decode().split("<")[1].split(">")[0])
                self.say("250 well")

    def take(self) -> None:
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line)
        if self.server.refuses:
            self.say("451 later")
            return
        self.server.mails.append(message_from_bytes(b"".join(lines)))
        self.say("250 taken")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@contextmanager
def running(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running(Receiver()) as server:
        yield server


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with running(MailServer()) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/store.db")


def test_a_webhook_is_signed_so_that_its_receiver_can_check_it(receiver: Receiver) -> None:
    deliver(message("webhook"), Channels(webhook_url=receiver.url, webhook_secret=SECRET))
    [(_, headers, body)] = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mark = base64.b64encode(hmac.new(b"a key of some length", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mark}"
    assert headers["webhook-id"] == "digits.incident-1.webhook"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert json.loads(body)["data"]["text"].startswith("3 of 200 frames")


@pytest.mark.parametrize("status", [302, 400, 410, 500, 503])
def test_only_2xx_takes_a_webhook_and_redirects_lead_nowhere(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(DeliveryFailed, match=f"answered {status}"):
        deliver(message("webhook"), Channels(webhook_url=receiver.url, webhook_secret=SECRET))
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "channels",
    [
        Channels(webhook_url="http://127.0.0.1:1/hunter2", smtp_url="smtp://a:hunter2@127.0.0.1:1", email_to="a@b.c"),
        Channels(webhook_url="no url hunter2", smtp_url="smtp://hunter2:port", email_to="a@b.c"),
        Channels(webhook_url="http://[hunter2", smtp_url="smtp://[hunter2", email_to="a@b.c"),
        Channels(),
    ],
)
@pytest.mark.parametrize("channel", ["webhook", "email", "apprise"])
def test_what_cannot_be_reached_fails_without_showing_its_secrets(channels: Channels, channel: str) -> None:
    channels.apprise_urls = "json://127.0.0.1:1/hunter2 nonsense://hunter2"
    with pytest.raises(DeliveryFailed) as failed:
        deliver(message(channel), channels)
    assert "hunter2" not in str(failed.value)


def test_each_copy_of_a_mail_has_the_same_id_and_no_header_can_be_forged(mail_server: MailServer) -> None:
    channels = Channels(smtp_url=mail_server.url, email_to="a@example.org, b@example.org", email_from="hf@example.org")
    evil = message("email", text="drift\r\nBcc: evil@example.org\nmore", project="x\nBcc: evil@example.org")
    for _ in range(2):
        deliver(evil, channels)
    first, second = mail_server.mails
    assert first["Message-ID"] == second["Message-ID"] == "<digits.incident-1.email@example.org>"
    assert first["Date"] == second["Date"]
    assert first["Bcc"] is None
    assert set(mail_server.recipients) == {"a@example.org", "b@example.org"}
    assert "http://127.0.0.1/why" in first.get_payload()


def test_a_mail_that_the_server_puts_off_has_failed(mail_server: MailServer) -> None:
    mail_server.refuses = True
    with pytest.raises(DeliveryFailed, match="451"):
        deliver(message("email"), Channels(smtp_url=mail_server.url, email_to="a@example.org"))


def test_apprise_follows_no_redirect_and_repeats_only_what_was_not_taken(receiver: Receiver) -> None:
    with running(Receiver()) as other:
        other.status = 302
        place, elsewhere = receiver.url.removeprefix("http"), other.url.removeprefix("http")
        channels = Channels(apprise_urls=f"json{place} json{elsewhere}?redirect=yes")
        for _ in range(2):
            with pytest.raises(DeliveryFailed, match="not taken by URL 2"):
                deliver(message("apprise"), channels)
        other.status = 200
        deliver(message("apprise"), channels)
        assert len(receiver.got) == 1
        assert [path for path, _, _ in other.got] == ["/hook"] * 3
        assert channels.taken == set()


def test_the_log_gets_each_alert_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "monitoring.alerts"):
        deliver(message("log", text="drift\nALERT forged"), Channels())
    [line] = caplog.messages
    assert "\n" not in line
    assert line.startswith("ALERT [digits] fault: drift")


def test_each_message_is_sent_once_and_a_failed_one_again_with_the_same_id(store: Store, receiver: Receiver) -> None:
    channels = Channels(webhook_url=receiver.url, webhook_secret=SECRET)
    store.outbox.put([message("webhook"), message("log")])
    receiver.status = 503
    drain(store, channels, AT, wait=10)
    assert store.outbox.due(AT) == []
    drain(store, channels, AT, wait=10)
    assert len(receiver.got) == 1
    receiver.status = 200
    for _ in range(2):
        drain(store, channels, AT + timedelta(minutes=1), wait=10)
    assert [headers["webhook-id"] for _, headers, _ in receiver.got] == ["digits.incident-1.webhook"] * 2
    assert store.outbox.due(AT + timedelta(days=2)) == []


def test_a_slow_and_full_channel_delays_no_other(store: Store, receiver: Receiver, mail_server: MailServer) -> None:
    receiver.delay, receiver.status = 0.6, 503
    channels = Channels(webhook_url=receiver.url, smtp_url=mail_server.url, email_to="a@example.org")
    store.outbox.put([message("webhook", f"storm-{i}") for i in range(5)])
    store.outbox.put([message("email", at=AT + timedelta(seconds=1))])
    now = AT + timedelta(seconds=2)
    began = time.monotonic()
    drain(store, channels, now, wait=0.1)
    assert time.monotonic() - began < 1
    settle(channels, "email")
    assert len(mail_server.mails) == 1
    store.outbox.put([message("email", "second", at=now)])
    drain(store, channels, now, wait=0.1)
    settle(channels, "email")
    assert len(mail_server.mails) == 2
    assert len(receiver.got) <= 3
    settle(channels, "webhook")
    drain(store, channels, now, wait=5)
    assert len(receiver.got) == 3  # after three failures in a row the channel rests
    receiver.delay, receiver.status = 0.0, 200
    drain(store, channels, now + timedelta(hours=1), wait=30)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 5
    assert store.outbox.due(now + timedelta(days=2)) == []


def settle(channels: Channels, channel: str) -> None:
    worker = channels.way(channel).worker
    assert worker is not None
    worker.join(20)
    assert not worker.is_alive()


def test_a_message_that_nobody_takes_for_a_day_is_parked_with_its_error(store: Store) -> None:
    channels = Channels(webhook_url="http://127.0.0.1:1/")
    store.outbox.put([message("webhook")])
    now, attempts = AT, 0
    while store.outbox.due(AT + timedelta(days=3)) and attempts < 100:
        if store.outbox.due(now):
            drain(store, channels, now, wait=10)
            attempts += 1
        now += timedelta(minutes=10)
    [(parked, why)] = store.outbox.parked()
    assert parked.id == "digits.incident-1.webhook"
    assert "ConnectError" in why
    assert timedelta(hours=22) < now - AT < timedelta(hours=26)


def test_a_channel_of_the_callers_own_is_a_channel_like_the_others(store: Store) -> None:
    taken: list[str] = []
    store.outbox.put([message("prefect"), message("unknown")])
    drain(store, Channels(senders={"prefect": lambda event: taken.append(event.id)}), AT, wait=10)
    assert taken == ["digits.incident-1.prefect"]
    assert len(store.outbox.due(AT + timedelta(hours=1))) == 1


def test_pauses_double_up_to_an_hour() -> None:
    assert [pause(attempts).total_seconds() for attempts in (0, 1, 2, 9, 10, 10_000)] == [5, 10, 20, 2560, 3600, 3600]
