"""What a training can prove, said before it starts: the gain that its labels show, and whether its anchor will do."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.errors import HoldfastError
from data.schema import Category, Rows, length
from models import metrics
from models.compatibility import unaskable
from models.forgetting import check_anchor_size
from models.gates import MINIMUM_BLOCKS
from models.power import Detectable, detectable
from models.resampling import Interval
from monitoring.records import Generation
from projects.declaration import Project
from tasks.champions import brought
from tasks.comparison import Held, held_rows
from tasks.evaluation import baseline_values, blocks, unit
from tasks.resources import Resources


def prospects(resources: Resources, project: Project, folder: Path) -> Detectable:
    """Say what gain over the champion the prepared rows in `folder` can show; without one, over the trivial baseline.

    Raises: TooFewRows when the anchor could not show the margin, so that no training is wasted on it.
    """
    serving = resources.store.ledger.generation(project.name)
    held = held_rows(resources, project, folder, serving)
    known = champion_known(resources, project, serving, held.fresh) if serving else None
    if known is not None:
        check_anchor_size(project.gates, project.evaluation.metric, int(held.known.sum()))
    return detectable(project.evaluation.metric, known or baseline_known(project, held), unit=unit(project))


def champion_known(resources: Resources, project: Project, serving: Generation, rows: Rows) -> Interval | None:
    """Return the champion's metric on these rows; None where it can't be asked, which the judging will say."""
    with TemporaryDirectory(dir=resources.settings.home, prefix=".champions-") as scratch:
        try:
            champion = brought(resources, serving, Path(scratch))
        except HoldfastError:
            return None
    if unaskable(champion.schema, project.schema):
        return None
    return bounded(project, rows, champion.predict(rows).values, champion.levels)


def baseline_known(project: Project, held: Held) -> Interval:
    """Return the trivial baseline's metric on the fresh rows."""
    target = project.schema.columns[project.schema.target]
    levels = target.levels if isinstance(target, Category) else ()
    return bounded(project, held.fresh, baseline_values(project, held.train, held.fresh, levels), levels)


def bounded(project: Project, rows: Rows, values: np.ndarray, levels: tuple[str, ...]) -> Interval:
    """Bound the deciding metric of these answers; of too few blocks nothing is known."""
    together, metric = blocks(project, rows), project.evaluation.metric
    if len(set(together)) < MINIMUM_BLOCKS:
        return Interval(math.nan, math.nan, math.nan, length(rows), len(set(together)))
    return metrics.bounds(metric, metrics.per_row(metric, rows[project.schema.target], values, levels), together)
