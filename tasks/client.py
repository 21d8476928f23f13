"""The running service, asked over HTTP as any client asks it: rows in, answers out, labels later."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx
import numpy as np

from data.errors import HoldfastError, ServerUnavailable
from data.schema import Rows, Schema, length

REQUEST = 50  # rows: pictures and windows are long in JSON, and a body is 8 MiB at most
PATIENCE = 5  # times that a request is sent again, where the service asks to wait


class Declined(HoldfastError):
    """The service did not take a request, and sending it again would not help; the message is its own."""


class Service:
    """A connection to the service, with an API key where one is needed."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30, headers={"x-api-key": key} if key else {})

    def __enter__(self) -> Self:
        """Return the connection; the block ends it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.http.close()

    def predict(self, project: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the answer to rows as `asked` gives them.

        Raises: ServerUnavailable, Declined.
        """
        return self.post(f"/v1/{project}/predict", {"rows": rows})

    def label(self, project: str, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Say what turned out to be true; return how many of the labels were new, repeated, corrected, unknown.

        Raises: ServerUnavailable, Declined.
        """
        return self.post(f"/v1/{project}/labels", {"labels": labels})

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON and return JSON; wait and send again where the service asks for that."""
        for left in reversed(range(PATIENCE)):
            try:
                answer = self.http.post(path, json=body)
            except httpx.HTTPError as error:
                raise ServerUnavailable(f"the service at {self.url} does not answer: {error}") from error
            if answer.status_code not in (429, 503) or not left:
                break
            time.sleep(float(answer.headers.get("retry-after", "1")))
        if answer.is_success:
            return dict(answer.json())
        told = f"{path}: {in_its_words(answer)}"
        if answer.status_code in (401, 403):
            raise Declined(f"{told}; HOLDFAST_SERVICE_KEY names the key to ask with")
        raise (ServerUnavailable if answer.status_code >= 500 else Declined)(told)


def in_its_words(answer: httpx.Response) -> str:
    """Return why the service refused, and where in the request."""
    try:
        said = answer.json()
        return str(said["error"]) + (f" ({said['where']})" if said.get("where") else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {answer.status_code}"


def asked(schema: Schema, rows: Rows) -> list[dict[str, Any]]:
    """Return rows as requests give them, by the schema's names, without the target; a missing identifier is left out.

    Times are told with their offset.
    """
    columns = {name: column.to_request(rows[name]) for name, column in schema.features.items()}
    for name in schema.identifiers:
        if name in rows:
            values = rows[name]
            columns[name] = [f"{at}Z" for at in values] if values.dtype.kind == "M" else values.tolist()
    return [{name: values[i] for name, values in columns.items()} for i in range(length(rows))]


def told(schema: Schema, rows: Rows, at: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Return the labels of rows as requests give them; `at`: datetime64 (N,), when each became known, else now."""
    said = schema.columns[schema.target].to_request(rows[schema.target])
    times = [{}] * len(said) if at is None else [{"time": f"{moment}Z"} for moment in at]
    return [
        {"id": key, "label": label, **time_}
        for key, label, time_ in zip(rows[schema.key].tolist(), said, times, strict=True)
    ]
