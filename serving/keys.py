"""Who asks: an API key in a header, or anybody on this machine while a home has none."""

import hashlib
import logging
import threading
import time
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from math import inf

from data.errors import HoldfastError
from monitoring.store.clients import LOCAL, SCOPES, ApiClient
from serving.limits import Bucket
from serving.refusals import Refused

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # a revoked key works no longer than this and one look more
STOP_SECONDS = 2.0
BLIND_SECONDS = 30.0  # after which nobody is let in by what was read before
ADD = "holdfast keys add NAME --scope predict"
LONGEST_HOST = 100  # bytes; of longer ones none is ours, and strangers' are not kept
HEADERS = frozenset((b"authorization", b"x-api-key", b"host"))


class Client:
    """Whoever asks, with what it may ask. `projects`: none named, all."""

    __slots__ = ("labels", "name", "projects", "rows", "scopes")

    def __init__(
        self, name: str, scopes: Iterable[str], projects: Iterable[str] = (), rows_per_second: int | None = None
    ) -> None:
        self.name = name
        self.scopes = frozenset(SCOPES) if "admin" in scopes else frozenset(scopes)
        self.projects = frozenset(projects)
        self.rows = Bucket(rows_per_second) if rows_per_second else None
        self.labels = Bucket(rows_per_second) if rows_per_second else None

    def sees(self, project: str) -> bool:
        """Whether this client may know of a project."""
        return not self.projects or project in self.projects

    def allow(self, scope: str, project: str = "") -> None:
        """Let the client do what `scope` stands for, with one project where one is named.

        Raises: Refused 403.
        """
        if scope not in self.scopes:
            told = f"the key of {self.name!r} has no scope {scope!r}; it has: {', '.join(sorted(self.scopes))}"
            raise Refused(403, told, "scope", reason="scope")
        if project and self.projects and project not in self.projects:
            raise Refused(403, f"the key of {self.name!r} is not for this project", "project", reason="scope")


class Keys:
    """The clients in memory, read again each second by a thread of its own.

    While the store does not answer, those read last go on: what has to be durable is refused by the store itself.

    Args:
        read: returns every client there ever was, revoked ones too.
        keyless: whether anybody may ask until the first key is made. Once there was one it never opens again.
    """

    def __init__(self, read: Callable[[], list[ApiClient]], *, keyless: bool) -> None:
        self.read, self.keyless = read, keyless
        self.anybody = Client(LOCAL, ["admin"])
        self.rows: dict[int, ApiClient] = {}
        self.clients: dict[bytes, Client] = {}  # by the sha256 of the secret
        self.open = False
        self.problem = ""  # why the last look failed
        self.looked_at = -inf
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="keys", daemon=True)

    def start(self) -> None:
        """Read the clients, say whether anybody may ask, then go on watching."""
        self.look()
        if self.open:
            log.warning("no API key exists: anybody on this machine may ask; `%s` ends that", ADD)
        elif not self.clients:
            log.warning("no API key exists, so nobody may ask: `%s` makes one", ADD)
        self.thread.start()

    def stop(self) -> None:
        """End the watch."""
        self.ended.set()
        if self.thread.ident is not None:
            self.thread.join(STOP_SECONDS)  # a look at a store that is silent is not waited for

    def watch(self) -> None:
        """Look again and again."""
        while not self.ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Read the clients; one that hasn't changed keeps its buckets."""
        try:
            self.take(self.read())
        except HoldfastError as error:
            self.failed(str(error))
        except Exception as error:  # whatever a database raises, the watch must live, or a revoked key would
            if not self.problem:
                log.exception("the API keys can't be read")
            self.failed(f"{type(error).__name__}: {error}")
        self.looked_at = time.monotonic()

    def failed(self, why: str) -> None:
        """Remember why the keys can't be read, and say so once."""
        if not self.problem:
            log.warning("the API keys can't be read: %s", why)
        self.problem = why.partition("\n")[0][:200]

    def take(self, found: list[ApiClient]) -> None:
        """Put what was read in place, each whole at once."""
        clients = {}
        for row in found:
            if row.revoked_at is None and (digest := self.digest(row)):
                known = self.clients.get(digest) if self.rows.get(row.id) == row else None
                clients[digest] = known or Client(row.name, row.scopes, row.projects, row.rows_per_second)
        opened = self.keyless and not found
        if self.open and not opened:
            log.info("the first API key was made: whoever has none is refused from now on")
        self.rows, self.clients, self.open, self.problem = {row.id: row for row in found}, clients, opened, ""

    def digest(self, row: ApiClient) -> bytes | None:
        """Return what a client's secret hashes to; a row that tells none lets nobody in, and is said once."""
        try:
            return bytes.fromhex(row.secret_sha256)
        except (ValueError, TypeError):
            if self.rows.get(row.id) != row:
                log.warning("the API key of %r is unreadable and lets nobody in; revoke it", row.name)
            return None

    def client(self, headers: Iterable[tuple[bytes, bytes]]) -> Client:
        """Return who asks, by one look into the table.

        Raises: Refused 401; 503 where it can't be known whether a key holds.
        """
        if time.monotonic() - self.looked_at > BLIND_SECONDS:
            raise Refused(503, "the API keys could not be read for a while", "store", reason="store")
        found = {name: value for name, value in headers if name in HEADERS}
        if self.open:
            if local(found.get(b"host", b"localhost")):
                return self.anybody
            raise Refused(401, f"without a key ask 127.0.0.1 or localhost; `{ADD}` makes one", "host", reason="key")
        secret = presented(found)
        client = self.clients.get(hashlib.sha256(secret).digest()) if secret else None
        if client is None:
            raise self.refusal(sent=bool(secret))
        return client

    def known(self, digest: bytes) -> Client | None:
        """Return the client whose secret has this hash, if its key holds."""
        return self.clients.get(digest)

    def refusal(self, *, sent: bool) -> Refused:
        """Say why nobody is known by what was sent, or by nothing."""
        if self.problem and (sent or not self.clients):
            return Refused(503, f"the API keys can't be read: {self.problem}", "store", reason="store")
        if sent:
            return Refused(401, f"this API key is unknown or revoked; `{ADD}` makes one", "authorization", reason="key")
        how = "send 'authorization: Bearer hf_…'" if self.clients else f"none exists, `{ADD}` makes one"
        return Refused(401, f"an API key is needed: {how}", "authorization", reason="key")


def presented(headers: dict[bytes, bytes]) -> bytes:
    """Return the secret that a request brings; a browser brings it as the password of HTTP Basic."""
    if b"x-api-key" in headers:
        return headers[b"x-api-key"]
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2]
    except NoBase64:
        return b""


def local(host: bytes) -> bool:
    """Whether a Host header names this machine: a page elsewhere whose name leads here is not let in."""
    return len(host) <= LONGEST_HOST and named_here(host)


@lru_cache(64)
def named_here(host: bytes) -> bool:
    """Whether a host, with a port or without, is this machine."""
    name = host.partition(b"]")[0][1:] if host.startswith(b"[") else host.partition(b":")[0]
    return loopback(name.decode("latin-1"))


def loopback(name: str) -> bool:
    """Whether a host's name or address is the loopback's."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
