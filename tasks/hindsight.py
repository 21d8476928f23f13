"""Two versions on the rows that were logged since a decision between them: what answered, and what might have."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.errors import HoldfastError
from data.packing import unpack_rows
from models.comparison import gain, sample
from models.compatibility import unaskable
from models.predictor import Predictor, read_version
from models.resampling import Interval
from monitoring.audit import COMPLETE, drawn
from monitoring.declarations import Labels
from monitoring.records import Generation, Prediction
from monitoring.store.receipts import Kind
from projects.declaration import Project
from tasks.champions import brought
from tasks.evaluation import blocks, unit
from tasks.observing import truth_of
from tasks.resources import Resources

MOST = 20_000  # logged rows that both versions answer again; they bound a share to 0.6 points


@dataclass(frozen=True)
class Owed:
    """A decision that gets a receipt: `version` came to serve in the place of `against`, or did not.

    `answering`: the generation that has answered since; `replaced`: the one before it, none for a refusal.
    """

    kind: Kind
    version: str
    against: str
    decided_at: datetime
    answering: Generation
    replaced: Generation | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What there is one receipt for."""
        return self.kind, self.version, self.answering.number


@dataclass(frozen=True)
class Worth:
    """How much better a version was than another. `answered`, `labelled`: rows; `selected`: people chose the labels."""

    bounds: Interval
    answered: int
    labelled: int
    selected: bool


class NotSettled(HoldfastError):
    """A decision whose worth can't be found out any more; the message says why."""


def measured(resources: Resources, project: Project, owed: Owed, end: datetime) -> Worth:
    """Return how much better `version` is than `against` on the logged rows.

    Raises: NotSettled; as what reads the versions: NoSuchVersion, Corrupt, ServerUnavailable.
    """
    name, number = project.name, owed.answering.number
    answered, labelled, ids = resources.store.receipts.labelled(name, number, owed.decided_at, end, MOST)
    if not answered:
        raise NotSettled(f"v{owed.answering.version} answered no row since")
    if not ids:
        raise NotSettled(f"no label came for the {answered:,} rows that v{owed.answering.version} answered since")
    with TemporaryDirectory(dir=resources.settings.home, prefix=".receipt-") as scratch:
        serving = brought(resources, owed.answering, Path(scratch))
        other = (
            brought(resources, owed.replaced, Path(scratch))
            if owed.replaced
            else refused(resources, name, owed.version, Path(scratch))
        )
        if why := unaskable(other.schema, serving.schema):
            raise NotSettled(why)
        counted, selected = counting(project.labels, ids, answered * len(ids) / labelled)
        found = resources.store.predictions.find(name, counted)
        ours, theirs = (serving, other) if owed.replaced else (other, serving)
        bounds = compared(project, ours, theirs, serving, [found[id_] for id_ in counted])
        return Worth(bounds, answered, labelled, selected)


def counting(labels: Labels, ids: list[str], answered: float) -> tuple[list[str], bool]:
    """Return the labelled ids that count, of so many answered; and whether people chose which rows got labels.

    An audit sample, where one is declared and nearly all of it is labelled, stands for all rows.
    """
    if labels.coverage == "all":
        return ids, False
    audited = np.array(ids)[drawn(ids, labels.audit_share)].tolist()
    if audited and len(audited) >= COMPLETE * labels.audit_share * answered:
        return audited, False
    return ids, True


def refused(resources: Resources, name: str, version: str, scratch: Path) -> Predictor:
    """Return a version that never served, if it is what was made and judged.

    Raises: NotPromotable, NoSuchVersion, Corrupt, ServerUnavailable.
    """
    from tasks import registration

    manifest = registration.made(resources, name, version).inputs["facts"]["manifest"]
    folder = resources.models.download(name, version, scratch / f"refused-{version}")
    features, file = resources.project(name).features, resources.project_file(name)
    return read_version(folder, features=features, manifest=manifest, project=file)


def compared(
    project: Project, version: Predictor, against: Predictor, answering: Predictor, logged: list[Prediction]
) -> Interval:
    """Bound how much better one version is than another on logged rows, read by the schema of what answered them."""
    schema = answering.schema
    rows = unpack_rows(schema, [one.features for one in logged])
    if schema.time:
        times = [one.row_time.replace(tzinfo=None) for one in logged]
        rows[schema.time] = np.array(times, dtype="datetime64[us]")
    both = sample(
        project.evaluation.metric,
        truth_of(schema, [one.label for one in logged]),
        blocks(project, rows),
        candidate=version.predict(rows).values,
        champion=against.predict(rows).values,
        levels=version.levels,
        champion_levels=against.levels,
        unit=unit(project),
    )
    assert both.champion is not None
    return gain(project.evaluation.metric, both, both.champion)
