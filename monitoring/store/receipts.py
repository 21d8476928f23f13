"""What the loop's decisions turned out to be worth, each settled once, and the logged rows that settle them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, func, insert, select

from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import labels, predictions, receipts

Kind = Literal["promotion", "rollback", "refusal"]
Paid = Literal["yes", "no", "unclear"]
SPREAD, STRIDE = 2**16, 40_503  # the golden ratio of 2 ** 16: multiples of it leave no gap (Knuth, TAOCP 3, 6.4)


@dataclass(frozen=True)
class Receipt:
    """One decision, settled. `version` was promoted over `against`, or refused beside it.

    `generation`: whose rows settled it; `paid`: whether it was right, as far as the rows show; `detail`: JSON values,
    of which `sentence` says it all.
    """

    project: str
    kind: Kind
    version: str
    against: str
    generation: int
    decided_at: datetime
    settled_at: datetime
    paid: Paid
    detail: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, int]:
        """What there is one receipt for."""
        return self.kind, self.version, self.generation


class Receipts:
    """The receipts table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def put(self, connection: Connection, new: Receipt) -> bool:
        """Write a receipt; return False, with nothing changed, where its decision has one."""
        same = select(receipts.c.id).where(
            receipts.c.project == new.project,
            receipts.c.kind == new.kind,
            receipts.c.version == new.version,
            receipts.c.generation == new.generation,
        )
        if connection.execute(same).first() is not None:
            return False
        connection.execute(insert(receipts).values(**vars(new)))
        return True

    @reads
    def of(self, connection: Connection, project: str, version: str | None = None) -> list[Receipt]:
        """Return a project's receipts, or one version's, in the order of the decisions."""
        query = select(receipts).where(receipts.c.project == project)
        query = query if version is None else query.where(receipts.c.version == version)
        names = ("project", "kind", "version", "against", "generation", "decided_at", "settled_at", "paid", "detail")
        rows = connection.execute(query.order_by(receipts.c.decided_at, receipts.c.id))
        return [Receipt(**{name: getattr(row, name) for name in names}) for row in rows]

    @reads
    def span(
        self, connection: Connection, project: str, generation: int, since: datetime
    ) -> tuple[datetime, datetime] | None:
        """Return the oldest and the newest row time of what a generation has answered since `since`, if anything."""
        of = _answered(project, generation, since)
        ends = select(func.min(predictions.c.row_time), func.max(predictions.c.row_time)).where(*of)
        oldest, newest = connection.execute(ends).one()
        return None if oldest is None else (oldest, newest)

    @reads
    def labelled(
        self, connection: Connection, project: str, generation: int, since: datetime, until: datetime, limit: int
    ) -> tuple[int, int, list[str]]:
        """Return how many rows up to `until` were answered, how many have labels, and the ids of `limit` of these.

        Of more, so many are taken spread evenly over all, the same ones each time.
        """
        of = (*_answered(project, generation, since), predictions.c.row_time <= until)
        known = (labels.c.project == predictions.c.project) & (labels.c.prediction_id == predictions.c.id)
        answered = int(connection.scalar(select(func.count()).select_from(predictions).where(*of)) or 0)
        log = predictions.join(labels, known)
        count = int(connection.scalar(select(func.count()).select_from(log).where(*of)) or 0)
        query = select(predictions.c.id).select_from(log).where(*of)
        if count > limit:
            query = query.where(predictions.c.sequence % SPREAD * STRIDE % SPREAD < SPREAD * limit // count)
        return answered, count, list(connection.scalars(query.order_by(predictions.c.sequence).limit(limit)))


def _answered(project: str, generation: int, since: datetime) -> list[ColumnElement[bool]]:
    """Match what a generation itself answered since `since`, by the time of the answer."""
    of = (predictions.c.project == project, predictions.c.generation == generation, predictions.c.trial == 0)
    return [*of, predictions.c.at >= since]
