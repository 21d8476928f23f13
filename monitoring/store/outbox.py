"""Alerts and events, written with their cause and kept until a receiver has taken them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, insert, select, update

from monitoring import digests
from monitoring.records import Message
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import incidents, outbox

PARK_AFTER = timedelta(hours=24)  # a message that nobody takes for so long waits for a person
PAGE = 20_000  # messages looked at in a round
_WAITING = (outbox.c.delivered_at.is_(None), outbox.c.parked_at.is_(None), outbox.c.digest.is_(None))


class Outbox:
    """The outbox table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def put(self, connection: Connection, messages: Iterable[Message]) -> list[Message]:
        """Queue messages that have no other cause to stand with; return those whose ids are new."""
        return put(connection, messages)

    @reads
    def due(self, connection: Connection, now: datetime, limit: int = 100) -> list[Message]:
        """Return messages to be sent by now, oldest first; failed ones come again at their next time."""
        return _all(connection, outbox.c.next_at <= now, limit=limit)

    @reads
    def channels(self, connection: Connection, now: datetime) -> list[str]:
        """Return the channels for which something is to be sent by now."""
        query = select(outbox.c.channel).where(*_WAITING, outbox.c.next_at <= now).distinct()
        return list(connection.scalars(query.order_by(outbox.c.channel)))

    @writes
    def take(self, connection: Connection, channel: str, now: datetime, limit: int = PAGE) -> list[Message]:
        """Return what a sender is to send to a channel by now, oldest first.

        Alerts that are new and many become one digest; what has been tried goes on by itself, under its own id, since
        its receiver may have it. For a while after a digest new alerts are gathered for the next one.
        """
        due = (outbox.c.channel == channel, outbox.c.next_at <= now)
        new = (*due, outbox.c.kind == "alert", outbox.c.tried_at.is_(None))
        fresh = _all(connection, *new, limit=limit)
        if fresh and not _gathering(connection, channel, now):
            if len(fresh) > digests.ABOVE:
                one = digests.digest(fresh, now)
                connection.execute(insert(outbox).values(**_row(one), tried_at=now))
                _mark(connection, fresh, digest=one.id)
            else:
                _mark(connection, fresh, tried_at=now)
        return _all(connection, *due, (outbox.c.kind != "alert") | outbox.c.tried_at.is_not(None), limit=limit)

    @writes
    def delivered(self, connection: Connection, id: str, now: datetime) -> None:  # noqa: A002
        """Note that the receiver has taken it, and with a digest all that it lists."""
        done = {"delivered_at": now, "attempts": outbox.c.attempts + 1, "error": None}
        those = ((outbox.c.id == id) | (outbox.c.digest == id), outbox.c.delivered_at.is_(None))
        connection.execute(update(outbox).where(*those).values(**done))

    @writes
    def failed(self, connection: Connection, id: str, error: str, next_at: datetime) -> None:  # noqa: A002
        """Note a failure; the message is tried again at `next_at`, or parked if that is too late (PARK_AFTER)."""
        row = connection.execute(select(outbox).where(outbox.c.id == id)).first()
        if row is None or row.delivered_at is not None:
            return
        parked_at = next_at if next_at - row.created_at > PARK_AFTER else None
        values = {"attempts": row.attempts + 1, "error": error, "next_at": next_at, "parked_at": parked_at}
        connection.execute(update(outbox).where(outbox.c.id == id).values(**values))

    @reads
    def parked(self, connection: Connection) -> list[tuple[Message, str]]:
        """Return the messages that nobody took, with the last error, oldest first."""
        query = select(outbox).where(outbox.c.parked_at.is_not(None)).order_by(outbox.c.created_at, outbox.c.id)
        return [(_message(row), row.error or "") for row in connection.execute(query)]

    @reads
    def waiting(self, connection: Connection) -> list[tuple[Message, str]]:
        """Return the messages that are still to be sent, with the last error, oldest first."""
        query = select(outbox).where(*_WAITING).order_by(outbox.c.created_at, outbox.c.id)
        return [(_message(row), row.error or "") for row in connection.execute(query)]

    @writes
    def unpark(self, connection: Connection, id: str, now: datetime) -> None:  # noqa: A002
        """Let a parked message be tried again, once more for the whole of PARK_AFTER."""
        again = {"parked_at": None, "next_at": now, "created_at": now}
        connection.execute(update(outbox).where(outbox.c.id == id, outbox.c.parked_at.is_not(None)).values(**again))


def _all(connection: Connection, *where: ColumnElement[bool], limit: int) -> list[Message]:
    query = select(outbox).where(*_WAITING, *where).order_by(outbox.c.created_at, outbox.c.id).limit(limit)
    return [_message(row) for row in connection.execute(query)]


def _gathering(connection: Connection, channel: str, now: datetime) -> bool:
    """Tell whether a digest has just been made for a channel."""
    since = (outbox.c.channel == channel, outbox.c.created_at > now - digests.GATHER, outbox.c.id.like("digest-%"))
    return connection.execute(select(outbox.c.id).where(*since).limit(1)).first() is not None


def _mark(connection: Connection, messages: Iterable[Message], **values: Any) -> None:
    """Write the same values to many messages."""
    named = update(outbox).where(outbox.c.id == bindparam("name")).values(**values)
    connection.execute(named, [{"name": one.id} for one in messages])


def told(connection: Connection, incident_id: int) -> list[Message]:
    """Return the newest alert about an incident of each channel, whether or not it has been taken yet."""
    about = (outbox.c.incident_id == incident_id, outbox.c.kind == "alert")
    query = select(outbox).where(*about).order_by(outbox.c.created_at, outbox.c.id)
    return list({row.channel: _message(row) for row in connection.execute(query)}.values())


def postpone(connection: Connection, incident_id: int, until: datetime) -> None:
    """Let what waits to be told of an incident wait until then, and have the whole of PARK_AFTER from then on."""
    waiting = (outbox.c.incident_id == incident_id, outbox.c.delivered_at.is_(None), outbox.c.kind == "alert")
    later = {"next_at": until, "created_at": until, "parked_at": None}
    connection.execute(update(outbox).where(*waiting).values(**later))


def put(connection: Connection, messages: Iterable[Message]) -> list[Message]:
    """Queue the messages whose ids are new, and return them; what tells of a snoozed incident waits as long.

    Raises: ValueError, two of them share an id, so that one would be lost.
    """
    offered = list(messages)
    ids = [message.id for message in offered]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two messages share an id: {sorted(ids)}")
    known = set(connection.scalars(select(outbox.c.id).where(outbox.c.id.in_(ids)))) if ids else set()
    new = _awake(connection, [message for message in offered if message.id not in known])
    if new:
        connection.execute(insert(outbox), [_row(message) for message in new])
    return new


def _awake(connection: Connection, messages: list[Message]) -> list[Message]:
    """Return the messages, those about a snoozed incident as of the end of its sleep."""
    about = {message.incident_id for message in messages if message.kind == "alert"} - {None}
    if not about:
        return messages
    asleep = (incidents.c.id.in_(about), incidents.c.snoozed_until.is_not(None))
    until = {row.id: row.snoozed_until for row in connection.execute(select(incidents).where(*asleep))}
    return [
        replace(one, created_at=max(one.created_at, until[one.incident_id]))
        if one.kind == "alert" and one.incident_id in until
        else one
        for one in messages
    ]


def _row(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "channel": message.channel,
        "kind": message.kind,
        "payload": message.payload,
        "created_at": message.created_at,
        "attempts": message.attempts,
        "next_at": message.created_at,
        "incident_id": message.incident_id,
    }


def _message(row: Row[Any]) -> Message:
    return Message(row.id, row.channel, row.kind, row.payload, row.created_at, row.attempts, row.incident_id)
