"""Versions that answer beside the champion: in its shadow, or a share of its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, insert, select, update

from data.errors import LostRace, NoTrial
from monitoring.effects import NewDecision
from monitoring.records import Message
from monitoring.store import outbox
from monitoring.store.endings import Ending, end_once
from monitoring.store.engine import Database, reads, writes
from monitoring.store.ledger import add_decision
from monitoring.store.tables import generations, trials

Mode = Literal["shadow", "canary"]


@dataclass(frozen=True)
class Trial:
    """One trial. `generation`: the champion's; `share`: of the keys, 0 in the shadow; `margins`: as in Rollout.

    `measured`: what the service counted (monitoring.tally); `compared`: what the keeper made of it last.
    """

    id: int
    project: str
    version: str
    run_id: str
    manifest_sha256: str
    generation: int
    mode: Mode
    share: float
    margins: Mapping[str, Any]
    actor: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Ending | None = None
    reason: str | None = None
    measured: Mapping[str, Any] | None = None
    compared: Mapping[str, Any] | None = None


class Trials:
    """The trials table; each method is one transaction. A project has at most one open trial."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def start(self, connection: Connection, new: Trial, decision: NewDecision) -> Trial:
        """Begin a trial beside the generation that it names; it gets its number.

        Raises:
            NoTrial: another one is open.
            LostRace: another generation serves by now.
        """
        found = _all(connection, trials.c.project == new.project, trials.c.ended_at.is_(None))
        if found:
            said = f"version {found[0].version} of {new.project} is on trial already"
            raise NoTrial(f"{said}: holdfast trial stop {new.project}")
        query = select(generations.c.number).where(generations.c.project == new.project)
        newest = connection.scalar(query.order_by(generations.c.number.desc()).limit(1))
        if newest != new.generation:
            raise LostRace(f"{new.project} is at generation {newest} already, not at {new.generation}")
        values = {name: value for name, value in asdict(new).items() if name != "id"}
        key = connection.execute(insert(trials).values(**values)).inserted_primary_key
        assert key is not None
        inputs = {**decision.inputs, "trial": key[0]}
        line = NewDecision(decision.project, decision.kind, decision.subject, decision.reason, inputs)
        add_decision(connection, line, new.started_at)
        return _all(connection, trials.c.id == key[0])[0]

    @reads
    def get(self, connection: Connection, id: int) -> Trial | None:  # noqa: A002
        """Return one trial."""
        return next(iter(_all(connection, trials.c.id == id)), None)

    @reads
    def open(self, connection: Connection, project: str) -> Trial | None:
        """Return a project's trial that goes on."""
        return next(iter(_all(connection, trials.c.project == project, trials.c.ended_at.is_(None))), None)

    @reads
    def open_ones(self, connection: Connection) -> list[Trial]:
        """Return every trial that goes on."""
        return _all(connection, trials.c.ended_at.is_(None))

    @reads
    def history(self, connection: Connection, project: str) -> list[Trial]:
        """Return all trials of a project, oldest first."""
        return _all(connection, trials.c.project == project)

    @writes
    def compared(self, connection: Connection, id: int, found: Mapping[str, Any]) -> None:  # noqa: A002
        """Keep the last comparison of a trial that goes on."""
        open_one = (trials.c.id == id, trials.c.ended_at.is_(None))
        connection.execute(update(trials).where(*open_one).values(compared=dict(found)))

    @writes
    def end(
        self,
        connection: Connection,
        id: int,  # noqa: A002
        outcome: Ending,
        reason: str,
        now: datetime,
        *,
        decision: NewDecision,
        messages: Sequence[Message] = (),
    ) -> bool:
        """End a trial; return False, with nothing written, where it has ended."""
        if not end_once(connection, id, outcome, reason, now):
            return False
        add_decision(connection, decision, now)
        outbox.put(connection, messages)
        return True


def _all(connection: Connection, *where: ColumnElement[bool]) -> list[Trial]:
    rows = connection.execute(select(trials).where(*where).order_by(trials.c.id))
    return [Trial(**row._mapping) for row in rows]  # noqa: SLF001 (SQLAlchemy's own name for it)
