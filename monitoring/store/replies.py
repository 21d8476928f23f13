"""Which answer belongs to an Idempotency-Key: claimed in the transaction of its predictions, kept for a day."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import orjson

from monitoring.store.wire import Wire

KEPT = timedelta(days=1)
FORGET_SECONDS = 5.0
INTO = "replies (project, client, key, body_sha256, ids, at)"
STORED = "SELECT key, body_sha256, ids FROM replies WHERE project = ? AND client = ? AND "
OLD = "SELECT project, client, key FROM replies WHERE at < ? ORDER BY at LIMIT ?"


class Key(NamedTuple):
    """An Idempotency-Key with whose it is and the sha256 of the body it came with."""

    project: str
    client: str
    key: str
    body_sha256: str


class Claim(NamedTuple):
    """The rows that a key's holder would log."""

    key: Key
    ids: list[str]


class Replies:
    """The replies table, inside the journal's transaction."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.claimed, self.forgot_at = 0, time.monotonic()

    def claim(self, claims: Sequence[Claim], at: datetime) -> list[list[str] | None]:
        """Take each key for its rows; for one that is taken return the ids that answered it, None for another body.

        No two claims are to one key. A claim that got its key is given its own ids back; an answer may have none.
        """
        now = self.wire.time(at)
        rows = [(*claim.key, orjson.dumps(claim.ids).decode(), now) for claim in claims]
        self.claimed += len(rows)
        if self.wire.insert(INTO, rows, "ON CONFLICT DO NOTHING") == len(rows):
            return [claim.ids for claim in claims]
        holders: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
        for project, client in {claim.key[:2] for claim in claims}:
            keys = self.wire.listed([claim.key.key for claim in claims if claim.key[:2] == (project, client)])
            for key, body, ids in self.wire.all(STORED + self.wire.among("key"), (project, client, keys)):
                holders[project, client, key] = (body, orjson.loads(ids))
        taken = [holders[claim.key[:3]] for claim in claims]
        return [
            ids if body == claim.key.body_sha256 else None for claim, (body, ids) in zip(claims, taken, strict=True)
        ]

    def forget(self) -> None:
        """Delete keys older than a day, somewhat faster than they come."""
        now = time.monotonic()
        if now - self.forgot_at < FORGET_SECONDS:
            return
        limit, self.claimed, self.forgot_at = 2 * self.claimed + 100, 0, now
        before = self.wire.time(datetime.now(UTC) - KEPT)
        self.wire.execute(f"DELETE FROM replies WHERE (project, client, key) IN ({OLD})", (before, limit))  # noqa: S608
