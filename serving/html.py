"""Pages without a script: every value from outside is escaped, and the policy lets nothing run."""

from base64 import b64encode
from hashlib import sha256
from html import escape

from starlette.responses import HTMLResponse

from serving.style import STYLE

OWN_STYLE = b64encode(sha256(STYLE.encode()).digest()).decode()  # so that no style from data applies either
POLICY = (
    f"default-src 'none'; style-src 'sha256-{OWN_STYLE}'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def page(title: str, body: str, status: int = 200, refresh: int = 0) -> HTMLResponse:
    """Return a whole page, which a browser asks for again after `refresh` seconds; 0: never.

    `body` is HTML whose values the caller has escaped.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    content = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{again}<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    )
    return HTMLResponse(content, status, HEADERS)


def link(url: str, title: str) -> str:
    """Return a link, or only its title where the address is no web address of ours."""
    if not url.startswith(("http://", "https://", "/")) or url.startswith("//"):
        return escape(title)
    return f'<a href="{escape(url, quote=True)}">{escape(title)}</a>'


def tag(name: str, text: str, css: str = "") -> str:
    """Return an element around escaped text."""
    kind = f' class="{escape(css, quote=True)}"' if css else ""
    return f"<{name}{kind}>{escape(text)}</{name}>"


def note(kind: str, title: str, text: str) -> str:
    """Return something that people should see first."""
    return f'<div class="note {escape(kind, quote=True)}"><b>{escape(title)}</b><br>{escape(text)}</div>'


def pill(word: str, kind: str) -> str:
    """Return a word on a coloured ground."""
    return tag("span", word, f"pill {kind}")
