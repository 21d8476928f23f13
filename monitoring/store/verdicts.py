"""One verdict for each (project, generation, check, window), whoever is asked to write it, and how often."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from monitoring.records import Check, Outcome, Verdict, WindowKey
from monitoring.store.engine import Database, reads, writes
from monitoring.store.tables import verdicts

_KEY = (
    verdicts.c.generation,
    verdicts.c.window_index,
    verdicts.c.window_start,
    verdicts.c.window_end,
    verdicts.c.start_row,
    verdicts.c.end_row,
)


@dataclass(frozen=True)
class Recorded:
    """A verdict as it stands in the store. `report`: where its report lies, or why there is none."""

    verdict: Verdict
    at: datetime
    report: Mapping[str, Any] | None


class Verdicts:
    """The verdicts table; each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @writes
    def record(self, connection: Connection, verdict: Verdict, now: datetime) -> Verdict:
        """Write a verdict that has no effects, and return it; or the one that its window has already."""
        return verdict if insert_once(connection, verdict, now) else _stored(connection, verdict)

    @reads
    def get(self, connection: Connection, window: WindowKey, check: Check) -> Recorded | None:
        """Return what one check said of one window."""
        row = connection.execute(select(verdicts).where(*_key(window, check))).first()
        return None if row is None else _recorded(row)

    @reads
    def all(
        self, connection: Connection, project: str, check: Check | None = None, generation: int | None = None
    ) -> list[Verdict]:
        """Return verdicts by generation and window, oldest first."""
        query = select(verdicts).where(*_where(project, check, generation))
        query = query.order_by(verdicts.c.generation, verdicts.c.window_index, verdicts.c.id)
        return [_verdict(row) for row in connection.execute(query)]

    @reads
    def recent(
        self, connection: Connection, project: str, n: int, check: Check | None = None, generation: int | None = None
    ) -> list[Verdict]:
        """Return the last `n` verdicts by generation and window, newest first."""
        return [one.verdict for one in _newest(connection, n, *_where(project, check, generation))]

    @reads
    def upto(
        self, connection: Connection, window: WindowKey, check: Check, outcomes: Collection[Outcome], n: int
    ) -> list[Verdict]:
        """Return one check's last `n` verdicts of these outcomes, up to a window of its generation, newest first."""
        where = (*_where(window.project, check, window.generation), verdicts.c.window_index <= window.index)
        return [one.verdict for one in _newest(connection, n, *where, verdicts.c.outcome.in_(outcomes))]

    @reads
    def at_fault(self, connection: Connection, project: str, generation: int | None = None) -> list[WindowKey]:
        """Return the windows whose rows or labels one of the checks calls a fault, or could not judge."""
        bad = (*_where(project, None, generation), verdicts.c.outcome.in_(("fault", "failed")))
        return [WindowKey(project, *row) for row in connection.execute(select(*_KEY).where(*bad).distinct())]

    @reads
    def history(self, connection: Connection, project: str, n: int, generation: int | None = None) -> list[Recorded]:
        """Return the last `n` verdicts with their times and reports, newest first."""
        return _newest(connection, n, *_where(project, None, generation))

    @reads
    def latest(self, connection: Connection, project: str, check: Check, n: int) -> list[Recorded]:
        """Return one check's last `n` verdicts, newest first; generation by generation, as the index has them."""
        found: list[Recorded] = []
        number: int | None = None
        while len(found) < n:
            older = [] if number is None else [verdicts.c.generation < number]
            number = connection.scalar(
                select(func.max(verdicts.c.generation)).where(*_where(project, None, None), *older)
            )
            if number is None:
                break
            found += _newest(connection, n - len(found), *_where(project, check, number))
        return found

    @reads
    def between(
        self, connection: Connection, project: str, generation: int, check: Check, first: int, last: int
    ) -> list[Recorded]:
        """Return one check's verdicts on the windows from `first` to `last`, oldest first."""
        within = verdicts.c.window_index.between(first, last)
        query = select(verdicts).where(*_where(project, check, generation), within).order_by(verdicts.c.window_index)
        return [_recorded(row) for row in connection.execute(query)]

    @reads
    def judged(self, connection: Connection, project: str, generation: int) -> set[tuple[int, Check]]:
        """Return the (window, check) of a generation that have a verdict."""
        query = select(verdicts.c.window_index, verdicts.c.check_name).where(*_where(project, None, generation))
        return {(row.window_index, row.check_name) for row in connection.execute(query)}

    @reads
    def windows(
        self,
        connection: Connection,
        project: str,
        generation: int | None = None,
        check: Check | None = None,
        *,
        first: int = 0,
        outcomes: Collection[Outcome] = (),
    ) -> list[WindowKey]:
        """Return the windows from `first` on that have a verdict, of one of the `outcomes` if any are named.

        By generation and window, oldest first, each once.
        """
        where = [*_where(project, check, generation), verdicts.c.window_index >= first]
        if outcomes:
            where.append(verdicts.c.outcome.in_(outcomes))
        query = select(*_KEY).where(*where).distinct().order_by(verdicts.c.generation, verdicts.c.window_index)
        return [WindowKey(project, *row) for row in connection.execute(query)]

    @reads
    def without_report(self, connection: Connection, project: str | None = None, limit: int = 100) -> list[Verdict]:
        """Return data verdicts on rows that wait for their report, oldest first."""
        where = [verdicts.c.check_name == "data", verdicts.c.row_count > 0, verdicts.c.report.is_(None)]
        if project is not None:
            where.append(verdicts.c.project == project)
        query = select(verdicts).where(*where).order_by(verdicts.c.id).limit(limit)
        return [_verdict(row) for row in connection.execute(query)]

    @writes
    def attach_report(self, connection: Connection, window: WindowKey, check: Check, report: Mapping[str, Any]) -> None:
        """Note where a verdict's report lies (paths), or why it has none; a later one takes its place."""
        connection.execute(update(verdicts).where(*_key(window, check)).values(report=report))


def insert_once(connection: Connection, verdict: Verdict, now: datetime) -> bool:
    """Write a verdict unless its window has one; return whether it is new."""
    window = verdict.window
    if connection.execute(select(verdicts.c.id).where(*_key(window, verdict.check))).first() is not None:
        return False
    connection.execute(
        insert(verdicts).values(
            project=window.project,
            generation=window.generation,
            check_name=verdict.check,
            window_index=window.index,
            window_start=window.start,
            window_end=window.end,
            start_row=window.start_row,
            end_row=window.end_row,
            outcome=verdict.outcome,
            row_count=verdict.rows,
            reason=verdict.reason,
            detail=verdict.detail,
            recorded_at=now,
        )
    )
    return True


def _key(window: WindowKey, check: Check) -> list[ColumnElement[bool]]:
    return [*_where(window.project, check, window.generation), verdicts.c.window_index == window.index]


def _where(project: str, check: Check | None, generation: int | None) -> list[ColumnElement[bool]]:
    conditions = [verdicts.c.project == project]
    if check is not None:
        conditions.append(verdicts.c.check_name == check)
    if generation is not None:
        conditions.append(verdicts.c.generation == generation)
    return conditions


def _newest(connection: Connection, n: int, *where: ColumnElement[bool]) -> list[Recorded]:
    order = (verdicts.c.generation.desc(), verdicts.c.window_index.desc(), verdicts.c.id.desc())
    return [_recorded(row) for row in connection.execute(select(verdicts).where(*where).order_by(*order).limit(n))]


def _stored(connection: Connection, verdict: Verdict) -> Verdict:
    return _verdict(connection.execute(select(verdicts).where(*_key(verdict.window, verdict.check))).one())


def _verdict(row: Row[Any]) -> Verdict:
    window = WindowKey(
        row.project, row.generation, row.window_index, row.window_start, row.window_end, row.start_row, row.end_row
    )
    return Verdict(window, row.check_name, row.outcome, row.row_count, row.reason, row.detail)


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(_verdict(row), row.recorded_at, row.report)
