"""Bring messages from the outbox to people: log, signed webhook, e-mail, and chats and pagers through Apprise.

At least once: a crash between a receiver's answer and our record sends a message again, with the same id.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from data.errors import BadSetting, DeliveryFailed, HoldfastError
from monitoring import mail
from monitoring.digests import SHOWN
from monitoring.records import Message
from monitoring.wording import body, subject

if TYPE_CHECKING:
    import httpx

    from monitoring.store import Store

log = logging.getLogger(__name__)

SECONDS = mail.SECONDS
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
PATIENCE = 3  # failures in a row after which a channel rests, whatever else waits for it

Sender = Callable[[Message], None]


@dataclass
class Channels:
    """Where messages may go, and which ways are busy or resting. One a process, kept between rounds.

    `smtp_url` is smtp[s]://user:password@host:port; `email_to` and `apprise_urls` hold one or more, separated by
    commas and by spaces. `senders` adds channels of the caller's own, which raise DeliveryFailed.
    """

    webhook_url: str = ""
    webhook_secret: str = ""
    smtp_url: str = ""
    email_to: str = ""
    email_from: str = "holdfast@localhost"
    apprise_urls: str = ""
    senders: Mapping[str, Sender] = field(default_factory=dict)
    ways: dict[str, "Way"] = field(default_factory=dict, init=False, repr=False)
    taken: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False)

    def sender(self, channel: str) -> Sender:
        """Return what sends to a channel.

        Raises: DeliveryFailed, the channel is not set up.
        """
        known: dict[str, tuple[str, Sender]] = {
            "log": ("yes", to_log),
            "webhook": (self.webhook_url, lambda message: to_webhook(message, self)),
            "email": (self.smtp_url and self.email_to, self.to_email),
            "apprise": (self.apprise_urls, lambda message: to_apprise(message, self)),
            **{name: ("yes", sender) for name, sender in self.senders.items()},
        }
        setting, sender = known.get(channel, ("", to_log))
        if not setting:
            raise DeliveryFailed(channel, "this channel is not set up")
        return sender

    @cached_property
    def client(self) -> "httpx.Client":
        """The one HTTP client, for making one reads every certificate; connections are not kept, receivers restart."""
        import httpx

        alone = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(timeout=SECONDS, follow_redirects=False, limits=alone)

    def to_email(self, message: Message) -> None:
        """Send a message as e-mail."""
        mail.send(message, self.smtp_url, self.email_from, self.email_to)

    def way(self, channel: str) -> "Way":
        """Return the state of a channel."""
        return self.ways.setdefault(channel, Way(channel))


@dataclass
class Way:
    """The state of one channel: its worker, and when it may be tried again after failures in a row."""

    channel: str
    worker: threading.Thread | None = None
    failures: int = 0
    rests_until: datetime | None = None

    def free(self, now: datetime) -> bool:
        """Tell whether a round may use it."""
        busy = self.worker is not None and self.worker.is_alive()
        return not busy and (self.rests_until is None or self.rests_until <= now)


def deliver(message: Message, channels: Channels) -> None:
    """Send one message to its channel.

    Raises: DeliveryFailed.
    """
    channels.sender(message.channel)(message)


def drain(store: "Store", channels: Channels, now: datetime, wait: float = 0.5) -> None:
    """Send what is due, each channel in a worker of its own, and return when all are done or after `wait` seconds.

    A worker that isn't done goes on; later rounds leave its channel to it, so a slow channel delays no other.
    """
    started = []
    for channel in store.outbox.channels(now):
        way = channels.way(channel)
        if way.free(now) and (messages := store.outbox.take(channel, now)):
            way.worker = threading.Thread(
                target=work, args=(store, channels, way, messages, now), name=f"alerts-{channel}", daemon=True
            )
            way.worker.start()
            started.append(way.worker)
    for worker in started:
        before = datetime.now(now.tzinfo)
        worker.join(max(wait, 0))
        wait -= (datetime.now(now.tzinfo) - before).total_seconds()


def work(store: "Store", channels: Channels, way: Way, messages: list[Message], now: datetime) -> None:
    """Send one channel's messages, oldest first, until it fails too often in a row."""
    for i, message in enumerate(messages):
        try:
            if not attempt(store, channels, message, now):
                way.failures += 1
            else:
                way.failures, way.rests_until = 0, None
            if way.failures >= PATIENCE:
                way.rests_until = now + pause(way.failures - PATIENCE)
                log.warning("%s rests until %s, %d messages wait", way.channel, way.rests_until, len(messages) - i)
                return
        except HoldfastError:  # the store is away: what was sent will be sent again, with the same id
            log.exception("the outbox can't be written; %s goes on later", way.channel)
            return


def attempt(store: "Store", channels: Channels, message: Message, now: datetime) -> bool:
    """Send one message and record the outcome. Returns whether it was taken."""
    try:
        deliver(message, channels)
    except DeliveryFailed as error:
        store.outbox.failed(message.id, str(error), now + pause(message.attempts))
        log.warning("%s: attempt %d: %s", message.id, message.attempts + 1, error)
        return False
    store.outbox.delivered(message.id, now)
    return True


def pause(attempts: int) -> timedelta:
    """Return how long to wait after so many earlier failures: doubling, up to an hour."""
    return min(FIRST_PAUSE * (1 << min(attempts, 20)), LONGEST_PAUSE)


def to_log(message: Message) -> None:
    """Write an alert to the log, on one line; a digest's most urgent ones on one each below it."""
    links = message.payload.get("links") or {}
    log.warning("ALERT %s", " ".join([subject(message), *(f"{name}={url}" for name, url in links.items())]))
    for one in message.payload.get("alerts", [])[:SHOWN]:
        log.warning("ALERT - %s", " ".join(f"{one['text']} {one['link'] or ''}".split()))


def to_webhook(message: Message, channels: Channels) -> None:
    """POST a message as JSON, signed as standardwebhooks.com says; only 2xx is taken, redirects are not followed."""
    import httpx

    sent = datetime.now(message.created_at.tzinfo)
    data = {"id": message.id, "type": message.kind, "timestamp": message.created_at, "data": dict(message.payload)}
    content = orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)
    headers = {"content-type": "application/json", "user-agent": "holdfast"}
    try:
        headers |= signed(message.id, int(sent.timestamp()), content, channels.webhook_secret)
        with channels.client.stream("POST", channels.webhook_url, content=content, headers=headers) as answer:
            status = answer.status_code  # the answer's body could come for ever
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, BadSetting) as error:
        raise DeliveryFailed("webhook", f"{type(error).__name__}: {error}") from error
    if not 200 <= status < 300:
        raise DeliveryFailed("webhook", f"answered {status}")


def signed(id: str, timestamp: int, content: bytes, secret: str) -> dict[str, str]:  # noqa: A002 (the header's word)
    """Return the headers `webhook-id`, `webhook-timestamp` and, where there is a secret, `webhook-signature`."""
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp)}
    if secret:
        mark = hmac.new(key(secret), f"{id}.{timestamp}.".encode() + content, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(mark).decode()}"
    return headers


def key(secret: str) -> bytes:
    """Return the HMAC key: the base64 after `whsec_`, else the secret's own bytes."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise BadSetting("HOLDFAST_WEBHOOK_SECRET: what follows whsec_ is not base64") from error


def to_apprise(message: Message, channels: Channels) -> None:
    """Send a message to every Apprise URL; on a retry only to those that haven't taken it in this process."""
    failed = []
    for i, url in enumerate(channels.apprise_urls.split()):
        if (message.id, i) in channels.taken:
            continue
        if notified(url, message):
            channels.taken.add((message.id, i))
        else:
            failed.append(str(i + 1))
    if failed:
        raise DeliveryFailed("apprise", f"not taken by URL {', '.join(failed)}")
    channels.taken.difference_update({pair for pair in channels.taken if pair[0] == message.id})


def unreadable(urls: str) -> list[int]:
    """Return which addresses, counted from 1, Apprise makes nothing of."""
    import apprise

    silent = apprise.AppriseAsset(http_redirects=False)
    known = [apprise.Apprise.instantiate(url, asset=silent, suppress_exceptions=True) for url in urls.split()]
    return [number for number, one in enumerate(known, 1) if one is None]


def notified(url: str, message: Message) -> bool:
    """Send one message to one Apprise URL, without following redirects."""
    import apprise

    client = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False, async_mode=False))
    if not client.add(url):
        return False
    service: Any
    for service in client:
        service.redirects = False  # also where the URL says otherwise
    return bool(client.notify(title=subject(message), body=body(message), body_format=apprise.NotifyFormat.TEXT))
