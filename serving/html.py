"""Pages without a script: every value from outside is escaped, and the policy lets nothing run."""

from html import escape

from starlette.responses import HTMLResponse

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STYLE = """
:root { color-scheme: light dark; --paper: #f7f6f3; --card: #fff; --ink: #1d2126; --soft: #6a7078; --line: #e4e1da;
  --ok: #2f8f5b; --drift: #d9902f; --degraded: #c8553d; --fault: #9b2f5f; --failed: #5b4b8a; --quiet: #c3c5c7;
  --link: #1f5f8b; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --card: #1d2125; --ink: #e8e6e1; --soft: #979da4;
  --line: #2e3338; --ok: #4fb37c; --drift: #e0a24a; --degraded: #e07860; --fault: #d0649a; --failed: #9484c8;
  --quiet: #4a5057; --link: #7db8e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 28px 20px 60px; }
header { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: baseline; margin-bottom: 22px; }
h1 { font-size: 22px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 0; }
h3 { font-size: 12px; margin: 20px 0 6px; color: var(--soft); font-weight: 600; text-transform: uppercase;
  letter-spacing: .06em; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
nav { margin-left: auto; white-space: nowrap; display: flex; gap: 16px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 22px 20px;
  margin-bottom: 18px; }
.top { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.soft { color: var(--soft); } .small { font-size: 13px; }
.pill { display: inline-block; border-radius: 99px; padding: 1px 10px; font-size: 12px; font-weight: 600; color: #fff;
  background: var(--soft); }
.ok { background: var(--ok); } .drift { background: var(--drift); } .degraded { background: var(--degraded); }
.fault { background: var(--fault); } .failed { background: var(--failed); } .insufficient { background: var(--quiet); }
.line { display: grid; grid-template-columns: 100px 1fr; gap: 4px 10px; align-items: center; margin: 4px 0; }
.cells { display: flex; flex-wrap: wrap; gap: 3px; }
.cells i { width: 13px; height: 20px; border-radius: 3px; } .cells i.swap { margin-left: 9px; }
.legend i { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin: 0 5px 0 12px; }
.legend i:first-child { margin-left: 0; }
.note { border-left: 4px solid var(--quiet); padding: 2px 0 2px 12px; margin: 8px 0; background: none; }
.note.fault, .note.refused-data, .note.registry { border-color: var(--fault); background: none; }
.note.drift { border-color: var(--drift); background: none; }
.note.degraded, .note.retraining { border-color: var(--degraded); background: none; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td { padding: 5px 20px 5px 0; border-top: 1px solid var(--line); vertical-align: top; }
td.when { width: 1%; white-space: nowrap; color: var(--soft); font-variant-numeric: tabular-nums; }
td.kind { width: 1%; white-space: nowrap; font-weight: 600; } tr:first-child td { border-top: 0; }
p { margin: 8px 0 0; }
td, p, h2 { overflow-wrap: anywhere; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px;
  overflow: auto; max-height: 340px; margin: 8px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: 9px 0; }
summary { cursor: pointer; } .verb { display: inline-block; min-width: 46px; font: 600 12px ui-monospace, monospace; }
.verb.post { color: var(--drift); } .verb.get { color: var(--ok); }
"""


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
    headers = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "cache-control": "no-store"}
    return HTMLResponse(content, status, headers)


def link(url: str, title: str) -> str:
    """Return a link, or only its title where the address is no web address of ours."""
    if not url.startswith(("http://", "https://", "/")) or url.startswith("//"):
        return escape(title)
    return f'<a href="{escape(url, quote=True)}">{escape(title)}</a>'


def tag(name: str, text: str, css: str = "") -> str:
    """Return an element around escaped text."""
    return f'<{name} class="{escape(css, quote=True)}">{escape(text)}</{name}>'
