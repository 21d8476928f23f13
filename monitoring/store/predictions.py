"""The log of answers: appended before each answer is sent, read by windows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, Text, func, insert, select, type_coerce, update

from monitoring.records import Prediction, WindowKey
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import labels, predictions

T = TypeVar("T")
CHUNK = 500  # ids in one IN list; every database takes as many parameters
STRETCH = 8_192  # rows handed over at once: what is made of them stays in the processor's cache

_COLUMNS = (*predictions.c, labels.c.value.label("label"))
_LOG = predictions.outerjoin(
    labels, (labels.c.project == predictions.c.project) & (labels.c.prediction_id == predictions.c.id)
)
_OLDEST_FIRST = (predictions.c.row_time, predictions.c.generation, predictions.c.sequence)


class PredictionLog:
    """The predictions table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def append(self, connection: Connection, answered: Sequence[Prediction]) -> list[Prediction]:
        """Log answers, in one durable commit, and return them in their order as the log holds them.

        An id that the project knows already is not written again: the stored prediction stands in its place, and
        the caller compares features. Sequences go on from the newest of (project, generation, trial), without a gap.
        """
        if not answered:
            return []
        known = _stored(connection, answered)
        counters: dict[tuple[str, int, int], int] = {}
        new: list[dict[str, Any]] = []
        for one in answered:
            if (one.project, one.id) in known:
                continue
            lane = (one.project, one.generation, one.trial)
            sequence = counters[lane] if lane in counters else _next_sequence(connection, *lane)
            counters[lane] = sequence + 1
            new.append(_row(one, sequence))
            known[one.project, one.id] = _with_sequence(one, sequence)
        if new:
            connection.execute(insert(predictions), new)
        return [known[one.project, one.id] for one in answered]

    @reads
    def get(self, connection: Connection, project: str, id: str) -> Prediction | None:  # noqa: A002
        """Return one prediction with its label."""
        found = connection.execute(_select(project).where(predictions.c.id == id)).first()
        return None if found is None else _prediction(found)

    @reads
    def find(self, connection: Connection, project: str, ids: Iterable[str]) -> dict[str, Prediction]:
        """Return those of the ids that the log holds, with their predictions."""
        return {one.id: one for one in _held(connection, project, ids)}

    @reads
    def labelled(self, connection: Connection, project: str, ids: Iterable[str]) -> dict[str, bool]:
        """Return those of the ids that the log holds, each with whether its label has come; nothing else is read."""
        query = select(predictions.c.id, labels.c.prediction_id.is_not(None)).select_from(_LOG)
        of = query.where(predictions.c.project == project)
        found = (row for some in chunks(ids) for row in connection.execute(of.where(predictions.c.id.in_(some))))
        return {id_: bool(known) for id_, known in found}

    @reads
    def on_trial(
        self, connection: Connection, project: str, generation: int, start: datetime | None, end: datetime
    ) -> list[Prediction]:
        """Return the labelled predictions of rows of [start, end) that versions on trial gave, oldest first."""
        query = _select(project).where(
            predictions.c.generation == generation,
            predictions.c.trial != 0,
            labels.c.value.is_not(None),
            *between(start, end),
        )
        return _all(connection, query.order_by(*_OLDEST_FIRST))

    @reads
    def rows(self, connection: Connection, window: WindowKey, *, labelled: bool = False) -> list[Prediction]:
        """Return a window's predictions with their labels, oldest first; `labelled`: those that have one.

        What a version on trial answered beside the generation is in no window.
        """
        query = _select(window.project).where(*in_window(window))
        query = query.order_by(*_in_order(window))
        if labelled:
            query = query.where(labels.c.value.is_not(None))
        return _all(connection, query)

    @reads
    def scan(self, connection: Connection, window: WindowKey, names: Sequence[str], take: Callable[..., None]) -> None:
        """Hand a window's predictions over, oldest first, as columns of these names, a stretch at a time.

        JSON, `output` and `label`, is handed over as it is stored; so a window is never in memory as a whole.
        """
        wanted = [_raw(name) for name in names]
        source = _LOG if "label" in names else predictions
        query = select(*wanted).select_from(source).where(*in_window(window)).order_by(*_in_order(window))
        with connection.execute(query, execution_options={"yield_per": STRETCH}) as result:
            for rows in result.partitions():
                take(*zip(*rows, strict=True))

    @reads
    def since(self, connection: Connection, project: str, at: datetime, limit: int | None = None) -> list[Prediction]:
        """Return the predictions of rows from `at` on, oldest first, all generations together."""
        query = _select(project).where(*between(at, None)).order_by(*_OLDEST_FIRST)
        return _all(connection, query.limit(limit))

    @reads
    def newest(
        self, connection: Connection, project: str, generation: int, *, trial: int, since: datetime, limit: int
    ) -> list[Prediction]:
        """Return the newest labelled predictions of a generation, or of a trial beside it, made since `since`."""
        query = _select(project).where(*_of(project, generation, trial), predictions.c.at >= since)
        query = query.where(labels.c.value.is_not(None))
        return _all(connection, query.order_by(predictions.c.sequence.desc()).limit(limit))

    @reads
    def count(self, connection: Connection, project: str, generation: int | None = None) -> int:
        """Return how many predictions the log holds of a generation, or of all."""
        query = select(func.count()).select_from(predictions).where(*_of(project, generation))
        return int(connection.scalar(query) or 0)

    @reads
    def count_in(self, connection: Connection, window: WindowKey) -> int:
        """Return how many predictions a window holds."""
        return int(connection.scalar(select(func.count()).select_from(predictions).where(*in_window(window))) or 0)

    @reads
    def answered(self, connection: Connection, project: str, generation: int) -> int:
        """Return how many rows a generation has answered, as their sequence has it: quick, however many there are."""
        return _next_sequence(connection, project, generation, 0)

    @reads
    def first_time(self, connection: Connection, project: str, generation: int) -> datetime | None:
        """Return the oldest row time that a generation answered."""
        return _time(connection, func.min(predictions.c.row_time), *_of(project, generation))

    @reads
    def newest_time(self, connection: Connection, project: str, generation: int | None = None) -> datetime | None:
        """Return the newest row time in the log."""
        return _time(connection, func.max(predictions.c.row_time), *_of(project, generation))

    @writes
    def mark_harvested(self, connection: Connection, project: str, ids: Iterable[str], batch: str) -> int:
        """Note that a batch holds these labelled predictions; one that another batch holds stays there."""
        waiting = (labels.c.project == project) & labels.c.harvest.is_(None)
        changes = [
            update(labels).where(waiting, labels.c.prediction_id.in_(some)).values(harvest=batch)
            for some in chunks(ids)
        ]
        return sum(connection.execute(change).rowcount for change in changes)

    @reads
    def harvested(self, connection: Connection, project: str, ids: Iterable[str]) -> dict[str, str]:
        """Return, for those of the ids that are harvested, the batch that holds them."""
        query = select(labels.c.prediction_id, labels.c.harvest).where(
            labels.c.project == project, labels.c.harvest.is_not(None)
        )
        return {
            found.prediction_id: found.harvest
            for some in chunks(ids)
            for found in connection.execute(query.where(labels.c.prediction_id.in_(some)))
        }


def known_ids(connection: Connection, project: str, ids: Iterable[str]) -> set[str]:
    """Return those of the ids that the log holds."""
    query = select(predictions.c.id).where(predictions.c.project == project)
    return {id_ for some in chunks(ids) for id_ in connection.scalars(query.where(predictions.c.id.in_(some)))}


def _select(project: str) -> Select[Any]:
    return select(*_COLUMNS).select_from(_LOG).where(predictions.c.project == project)


def _of(project: str, generation: int | None, trial: int = 0) -> list[ColumnElement[bool]]:
    """Match a project's predictions, or those that one generation (or a trial beside it) answered."""
    conditions = [predictions.c.project == project]
    if generation is None:
        return conditions
    return [*conditions, predictions.c.generation == generation, predictions.c.trial == trial]


def in_window(window: WindowKey) -> list[ColumnElement[bool]]:
    """Match a window's predictions: by sequence, or by row time."""
    of = _of(window.project, window.generation)
    if window.start_row is None or window.end_row is None:
        return [*of, *between(window.start, window.end)]
    return [*of, predictions.c.sequence >= window.start_row, predictions.c.sequence < window.end_row]


def _in_order(window: WindowKey) -> tuple[ColumnElement[Any], ...]:
    """Order a window's predictions, oldest first."""
    return _OLDEST_FIRST if window.start_row is None else (predictions.c.sequence,)


def _raw(name: str) -> ColumnElement[Any]:
    """Return a column with its JSON unread."""
    if name == "label":
        return type_coerce(labels.c.value, Text)
    return type_coerce(predictions.c.output, Text) if name == "output" else predictions.c[name]


def between(start: datetime | None, end: datetime | None) -> list[ColumnElement[bool]]:
    """Match the rows of [start, end); None leaves that side open."""
    conditions = []
    if start is not None:
        conditions.append(predictions.c.row_time >= start)
    if end is not None:
        conditions.append(predictions.c.row_time < end)
    return conditions


def _all(connection: Connection, query: Select[Any]) -> list[Prediction]:
    return [_prediction(row) for row in connection.execute(query)]


def _time(connection: Connection, what: ColumnElement[datetime], *where: ColumnElement[bool]) -> datetime | None:
    found: datetime | None = connection.scalar(select(what).where(*where))
    return found


def chunks(ids: Iterable[T]) -> Iterator[list[T]]:
    """Yield the ids in lists short enough for one IN."""
    remaining = iter(ids)
    while some := list(islice(remaining, CHUNK)):
        yield some


def _stored(connection: Connection, answered: Sequence[Prediction]) -> dict[tuple[str, str], Prediction]:
    """Return what the log holds already under the ids of `answered`."""
    asked: dict[str, list[str]] = {}
    for one in answered:
        asked.setdefault(one.project, []).append(one.id)
    return {(project, one.id): one for project, ids in asked.items() for one in _held(connection, project, ids)}


def _held(connection: Connection, project: str, ids: Iterable[str]) -> Iterator[Prediction]:
    for some in chunks(ids):
        yield from _all(connection, _select(project).where(predictions.c.id.in_(some)))


def _next_sequence(connection: Connection, project: str, generation: int, trial: int) -> int:
    newest = connection.scalar(select(func.max(predictions.c.sequence)).where(*_of(project, generation, trial)))
    return 0 if newest is None else int(newest) + 1


def _row(one: Prediction, sequence: int) -> dict[str, Any]:
    return {
        "project": one.project,
        "id": one.id,
        "generation": one.generation,
        "trial": one.trial,
        "sequence": sequence,
        "at": one.at,
        "row_time": one.row_time,
        "features": one.features,
        "output": one.output,
    }


def _with_sequence(one: Prediction, sequence: int) -> Prediction:
    return Prediction(**{**_row(one, sequence), "label": None})


def _prediction(row: Row[Any]) -> Prediction:
    return Prediction(
        row.id,
        row.project,
        row.generation,
        row.at,
        row.row_time,
        row.features,
        row.output,
        row.sequence,
        row.label,
        row.trial,
    )
