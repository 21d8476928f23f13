"""People at browsers: a cookie in the place of a key, and a token that only forms of ours hold.

A cookie is worth nothing but for pages of ours, and no script can read it. It is not enough to act: a browser sends it
by itself, so every form brings a token besides, which is a code over the cookie that only this process can make.
"""

import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from math import ceil

from serving.keys import Client, Keys
from serving.refusals import Refused

SECONDS = 8 * 3600.0  # a session's life, whatever is done in it: a working day
MOST = 1000  # sessions at a time; the oldest goes first
OF_ONE = 50  # of one key, so that nobody's logins end those of others
TRIES = 10  # wrong keys from one address before it waits
PAUSE = 6.0  # seconds, for one more try each
ADDRESSES = 10_000  # remembered at a time
COOKIE = re.compile(rb"[A-Za-z0-9_-]{43}")
SITE = "SameSite=Lax"  # sent along with a link in an alert, wherever that is read; with no form of another site


class Sessions:
    """Who has logged in, in memory only: a restart logs everybody out. The event loop alone opens and closes."""

    def __init__(self, keys: Keys, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.keys, self.clock = keys, clock
        self.name = f"holdfast-{port}"  # browsers keep cookies by host, and another home may have another port
        self.held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()  # cookie -> the key's hash, its end
        self.secret = secrets.token_bytes(32)

    def open(self, key: str) -> str:
        """Return the cookie of a new session.

        Raises: Refused 401, nobody has this key; 503, it can't be known.
        """
        self.keys.client([(b"x-api-key", key.encode()), (b"host", b"")])
        digest = sha256(key.encode()).digest()
        mine = [cookie for cookie, (of, _) in self.held.items() if of == digest]
        for cookie in mine[: max(len(mine) + 1 - OF_ONE, 0)]:
            self.close(cookie)
        self.held[cookie := secrets.token_urlsafe(32)] = (digest, self.clock() + SECONDS)
        while len(self.held) > MOST:
            self.held.popitem(last=False)
        return cookie

    def close(self, cookie: str) -> None:
        """End a session."""
        self.held.pop(cookie, None)

    def client(self, cookie: str) -> Client | None:
        """Return whose session it is, as long as it lasts and the key holds."""
        digest, end = self.held.get(cookie, (b"", 0.0))
        if self.clock() >= end:
            self.close(cookie)
            return None
        return self.keys.known(digest)

    def cookie(self, headers: Mapping[bytes, bytes]) -> str:
        """Return the cookie of ours that a request brings, whoever made it up; empty: none.

        The one for https first: a browser may hold another from before, or from a neighbour's host.
        """
        parts = (part.strip().partition(b"=") for part in headers.get(b"cookie", b"").split(b";"))
        found = {name: value for name, _, value in parts if COOKIE.fullmatch(value)}
        return (found.get(f"__Host-{self.name}".encode()) or found.get(self.name.encode()) or b"").decode()

    def header(self, cookie: str, *, secure: bool) -> str:
        """Return the header that gives a browser its cookie, or takes it away where `cookie` is empty."""
        name = f"__Host-{self.name}; Secure" if secure else self.name
        name, _, flag = name.partition("; ")
        lasts = int(SECONDS) if cookie else 0
        parts = [f"{name}={cookie}", "Path=/", f"Max-Age={lasts}", "HttpOnly", SITE]
        return "; ".join([*parts, *([flag] if flag else [])])

    def token(self, cookie: str) -> str:
        """Return what the forms of a browser hold."""
        return hmac.new(self.secret, cookie.encode(), sha256).hexdigest()

    def check(self, headers: Mapping[bytes, bytes], token: str) -> None:
        """Take a form only as one of ours, sent by the browser that got it.

        Raises: Refused 403.
        """
        cookie, site = self.cookie(headers), headers.get(b"sec-fetch-site", b"same-origin")
        ours = bool(cookie) and hmac.compare_digest(self.token(cookie).encode(), token.encode())
        if not ours or site not in (b"same-origin", b"none"):
            why = "this form was not sent from a page of ours, or the service has started anew: load the page again"
            raise Refused(403, why, "token", reason="form")


class Attempts:
    """How often an address has sent a wrong key: a few are free, then one each few seconds.

    Keys can't be guessed (256 bits); this bounds the noise. Right keys cost nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.free_at: OrderedDict[str, float] = OrderedDict()  # when all tries are free again

    def admit(self, address: str) -> None:
        """Let an address try.

        Raises: Refused 429.
        """
        wait = self.free_at.get(network(address), 0.0) - self.clock() - (TRIES - 1) * PAUSE
        if wait > 0:
            raise Refused(429, "too many wrong keys from this address", "key", reason="rate", retry_after=ceil(wait))

    def failed(self, address: str) -> None:
        """Count a wrong key."""
        name, now = network(address), self.clock()
        self.free_at[name] = max(self.free_at.pop(name, 0.0), now) + PAUSE
        while len(self.free_at) > ADDRESSES:
            self.free_at.popitem(last=False)


def network(address: str) -> str:
    """Return an address, or the network that one household has of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
