"""History sent through the running service as live traffic: each row at its own time, its label when that was known.

What has been sent stands in the prediction log, so a replay that was broken off goes on where it stopped, and one that
runs twice gives no row a second answer.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from data.errors import BadSetting, NoBatch, NoChampion
from data.schema import Rows, length, take
from data.sources import TRAFFIC
from models.metrics import labelled
from projects.declaration import Project
from tasks.backtest import pace
from tasks.backtest_stream import Stream, stamp, stream_of
from tasks.changes import changed, good_rows, without_option
from tasks.client import REQUEST, Service, asked, told
from tasks.observing import utc
from tasks.resources import Resources
from tasks.snapshot_rows import BATCH, gather

LABELS = 1000  # of a request
TICK = 0.2  # seconds between two looks at the clock
ONE = np.timedelta64(1, "us")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
Progress = Callable[[float, str], None]


@dataclass
class Replayed:
    """What a replay has done. `known`: rows that the log held already; `waiting`: labels that are still to come."""

    project: str
    rows: int
    known: int
    answers: int = 0
    labels: int = 0
    waiting: int = 0
    reached: str = ""
    finished: bool = False
    incidents: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Speed:
    """How fast history passes: so much of its time a second, or so many rows a second."""

    span: timedelta | None = None
    rows: float | None = None

    def a_second(self, stream: Stream) -> np.timedelta64:
        """Return how much of the stream's time passes in a second."""
        if self.span is not None:
            return np.timedelta64(self.span)
        whole = utc(stream.seen[-1]) - utc(stream.seen[0])
        return max(np.timedelta64(whole / len(stream) * (self.rows or 1.0)), ONE)


def speed_of(text: str) -> Speed:
    """Read "1d", "6h", "30m" (of history, a second) or "50" (rows a second).

    Raises: BadSetting.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smhdw]?)(?:/s)?", text.strip())
    if found is None or not float(found[1]) > 0:
        raise BadSetting(f"--speed {text}: 1d, 6h or 30m of history a second, or a number of rows a second")
    number = float(found[1])
    return Speed(timedelta(**{UNITS[found[2]]: number})) if found[2] else Speed(rows=number)


def rows_to_send(
    resources: Resources, project: Project, change: str | None, dial: float | None, since: datetime | None
) -> Rows:
    """Return labelled rows: of a change, else of the source; from `since` on, else all that were never ingested.

    `dial`: 0 to 1, how much an injection changes.

    Raises: BadSetting, NoChampion, SourceUnavailable, TooFewRows.
    """
    if resources.store.ledger.generation(project.name) is None:
        raise NoChampion(project.name)
    schema = project.schema
    if since is not None and schema.time is None:
        raise BadSetting(f"{project.name} has no time column: leave out --since")
    if change is None and dial is not None:
        raise BadSetting(f"history is sent as it was: {without_option(project, '--dial')}")
    if change is not None:
        rows = changed(project, change, dial, (), seed=0)
    else:
        rows = {name: values for name, values in good_rows(project, project.source).items() if name != BATCH}
    learned = ingested(resources, project)
    wanted = np.array([key not in learned for key in rows[schema.key].tolist()], dtype=bool)
    if since is not None:
        assert schema.time is not None
        wanted = rows[schema.time] >= stamp(since)
    if not wanted.any():
        ways = [f"--change {name}" for name in project.changes if name != change]
        ways += ["--since"] if schema.time is not None else []
        raise BadSetting(
            f"{project.name}: no row is left that was not ingested; name {' or '.join(ways) or 'a change'}"
        )
    return take(rows, wanted)


def ingested(resources: Resources, project: Project) -> set[str]:
    """Return the keys of the rows that came from a source, not from traffic."""
    try:
        snapshot = resources.batches.snapshot(project.name)
    except NoBatch:
        return set()
    with TemporaryDirectory(prefix="holdfast-replay-") as cache:
        rows = gather(resources.batches, snapshot, project.schema, Path(cache)).known
    named = zip(rows[project.schema.key].tolist(), rows[BATCH].tolist(), strict=True)
    return {key for key, batch in named if not batch.startswith(TRAFFIC)}


def lined_up(resources: Resources, project: Project, rows: Rows) -> Stream:
    """Put rows in the order of their time; without one, in their own, a second apart from now on.

    Raises: BadSetting, where the service's clock is not the rows' and windows or labels' delays are spans of it.
    """
    if project.schema.time is None:
        seen = stamp(resources.now()) + np.arange(length(rows)) * np.timedelta64(1, "s")
        return Stream(project, rows, seen, seen + np.timedelta64(project.labels.delay))
    if (project.labels.delay or project.monitors.window.span) and resources.settings.clock != "data":
        raise BadSetting(
            f"the stack's clock is the wall's, so windows of {project.name} would be judged before their rows or "
            "labels come: start it with HOLDFAST_CLOCK=data"
        )
    return stream_of(project, rows)


class Replay:
    """One stream on its way through the service; `played` says how far it is, whenever it is broken off."""

    def __init__(self, resources: Resources, service: Service, stream: Stream) -> None:
        self.resources, self.service, self.stream = resources, service, stream
        self.name, self.keys = stream.project.name, stream.rows[stream.schema.key]
        known = resources.store.predictions.labelled(self.name, self.keys.tolist())
        self.answered = np.array([key in known for key in self.keys.tolist()], dtype=bool)
        unknown = ~labelled(stream.rows[stream.schema.target])  # nobody ever said, so there is nothing to tell
        self.labelled = unknown | np.array([known.get(key, False) for key in self.keys.tolist()], dtype=bool)
        newest = resources.store.incidents.recent(self.name, 1)
        self.before = newest[0].id if newest else 0
        self.played = Replayed(self.name, len(stream), int(self.answered.sum()))

    def play(self, speed: Speed, until: datetime | None, monitor: Callable[[], object], progress: Progress) -> None:
        """Send rows and labels as time passes; after the last row the labels still due by `until` follow at once.

        `monitor` is called four times a window of the history, for a schedule of its own would be too slow.

        Raises: ServerUnavailable, Declined; BadSetting, for an end where rows have no time.
        """
        if until is not None and self.stream.schema.time is None:
            raise BadSetting(f"{self.name} has no time column: leave out --until")
        end = stamp(until) if until else max(self.stream.seen[-1], self.stream.told[-1])
        quarter, looked = np.timedelta64(pace(self.stream.project, self.stream)), None
        for now in self.moments(speed.a_second(self.stream), min(end, self.stream.seen[-1])):
            self.send_labels(now)
            self.send_rows(now)
            self.send_labels(now)
            self.played.reached = utc(now).isoformat()
            said = f"{self.played.reached[:16]}: {self.played.answers:,} answers, {self.played.labels:,} labels"
            progress(float(self.answered.mean()), said)
            if looked is None or now - looked >= quarter:
                looked = now
                monitor()
        self.send_labels(end)
        monitor()
        self.played.finished = True

    def moments(self, a_second: np.timedelta64, end: np.datetime64) -> Iterator[np.datetime64]:
        """Yield the time of the history as it passes, in steps of at most a quarter of a window, up to `end`."""
        left = ~self.answered & (self.stream.seen <= end)
        if not left.any():
            return
        step = np.timedelta64(pace(self.stream.project, self.stream))
        now = self.stream.seen[left][0]
        began, first, whole = time.monotonic(), now, int((end - now) / ONE)
        yield now
        while now < end:
            passed = first + np.timedelta64(min(int(a_second / ONE * (time.monotonic() - began)), whole), "us")
            if passed <= now:
                time.sleep(TICK)
                continue
            now = min(passed, now + step, end)
            yield now
            time.sleep(TICK if now == passed else 0)

    def send_rows(self, now: np.datetime64) -> None:
        """Send the rows that have been seen by now and that nobody has answered."""
        due = np.flatnonzero((self.stream.seen <= now) & ~self.answered)
        for start in range(0, len(due), REQUEST):
            which = due[start : start + REQUEST]
            self.service.predict(self.name, asked(self.stream.schema, self.stream.asked(which)))
            self.answered[which] = True
            self.played.answers += len(which)

    def send_labels(self, now: np.datetime64) -> None:
        """Send the labels that have become known by now, of rows that were answered."""
        due = np.flatnonzero((self.stream.told <= now) & self.answered & ~self.labelled)
        timed = self.stream.schema.time is not None
        for start in range(0, len(due), LABELS):
            which = due[start : start + LABELS]
            at = self.stream.told[which] if timed else None
            self.service.label(self.name, told(self.stream.schema, take(self.stream.rows, which), at))
            self.labelled[which] = True
            self.played.labels += len(which)

    def summary(self) -> Replayed:
        """Return what has been done, with the incidents that were opened meanwhile."""
        opened = [one for one in self.resources.store.incidents.recent(self.name, 1000) if one.id > self.before]
        lines = [
            {"id": one.id, "kind": one.kind, "opened": one.opened_at.isoformat(), "reason": one.reason}
            for one in reversed(opened)
        ]
        self.played.waiting = int((~self.labelled).sum())
        return replace(self.played, incidents=tuple(lines))
