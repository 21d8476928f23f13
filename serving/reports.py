"""Stored reports for people: other tools' HTML, in which values from data stand unescaped."""

from pathlib import Path

from starlette.responses import FileResponse

from serving.refusals import Refused

# the page's scripts run in an origin of their own, and reach nothing
POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data:; font-src data:"
)
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
}


def report(folder: Path, path: str) -> FileResponse:
    """Return a file below the reports' folder.

    Raises: Refused 404 for anything else, links that lead out of it included.
    """
    missing = Refused(404, f"no report {path[:200]!r}; one follows its verdict within a minute or so", "path")
    if "\0" in path:
        raise missing
    root = folder.resolve()
    try:
        found = (root / path).resolve()
        servable = found.is_relative_to(root) and found.is_file() and found.suffix in KINDS
    except (OSError, RuntimeError) as error:  # a name too long for the file system, a loop of links
        raise missing from error
    if not servable:
        raise missing
    headers = {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    return FileResponse(found, media_type=KINDS[found.suffix], headers=headers)
