"""The truth about predictions, as it arrives: late, twice, and sometimes corrected."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, exists, func, insert, select, update

from monitoring.records import Label, WindowKey
from monitoring.store.engine import Database, reads, writes
from monitoring.store.incidents import skewed
from monitoring.store.predictions import between, chunks, in_window, known_ids
from monitoring.store.tables import incidents, labels, predictions, verdicts


@dataclass(frozen=True)
class LabelReceipt:
    """What became of the labels handed in: counts, and the first ids that no prediction has."""

    new: int
    repeated: int
    corrected: int
    unknown: int
    unknown_ids: tuple[str, ...] = ()


class Labels:
    """The labels table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def record(self, connection: Connection, project: str, said: Sequence[Label], now: datetime) -> LabelReceipt:
        """Keep each label whose prediction is known; delivering it again changes nothing.

        A label with another value is a correction unless its time is older than the stored one's. Labels of
        unknown predictions are not kept: their sender has to send them again.
        """
        known = known_ids(connection, project, (label.prediction_id for label in said))
        stored = _stored(connection, project, known)
        newest = dict(stored)
        counts: Counter[str] = Counter()
        for label in said:
            what = _what(label, newest.get(label.prediction_id)) if label.prediction_id in known else "unknown"
            counts[what] += 1
            if what in ("new", "corrected"):
                newest[label.prediction_id] = label
        changed = [label for id_, label in newest.items() if stored.get(id_) is not label]
        _insert(connection, project, [label for label in changed if label.prediction_id not in stored], now)
        _correct(connection, project, [label for label in changed if label.prediction_id in stored], now)
        unknown = (label.prediction_id for label in said if label.prediction_id not in known)
        return LabelReceipt(
            counts["new"], counts["repeated"], counts["corrected"], counts["unknown"], tuple(islice(unknown, 20))
        )

    @reads
    def count(self, connection: Connection, project: str, generation: int | None = None) -> int:
        """Return how many predictions of a generation (without those of trials beside it), or of all, are labelled."""
        where = [] if generation is None else [predictions.c.generation == generation, predictions.c.trial == 0]
        return _count(connection, project, *where)

    @reads
    def in_window(self, connection: Connection, window: WindowKey, after: datetime | None) -> tuple[int, int]:
        """Return how many of a window's predictions are labelled, and how many labels came or changed after a time."""
        where = in_window(window)
        late = 0 if after is None else _count(connection, window.project, labels.c.recorded_at > after, *where)
        return _count(connection, window.project, *where), late

    @reads
    def missing(
        self,
        connection: Connection,
        project: str,
        generation: int,
        *,
        after: int,
        limit: int,
        since: datetime | None = None,
    ) -> list[tuple[int, str]]:
        """Return the (sequence, id) of a generation's next predictions that have no label, oldest first.

        `since`: of rows from then on.
        """
        said = exists().where(labels.c.project == project, labels.c.prediction_id == predictions.c.id)
        query = select(predictions.c.sequence, predictions.c.id).where(
            predictions.c.project == project,
            predictions.c.generation == generation,
            predictions.c.trial == 0,
            predictions.c.sequence > after,
            *between(since, None),
            ~said,
        )
        found = connection.execute(query.order_by(predictions.c.sequence).limit(limit))
        return [(row.sequence, row.id) for row in found]

    @reads
    def count_unharvested(self, connection: Connection, project: str, until: datetime | None = None) -> int:
        """Return how many labelled predictions of rows up to `until` no batch holds yet, and one may hold.

        Those of a window in fault, of one that could not be judged, of one that a person declared a fault, and of a
        time of training-serving skew are never harvested; those of a window that is over but ended after `until` wait
        until its labels are judged.
        """
        where = [~and_(*between(one.since, one.until)) for one in skewed(connection, project)]
        if until is not None:
            where += [predictions.c.row_time <= until, *_over(connection, project, until)]
        return _count(connection, project, labels.c.harvest.is_(None), ~exists().where(*_SPOILED), *where)


_BY_ROWS = (predictions.c.sequence >= verdicts.c.start_row) & (predictions.c.sequence < verdicts.c.end_row)
_BY_TIME = (predictions.c.row_time >= verdicts.c.window_start) & (predictions.c.row_time < verdicts.c.window_end)
_DECLARED = (
    incidents.c.declared_by.is_not(None),
    incidents.c.project == verdicts.c.project,
    incidents.c.generation == verdicts.c.generation,
    verdicts.c.window_index >= incidents.c.first_window,
    incidents.c.closed_at.is_(None) | (verdicts.c.window_index <= incidents.c.last_window),
)
_SPOILED = (
    verdicts.c.project == predictions.c.project,
    verdicts.c.generation == predictions.c.generation,
    verdicts.c.outcome.in_(("fault", "failed")) | exists().where(*_DECLARED),
    case((verdicts.c.start_row.is_(None) | (predictions.c.trial != 0), _BY_TIME), else_=_BY_ROWS),
)


def _over(connection: Connection, project: str, until: datetime) -> list[ColumnElement[bool]]:
    """Match the predictions before the first judged window of each generation that ended after a time."""
    late = (verdicts.c.project == project, verdicts.c.check_name == "data", verdicts.c.window_end > until)
    first = (verdicts.c.generation, func.min(verdicts.c.start_row), func.min(verdicts.c.window_start))
    conditions = []
    for number, row, start in connection.execute(select(*first).where(*late).group_by(verdicts.c.generation)):
        by_time = predictions.c.row_time >= start
        after = (
            by_time if row is None else case((predictions.c.trial != 0, by_time), else_=predictions.c.sequence >= row)
        )
        conditions.append(~and_(predictions.c.generation == number, after))
    return conditions


def _what(label: Label, before: Label | None) -> str:
    if before is None:
        return "new"
    same = isinstance(before.value, str) == isinstance(label.value, str) and before.value == label.value
    return "repeated" if same or label.at < before.at else "corrected"


def _stored(connection: Connection, project: str, ids: Iterable[str]) -> dict[str, Label]:
    query = select(labels).where(labels.c.project == project)
    return {
        row.prediction_id: Label(row.prediction_id, row.value, row.at)
        for some in chunks(ids)
        for row in connection.execute(query.where(labels.c.prediction_id.in_(some)))
    }


def _insert(connection: Connection, project: str, new: list[Label], now: datetime) -> None:
    if not new:
        return
    common = {"project": project, "recorded_at": now, "corrections": 0, "harvest": None}
    rows = [{**common, "prediction_id": label.prediction_id, "value": label.value, "at": label.at} for label in new]
    connection.execute(insert(labels), rows)


def _correct(connection: Connection, project: str, corrected: list[Label], now: datetime) -> None:
    if not corrected:
        return
    change = (
        update(labels)
        .where(labels.c.project == project, labels.c.prediction_id == bindparam("of"))
        .values(
            value=bindparam("said"),
            at=bindparam("said_at"),
            recorded_at=now,
            corrections=labels.c.corrections + 1,
            harvest=None,
        )
    )
    connection.execute(change, [{"of": one.prediction_id, "said": one.value, "said_at": one.at} for one in corrected])


def _count(connection: Connection, project: str, *where: ColumnElement[bool]) -> int:
    both = labels.join(
        predictions, (labels.c.project == predictions.c.project) & (labels.c.prediction_id == predictions.c.id)
    )
    query = select(func.count()).select_from(both).where(labels.c.project == project, *where)
    return int(connection.scalar(query) or 0)
