"""Where alerts may go: the operator's addresses only, over TLS, or to this machine where that is allowed."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Schemes:
    """Those that never speak in the open, and those that always do, which are for this machine at most."""

    tls: frozenset[str]
    open: frozenset[str]


HTTP = Schemes(frozenset({"https"}), frozenset({"http"}))
APPRISE = Schemes(
    frozenset(
        {
            *("slack", "workflow", "workflows", "discord", "pagerduty", "https"),
            *("jsons", "xmls", "forms", "mailtos", "mmosts", "rockets", "matrixs", "ntfys", "gotifys"),
            *("opsgenie", "splunk", "victorops", "signl4", "pagertree", "spike", "tgram", "wxteams", "webex", "zulip"),
            *("gchat", "pover", "twilio", "sns", "ses"),
        }
    ),
    frozenset({"http", "json", "xml", "form"}),
)  # a test holds them against Apprise's own list


def objection(url: str, known: Schemes, *, loopback: bool) -> str:
    """Return why no alert may be sent to an address, empty if one may; the address, a secret, is not said."""
    try:
        where = urlsplit(url)
        host, scheme, _ = where.hostname or "", where.scheme.lower(), where.port
    except ValueError:
        return "it can't be read as an address"
    if not host:
        return "it reads like https://host/… or, for Apprise, like slack://…"
    if scheme in known.tls:
        return ""
    if scheme not in known.open:
        return f"{scheme}:// is not known to go out over TLS; known are {', '.join(sorted(known.tls))}"
    if not local(host):
        return f"{scheme}:// would send it in the open: use {'https' if scheme == 'http' else scheme + 's'}://"
    return "" if loopback else f"{scheme}:// to this machine needs HOLDFAST_ALERTS_LOOPBACK=true"


def local(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
