"""What a training can prove, said before it starts: the gain that its labels show, and whether its anchor will do."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from data.errors import HoldfastError
from models.comparison import sample
from models.compatibility import unaskable
from models.encoding import Encoder
from models.forgetting import check_anchor_size
from models.learners import learned_answers
from models.looks import tail
from models.outputs import Outputs
from models.power import Detectable, detectable
from monitoring.records import Generation
from projects.declaration import Project
from tasks.champions import brought
from tasks.comparison import Held, held_rows, judged_before
from tasks.evaluation import baseline_values, blocks, pilot, unit
from tasks.resources import Resources


def prospects(resources: Resources, project: Project, folder: Path) -> Detectable | None:
    """Say what gain over the champion the prepared rows in `folder` can show; without one, over the trivial baseline.

    A simple learner stands in for the version that is not trained yet; None where none can.

    Raises: TooFewRows when the anchor could not show the margin, so that no training is wasted on it.
    """
    serving = resources.store.ledger.generation(project.name)
    held = held_rows(resources, project, folder, serving)
    stored = json.loads((folder / "prepared" / "encoder.json").read_text())
    encoder = Encoder.from_json(stored, features=project.features)
    answered = champion_answers(resources, project, serving, held) if serving else None
    if answered is not None:
        check_anchor_size(project.gates, project.evaluation.metric, int(held.known.sum()))
    known = answered or Outputs(baseline_values(project, held.labels, held.fresh, encoder.answers), encoder.answers)
    kinds = (pilot(project),)
    learned = [*learned_answers(kinds, encoder, held.train, held.fresh, seed=project.training.seed).values()]
    if not learned:
        return None
    metric, truth = project.evaluation.metric, held.fresh[project.schema.target]
    pair = sample(
        metric,
        truth,
        blocks(project, held.fresh),
        candidate=known.values,
        levels=known.levels,
        champion=learned[0].values,
        champion_levels=encoder.answers,
        cutoffs=(known.cutoff, None),
    )
    assert pair.champion is not None
    before = judged_before(resources, project, held.fresh)
    return detectable(metric, pair.candidate, pair.champion, pair.blocks, unit=unit(project), tail=tail(before))


def champion_answers(resources: Resources, project: Project, serving: Generation, held: Held) -> Outputs | None:
    """Return the champion's answers to the fresh rows; None where it can't be asked, which the judging will say."""
    with TemporaryDirectory(dir=resources.settings.home, prefix=".champions-") as scratch:
        try:
            champion = brought(resources, serving, Path(scratch))
        except HoldfastError:
            return None
    if unaskable(champion.schema, project.schema):
        return None
    return champion.predict(held.fresh)
