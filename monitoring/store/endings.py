"""How a trial ends: once, with a reason. These run in somebody else's transaction."""

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select, update

from monitoring.effects import NewDecision
from monitoring.records import Generation
from monitoring.store.tables import trials

Ending = Literal["promoted", "superseded", "stopped", "rejected", "behind", "unfit"]


def end_once(connection: Connection, id_: int, outcome: Ending, reason: str, now: datetime) -> bool:
    """Write an ending; return False, with nothing changed, where there is one already."""
    open_one = (trials.c.id == id_, trials.c.ended_at.is_(None))
    said = {"outcome": outcome, "reason": reason, "ended_at": now}
    return connection.execute(update(trials).where(*open_one).values(**said)).rowcount == 1


def end_by(connection: Connection, new: Generation) -> list[NewDecision]:
    """End the trial beside the generation before: its version serves now, or another does."""
    found = connection.execute(
        select(trials).where(trials.c.project == new.project, trials.c.ended_at.is_(None))
    ).first()
    if found is None:
        return []
    outcome: Ending = "promoted" if found.version == new.version else "superseded"
    why = f"trial {found.id} {outcome}: version {new.version} serves as generation {new.number}"
    end_once(connection, found.id, outcome, why, new.at)
    inputs = {"trial": found.id, "outcome": outcome, "version": found.version, "generation": new.number}
    return [NewDecision(new.project, "trial", f"version {found.version}", why, inputs)]
