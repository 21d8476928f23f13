"""Versions of which people were asked whether they may serve, and what they answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from data.errors import LostRace
from monitoring.effects import NewDecision
from monitoring.records import Message
from monitoring.store import outbox
from monitoring.store.answers import Answer, answer_once
from monitoring.store.engine import Database, reads, writes
from monitoring.store.ledger import add_decision, serving, settle_intent
from monitoring.store.tables import approvals


@dataclass(frozen=True)
class Approval:
    """One question. `champion`: what the version was judged against; `run`: the orchestrator's, that shows the form.

    `closed_at`: when the form and the registry had been told of the answer.
    """

    id: int
    project: str
    version: str
    champion: str | None
    reason: str
    asked_at: datetime
    expires_at: datetime
    told_at: datetime | None = None
    reminded_at: datetime | None = None
    run: str | None = None
    answered_at: datetime | None = None
    answer: Answer | None = None
    actor: str | None = None
    why: str | None = None
    closed_at: datetime | None = None


class Approvals:
    """The approvals table; each method is one transaction. A version has at most one open question."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def ask(
        self,
        connection: Connection,
        decision: NewDecision,
        *,
        version: str,
        champion: str | None,
        now: datetime,
        expires_at: datetime,
        token: int | None = None,
        intent: int | None = None,
    ) -> tuple[Approval, bool]:
        """Return the open question about a version, and whether this call asked it.

        The decision, and the end of the intent that led here, stand or fall with it.

        Raises:
            LostRace: `champion` is not what serves.
            StaleToken: `token` is given and is no longer the lease's.
        """
        project, serves = decision.project, serving(connection, decision.project)
        if (serves.version if serves else None) != champion:
            against = f"version {champion}" if champion else "no champion"
            raise LostRace(f"version {version} was judged against {against}, and that serves no more: judge anew")
        settle_intent(connection, project, token, intent, "challenger", now, why=decision.reason)
        same = (approvals.c.project == project, approvals.c.version == version, approvals.c.answered_at.is_(None))
        if found := _all(connection, *same):
            return found[0], False
        values = {
            "project": project,
            "version": version,
            "champion": champion,
            "reason": decision.reason,
            "asked_at": now,
            "expires_at": expires_at,
        }
        connection.execute(insert(approvals).values(**values))
        add_decision(connection, decision, now)
        return _all(connection, *same)[0], True

    @reads
    def get(self, connection: Connection, id: int) -> Approval | None:  # noqa: A002
        """Return one question."""
        return next(iter(_all(connection, approvals.c.id == id)), None)

    @reads
    def latest(self, connection: Connection, project: str, version: str) -> Approval | None:
        """Return the last question about a version, open or answered."""
        found = _all(connection, approvals.c.project == project, approvals.c.version == version)
        return found[-1] if found else None

    @reads
    def open_ones(self, connection: Connection, project: str | None = None) -> list[Approval]:
        """Return the questions that wait for an answer, oldest first."""
        where = [] if project is None else [approvals.c.project == project]
        return _all(connection, approvals.c.answered_at.is_(None), *where)

    @reads
    def unclosed(self, connection: Connection) -> list[Approval]:
        """Return the questions with which there is something left to do, oldest first: open ones, and news to tell."""
        return _all(connection, approvals.c.closed_at.is_(None))

    @reads
    def recent(self, connection: Connection, project: str | None, n: int) -> list[Approval]:
        """Return the last `n` questions of a project, or of all, newest first."""
        query = select(approvals).order_by(approvals.c.id.desc()).limit(n)
        query = query if project is None else query.where(approvals.c.project == project)
        return [_approval(row) for row in connection.execute(query)]

    @writes
    def note_run(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        run: str,
        now: datetime,
        messages: Sequence[Message] = (),
    ) -> bool:
        """Note the run that shows the form, and tell people of it; return False where an answer came before."""
        return _note(connection, id, messages, run=run, told_at=now)

    @writes
    def told(self, connection: Connection, id: int, now: datetime, messages: Sequence[Message]) -> bool:  # noqa: A002
        """Tell people of a question that has no form; return False where an answer came before."""
        return _note(connection, id, messages, told_at=now)

    @writes
    def reminded(self, connection: Connection, id: int, now: datetime, messages: Sequence[Message]) -> bool:  # noqa: A002
        """Tell people once more; return False where that was done, or an answer came before."""
        found = _all(connection, approvals.c.id == id, approvals.c.reminded_at.is_(None))
        return bool(found) and _note(connection, id, messages, reminded_at=now)

    @writes
    def answer(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        answer: Answer,
        *,
        actor: str,
        why: str,
        now: datetime,
        decision: NewDecision,
        messages: Sequence[Message] = (),
    ) -> bool:
        """Answer a question; return False, with nothing written, where there is an answer already.

        "approved" is not for here: the promotion that keeps it says so (Ledger.append_generation).
        """
        if not answer_once(connection, id, answer, actor, why, now):
            return False
        add_decision(connection, decision, now)
        outbox.put(connection, messages)
        return True

    @writes
    def closed(self, connection: Connection, id: int, now: datetime) -> None:  # noqa: A002
        """Note that the form and the registry know of the answer."""
        connection.execute(update(approvals).where(approvals.c.id == id).values(closed_at=now))


def _note(connection: Connection, id_: int, messages: Sequence[Message], **values: Any) -> bool:
    """Change an open question and queue what people are told with it."""
    open_one = (approvals.c.id == id_, approvals.c.answered_at.is_(None))
    if connection.execute(update(approvals).where(*open_one).values(**values)).rowcount == 0:
        return False
    outbox.put(connection, messages)
    return True


def _all(connection: Connection, *where: ColumnElement[bool]) -> list[Approval]:
    return [_approval(row) for row in connection.execute(select(approvals).where(*where).order_by(approvals.c.id))]


def _approval(row: Row[Any]) -> Approval:
    return Approval(**row._mapping)  # noqa: SLF001 (SQLAlchemy's own name for it)
