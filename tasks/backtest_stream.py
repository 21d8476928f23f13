"""History as it came: which rows, and which labels, were there at a moment. Nothing else of it can be asked for."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from data.errors import BadDeclaration, NoBatch, TooFewRows
from data.schema import Rows, Schema, concatenate, take
from models.outputs import Outputs
from monitoring.reference import losses_of
from projects.declaration import Project
from tasks.changes import known_rows, later
from tasks.comparison import without_origin
from tasks.harvesting import harvestable, rows_of
from tasks.observing import utc
from tasks.resources import Resources
from tasks.snapshot_rows import newest_of_each_key

MINIMUM = 100  # rows on either side of `since`


@dataclass(frozen=True)
class Stream:
    """Labelled rows, oldest first: row i is seen at `seen[i]`, and its label told at `told[i]` (datetime64[us])."""

    project: Project
    rows: Rows
    seen: np.ndarray
    told: np.ndarray

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def schema(self) -> Schema:
        """The project's."""
        return self.project.schema

    def come(self, after: datetime, until: datetime) -> np.ndarray:
        """Return positions of the rows seen in (after, until]."""
        return np.flatnonzero((self.seen > stamp(after)) & (self.seen <= stamp(until)))

    def known(self, after: datetime, until: datetime) -> np.ndarray:
        """Return positions of the rows whose labels were told in (after, until]."""
        return np.flatnonzero((self.told > stamp(after)) & (self.told <= stamp(until)))

    def asked(self, which: np.ndarray) -> Rows:
        """Return rows as the service is asked about them: without their labels."""
        return {name: values[which] for name, values in self.rows.items() if name != self.schema.target}

    def losses(self, predicted: np.ndarray) -> np.ndarray:
        """Return how wrong answers to all rows were, float64 (N,), NaN where there is none; for the report only."""
        answered = np.array([value is not None for value in predicted.tolist()])
        found = np.full(len(self), np.nan)
        truth = self.rows[self.schema.target]
        if answered.any():
            given = np.array(predicted[answered].tolist())
            found[answered] = losses_of(truth[answered], given, self.project.task)
        return found


def singly(outputs: Outputs) -> np.ndarray:
    """Return each answer as one object (N,): a level, a value, or a forecast (steps, channels)."""
    found = np.empty(len(outputs), dtype=object)
    for place, answer in enumerate(outputs.predictions):
        found[place] = answer
    return found


def stream_of(project: Project, rows: Rows) -> Stream:
    """Put labelled rows in the order of their own time; a label comes the project's delay after its row.

    Raises: BadDeclaration.
    """
    schema = project.schema
    if schema.time is None:
        raise BadDeclaration(f"{project.name} has no time column, so nothing says what was known when")
    order = np.lexsort((rows[schema.key].astype(str), rows[schema.time]))
    rows = take(rows, order)
    seen = rows[schema.time].astype("datetime64[us]")
    delay = np.timedelta64(project.labels.delay)
    return Stream(project, rows, seen, seen + delay)


def history(resources: Resources, project: Project, change: str | None = None) -> Stream:
    """Return what a home knows of a project: its accepted batches, and the labelled traffic that is in none yet.

    Where nothing was ingested, the source's rows; with a declared `change`, its rows too. Nothing is written there.

    Raises: BadSetting, SourceUnavailable, TooFewRows, BadDeclaration.
    """
    rows = without_origin(known_rows(resources, project)[0])
    if change is not None:
        both = concatenate([rows, later(project, change)])
        rows = take(both, newest_of_each_key(both, project.schema))
    if resources.settings.database_url or (resources.settings.home / "holdfast.db").exists():
        traffic = harvestable(resources, project)
        rows = concatenate([rows, rows_of(resources, traffic, project.schema)]) if traffic else rows
    return stream_of(project, rows)


def cut(stream: Stream, since: datetime, until: datetime | None) -> tuple[Stream, datetime]:
    """Leave out what came after `until`, and return when the replay ends.

    Raises: TooFewRows, before or after `since`; NoBatch.
    """
    if not len(stream):
        raise NoBatch(stream.project.name)
    end = min(until, utc(stream.seen[-1])) if until else utc(stream.seen[-1])
    kept = stream.seen <= stamp(end)
    left = Stream(stream.project, take(stream.rows, kept), stream.seen[kept], stream.told[kept])
    first, last = f"{utc(stream.seen[0]):%Y-%m-%d %H:%M}", f"{utc(stream.seen[-1]):%Y-%m-%d %H:%M}"
    for what, rows in (
        ("with labels known by --since", int((left.told <= stamp(since)).sum())),
        ("to replay after --since", int((left.seen > stamp(since)).sum())),
    ):
        if rows < MINIMUM:
            raise TooFewRows(f"{stream.project.name}: rows {what} (history goes from {first} to {last})", rows, MINIMUM)
    return left, end


def stamp(moment: datetime) -> np.datetime64:
    """Return an aware time as numpy has it."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
