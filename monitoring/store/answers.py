"""What an answer does to the approvals table: of all answers to one question exactly one holds.

These run in somebody else's transaction: a promotion answers the question that it settles, and makes the others void.
"""

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, or_, select, update

from data.errors import Answered
from monitoring.effects import NewDecision
from monitoring.records import Generation
from monitoring.store.tables import approvals

Answer = Literal["approved", "rejected", "expired", "void"]


def answer_once(connection: Connection, id_: int, answer: Answer, actor: str, why: str, now: datetime) -> bool:
    """Write an answer; return False, with nothing changed, where there is one already."""
    open_one = (approvals.c.id == id_, approvals.c.answered_at.is_(None))
    said = {"answer": answer, "actor": actor, "why": why, "answered_at": now}
    return connection.execute(update(approvals).where(*open_one).values(**said)).rowcount == 1


def answer_by(connection: Connection, new: Generation, approval: int | None) -> list[NewDecision]:
    """Answer the open question about the version that now serves; those asked against another champion become void.

    `approval`: the question by whose answer it serves, which must be open still.

    Raises: Answered.
    """
    waiting = (approvals.c.project == new.project, approvals.c.answered_at.is_(None))
    asked = connection.execute(select(approvals.c.id).where(*waiting, approvals.c.version == new.version)).scalar()
    if approval is not None and asked != approval:
        raise Answered(f"version {new.version} of {new.project} was answered meanwhile, so nothing was promoted")
    if asked is not None:
        answer_once(connection, asked, "approved", new.actor, new.reason, new.at)
    others = or_(approvals.c.champion.is_(None), approvals.c.champion != new.version)
    stale = connection.execute(select(approvals).where(*waiting, approvals.c.version != new.version, others)).all()
    made = []
    for row in stale:
        why = f"version {new.version} serves since, and it was judged against {row.champion or 'no champion'}"
        answer_once(connection, row.id, "void", new.actor, why, new.at)
        inputs = {"approval": row.id, "version": row.version, "generation": new.number}
        made.append(NewDecision(new.project, "void", f"version {row.version}", why, inputs))
    return made
