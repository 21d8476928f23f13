"""Changes that people called harmless, from their word to the new reference."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import acceptances


@dataclass(frozen=True)
class Acceptance:
    """A person's word that an incident's change is harmless. `outcome`: what came of it, `revision`: if it did."""

    id: int
    project: str
    incident_id: int
    reason: str
    actor: str
    asked_at: datetime
    run: str | None = None  # the orchestrator's run that makes the new reference
    ended_at: datetime | None = None
    outcome: str | None = None
    revision: int | None = None


class Acceptances:
    """The acceptances table; each method is one transaction. One that succeeds is ended by Store.accept."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def ask(
        self, connection: Connection, project: str, incident_id: int, *, reason: str, actor: str, now: datetime
    ) -> tuple[Acceptance, bool]:
        """Return the open acceptance of an incident, and whether this call wrote it."""
        query = select(acceptances).where(acceptances.c.incident_id == incident_id, acceptances.c.ended_at.is_(None))
        row = connection.execute(query).first()
        if row is not None:
            return _acceptance(row), False
        values = {"project": project, "incident_id": incident_id, "reason": reason, "actor": actor, "asked_at": now}
        connection.execute(insert(acceptances).values(**values))
        return _acceptance(connection.execute(query).one()), True

    @reads
    def get(self, connection: Connection, id: int) -> Acceptance | None:  # noqa: A002
        """Return one acceptance."""
        row = connection.execute(select(acceptances).where(acceptances.c.id == id)).first()
        return None if row is None else _acceptance(row)

    @reads
    def of(self, connection: Connection, incident_id: int) -> list[Acceptance]:
        """Return every acceptance that an incident has had, oldest first."""
        query = select(acceptances).where(acceptances.c.incident_id == incident_id).order_by(acceptances.c.id)
        return [_acceptance(row) for row in connection.execute(query)]

    @reads
    def open_ones(self, connection: Connection) -> list[Acceptance]:
        """Return the acceptances that have not ended, oldest first."""
        query = select(acceptances).where(acceptances.c.ended_at.is_(None)).order_by(acceptances.c.id)
        return [_acceptance(row) for row in connection.execute(query)]

    @writes
    def note_run(self, connection: Connection, id: int, run: str) -> None:  # noqa: A002
        """Note the run that sees to it."""
        connection.execute(update(acceptances).where(acceptances.c.id == id).values(run=run))

    @writes
    def end(self, connection: Connection, id: int, outcome: str, now: datetime) -> bool:  # noqa: A002
        """End one without a new reference; return False where it had ended."""
        waiting = (acceptances.c.id == id, acceptances.c.ended_at.is_(None))
        done = {"outcome": outcome, "ended_at": now}
        return connection.execute(update(acceptances).where(*waiting).values(**done)).rowcount == 1


def granted(connection: Connection, incident_id: int, revision: int, outcome: str, now: datetime) -> None:
    """End what is open of an incident, in the transaction of its new reference."""
    waiting = (acceptances.c.incident_id == incident_id, acceptances.c.ended_at.is_(None))
    done = {"outcome": outcome, "ended_at": now, "revision": revision}
    connection.execute(update(acceptances).where(*waiting).values(**done))


def _acceptance(row: Row[Any]) -> Acceptance:
    return Acceptance(
        row.id,
        row.project,
        row.incident_id,
        row.reason,
        row.actor,
        row.asked_at,
        row.run,
        row.ended_at,
        row.outcome,
        row.revision,
    )
