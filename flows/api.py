"""Prefect's REST API over plain httpx: JSON in, JSON out, short waits.

Prefect's own client starts a server of its own when no URL is set, retries for minutes and takes seconds to
import; a command, the keeper and an event must do none of that.
"""

import base64
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import httpx

from data.errors import HoldfastError, ServerUnavailable

TRANSIENT = {429, 502, 503, 504}
"""Answers of a server that is there but busy: SQLite locked, or still starting."""


class Refused(HoldfastError):
    """Prefect understood the request and said no; the message is its own."""

    def __init__(self, status: int, what: str, detail: str) -> None:
        self.status = status
        super().__init__(f"Prefect refused {what} ({status}): {detail[:500]}")


class Api:
    """One Prefect server. `timeout` is seconds for one answer, `patience` seconds for asking a busy server again.

    On SQLite the server is busy for seconds at a time, most of all after its start.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, patience: float = 20.0) -> None:
        self.url = url.rstrip("/")
        self.patience = patience
        near = httpx.URL(self.url).host in {"127.0.0.1", "localhost", "::1"}  # a proxy can't reach our loopback
        headers = credentials(os.environ)
        self._http = httpx.Client(base_url=self.url, timeout=timeout, headers=headers, trust_env=not near)

    def close(self) -> None:
        """Drop the connections."""
        self._http.close()

    def call(self, method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"], path: str, body: Any = None) -> Any:
        """Return the decoded answer, or None when it is empty.

        Raises:
            ServerUnavailable: nobody answers, or something else does, or the server stays busy.
            Refused: the server says 4xx or 500.
        """
        deadline = time.monotonic() + self.patience
        pause = 0.2
        while True:
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.RequestError as error:
                raise ServerUnavailable(f"Prefect does not answer at {self.url}: {error}") from error
            if answer.status_code not in TRANSIENT:
                break
            if time.monotonic() + pause > deadline:
                raise ServerUnavailable(f"Prefect at {self.url} is busy: {answer.status_code}")
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
        if answer.is_error:
            raise Refused(answer.status_code, f"{method} {path}", explanation(answer))
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise ServerUnavailable(f"what answers at {self.url} is no Prefect server: it sends no JSON") from error

    def find(self, path: str) -> Any | None:
        """GET, where "not there" is an answer: None."""
        try:
            return self.call("GET", path)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def healthy(self) -> bool:
        """Whether the server is up."""
        try:
            return self.call("GET", "/health") is True
        except (ServerUnavailable, Refused):
            return False


@contextmanager
def opened(url: str, *, timeout: float = 10.0, patience: float = 20.0) -> Iterator[Api]:
    """Yield an Api and close it."""
    api = Api(url, timeout=timeout, patience=patience)
    try:
        yield api
    finally:
        api.close()


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the header for a server that asks for one, from Prefect's own variables."""
    if key := environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def explanation(answer: httpx.Response) -> str:
    """Return what the server said of an error, else its text."""
    try:
        said = answer.json()
    except ValueError:
        return answer.text
    return str(said.get("detail") or said.get("exception_detail") or said) if isinstance(said, dict) else str(said)


def run_url(api_url: str, run: str) -> str:
    """Return the page of a flow run."""
    return f"{api_url.rstrip('/').removesuffix('/api')}/runs/flow-run/{run}"
