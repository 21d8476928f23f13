"""What a client is told of its rows: JSON put together from what the log keeps, byte for byte the same each time."""

from collections.abc import Iterable

import orjson

from monitoring.store.journal import Logged


def answer_head(project: str, generation: int, version: str) -> bytes:
    """Return the beginning of an answer in JSON."""
    named = orjson.dumps({"project": project, "generation": generation, "version": version})
    return named[:-1] + b',"predictions":['


def newest(rows: Iterable[Logged]) -> int:
    """Return the generation that an answer names: rows that an earlier one answered carry theirs themselves."""
    return max([row.generation for row in rows])


def answer_json(head: bytes, generation: int, rows: list[Logged]) -> bytes:
    """Return the body of an answer."""
    return head + b",".join([row_json(row, generation) for row in rows]) + b"]}"


def row_json(row: Logged, generation: int) -> bytes:
    """Return one row of an answer; who answered stands with a row that the answer's generation did not answer."""
    body = b'{"id":' + orjson.dumps(row.id) + b"," + row.output[1:]
    if row.generation == generation and not row.trial:
        return body
    named = orjson.dumps({"generation": row.generation, **tried_by(row)})
    return body[:-1] + b"," + named[1:]


def tried_by(row: Logged) -> dict[str, int | str]:
    """Name the version on trial that answered a row; nothing where the champion did."""
    return {"version": row.version or "unknown", "trial": row.trial} if row.trial else {}
