"""What a version answered in the champion's shadow: logged, and returned to nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, func, select

from monitoring.records import Truth
from monitoring.store.engine import Database, reads
from monitoring.store.tables import labels, predictions, shadows
from monitoring.store.trials import Trial
from monitoring.store.wire import Wire

INTO = "shadows (trial, project, prediction_id, at, output)"
MEASURED = "UPDATE trials SET measured = ? WHERE id = ? AND ended_at IS NULL"


class Shadow(NamedTuple):
    """One answer in the shadow. `output` is its JSON."""

    trial: int
    project: str
    prediction_id: str
    at: datetime
    output: bytes


@dataclass(frozen=True)
class Pair:
    """Both answers to one row, with its label where it has come; the row as it was logged."""

    id: str
    features: bytes
    champion: Mapping[str, Any]
    challenger: Mapping[str, Any]
    label: Truth | None


class Shadows:
    """The shadows table. `append` is for one thread at a time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.wire = Wire(database)

    def append(self, rows: Sequence[Shadow], measured: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """Log answers and what was counted by trial, in one commit; return those of the counted trials that go on.

        An answer that is there already stays.

        Raises: Locked, and nothing was written; ServerUnavailable.
        """
        values = [
            (one.trial, one.project, one.prediction_id, self.wire.time(one.at), one.output.decode()) for one in rows
        ]
        going = set()
        with self.wire.transaction():
            self.wire.insert(INTO, values, "ON CONFLICT DO NOTHING")
            for trial, counts in measured.items():
                self.wire.execute(MEASURED, (orjson.dumps(counts).decode(), trial))
                if self.wire.cursor.rowcount:
                    going.add(trial)
        return going

    def close(self) -> None:
        """Close the connection; the next append opens a new one."""
        self.wire.close()

    @reads
    def pairs(self, connection: Connection, trial: Trial, limit: int, *, labelled: bool = False) -> list[Pair]:
        """Return the newest rows that both the champion and the trial's version answered, newest first."""
        same = (predictions.c.project == shadows.c.project) & (predictions.c.id == shadows.c.prediction_id)
        known = (labels.c.project == shadows.c.project) & (labels.c.prediction_id == shadows.c.prediction_id)
        log = shadows.join(predictions, same).join(labels, known, isouter=not labelled)
        query = (
            select(
                predictions.c.id,
                predictions.c.features,
                predictions.c.output.label("champion"),
                shadows.c.output.label("challenger"),
                labels.c.value.label("label"),
            )
            .select_from(log)
            .where(shadows.c.trial == trial.id, predictions.c.generation == trial.generation, predictions.c.trial == 0)
            .order_by(shadows.c.at.desc())
            .limit(limit)
        )
        return [Pair(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001

    @reads
    def count(self, connection: Connection, trial: int) -> int:
        """Return how many answers of a trial are logged."""
        return int(connection.scalar(select(func.count()).select_from(shadows).where(shadows.c.trial == trial)) or 0)
