"""Which windows of a generation are over and still lack a verdict: so that each gets exactly one, whatever was down."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from monitoring.declarations import Window
from monitoring.records import Check, WindowKey

if TYPE_CHECKING:
    from monitoring.store import Store

AT_ONCE = 200  # verdicts given in one run; the next goes on
TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Log:
    """What a generation's predictions look like from afar.

    `rows`: how many; `newest`: the newest row time, None without rows; `time_of`: sequence -> row time; `oldest`: the
    oldest row time, where it may be older than the first answer's.
    """

    project: str
    generation: int
    rows: int
    newest: datetime | None
    time_of: Callable[[int], datetime]
    oldest: datetime | None = None


def read_log(store: "Store", project: str, generation: int) -> Log:
    """Look at a generation's predictions in the store."""

    def time_of(sequence: int) -> datetime:
        never = datetime.fromtimestamp(0, UTC)
        key = WindowKey(project, generation, 0, never, never, sequence, sequence + 1)
        return store.predictions.rows(key)[0].row_time

    log = store.predictions
    oldest, newest = log.first_time(project, generation), log.newest_time(project, generation)
    return Log(project, generation, log.count(project, generation), newest, time_of, oldest)


def due(
    windows: Window,
    log: Log,
    judged: Collection[tuple[int, Check]],
    *,
    clock: datetime,
    label_delay: timedelta,
    replaced: bool,
    at_once: int | None = AT_ONCE,
) -> list[tuple[WindowKey, Check]]:
    """Return the (window, check) that are due and not in `judged`, oldest window first, data before performance.

    Edges are fixed from the generation's first answer on, in UTC; rows that are older, such as a backfill's, belong to
    the first window. A window of time without rows is due like any
    other; the last window of a `replaced` generation ends at its newest row. Performance is due once the labels
    of the window's end are mature. `at_once`: about how many are returned; None: all.
    """
    if not log.rows or log.newest is None:
        return []
    done = set(judged)
    every = (
        _of_rows(windows.rows, log, done, replaced) if windows.rows else _of_time(windows.span, log, clock, replaced)
    )
    found: list[tuple[WindowKey, Check]] = []
    for key in every:
        if (key.index, "data") not in done:
            found.append((key, "data"))
        if (key.index, "performance") not in done and key.end + label_delay <= clock:
            found.append((key, "performance"))
        if at_once is not None and len(found) >= at_once:
            break
    return found


def _of_rows(size: int, log: Log, done: set[tuple[int, Check]], replaced: bool) -> Iterator[WindowKey]:
    """Yield the full windows of `size` rows that lack a verdict, and the cut one of a replaced generation."""
    for index in count():
        start, end = index * size, min((index + 1) * size, log.rows)
        if start >= log.rows or (end - start < size and not replaced):
            return
        if {(index, "data"), (index, "performance")} <= done:
            continue
        yield WindowKey(log.project, log.generation, index, log.time_of(start), log.time_of(end - 1) + TICK, start, end)


def _of_time(span: timedelta | None, log: Log, clock: datetime, replaced: bool) -> Iterator[WindowKey]:
    """Yield the windows of time that are over, empty ones too, and the cut one of a replaced generation."""
    if span is None or log.newest is None:
        return
    first, newest = log.time_of(0), log.newest
    for index in count():
        start, end = first + index * span, first + (index + 1) * span
        if replaced:
            if start > newest:
                return
            end = min(end, newest + TICK)
        elif end > clock:
            return
        begin = min(start, log.oldest or start) if index == 0 else start
        yield WindowKey(log.project, log.generation, index, begin, end)
