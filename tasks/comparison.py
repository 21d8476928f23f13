"""Candidate against champions, on the same rows: which rows, and what each scored."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data.descriptors import describe, described
from data.schema import Rows, take
from models.compatibility import incompatibilities
from models.folder import manifest_sha256, size_mb
from models.gates import MINIMUM_BLOCKS
from models.judging import Comparison, Judgement, Sample, judge, sample
from models.learners import learned_answers
from models.lists import RECALL, Asked, Rated
from models.looks import looks, sketch
from models.metrics import value
from models.outputs import Outputs
from models.predictor import Predictor, read_version
from models.slicing import cut
from monitoring import audit
from monitoring.answers import answers_of
from monitoring.records import Generation, Prediction
from projects.declaration import Project
from projects.discovery import file_of
from tasks.auditing import representative
from tasks.champions import Champions, askable, levels, summon
from tasks.evaluation import anchor_version, baseline_values, blocks, latency_ms, scores, telling, unit
from tasks.harvesting import rows_of, sound
from tasks.lineage import NOTHING, Lineage, lineage_of
from tasks.observing import clock, logged_schema
from tasks.preparation import roles_by_entity
from tasks.resources import Resources
from tasks.role_files import labels, read_role, some_of
from tasks.snapshot_rows import BATCH

LATEST = 200  # judgings that are looked through for the same rows


@dataclasses.dataclass(frozen=True)
class Held:
    """The rows that judge, none of which the candidate or the champion learned from, and those the baselines learn."""

    fresh: Rows
    anchor: Rows
    known: np.ndarray  # which anchor rows were there when the champion was made, as a mask
    train: Rows
    labels: Rows  # those that the trivial rule knows, once they have arrived


def judge_version(resources: Resources, project: Project, folder: Path, *, waived: tuple[str, ...] = ()) -> Judgement:
    """Judge the version in `folder`, beside its prepared rows, by its project's gates and against what serves now.

    Raises: TooFewRows.
    """
    candidate = read_version(folder / "model", features=project.features, project=file_of(project))
    with TemporaryDirectory(dir=resources.settings.home, prefix=".champions-") as scratch:
        champions = summon(resources, project, Path(scratch))
    held = held_rows(resources, project, folder, champions.serving)
    compared = compare(project, candidate, askable(champions, project.schema), held)
    if champions.predictor:
        found = incompatibilities(champions.predictor.schema, candidate.schema)
        compared = dataclasses.replace(compared, incompatible=found)
    before = judged_before(resources, project, held.fresh, manifest_sha256(folder / "model"))
    rows = sketch(held.fresh[project.schema.key])
    compared = dataclasses.replace(compared, size_mb=size_mb(folder / "model"), judged=before, rows=rows)
    return judge(project.gates, compared, waived=waived)


def judged_before(resources: Resources, project: Project, fresh: Rows, manifest: str = "") -> int:
    """Count the candidates that mostly these rows have held against a champion, but for the one with `manifest`."""
    earlier = [one.inputs for one in resources.store.ledger.decisions(project.name, kinds=("judge",), limit=LATEST)]
    known = [
        (one["manifest"], one["rows"])
        for one in earlier
        if one.get("rows") and one.get("champion") and one["manifest"] != manifest
    ]
    return looks(fresh[project.schema.key], known)


def compare(project: Project, candidate: Predictor, champions: Champions, held: Held) -> Comparison:
    """Score all on the same rows: fresh ones with the baselines, and the anchor with every champion so far."""
    fresh, anchor, serving = held.fresh, held.anchor, champions.predictor
    answers = candidate.predict(fresh)
    truth = fresh[project.schema.target]
    theirs = serving.predict(fresh) if serving else None
    new = sampled(project, candidate, champions, fresh, (answers, theirs), held)
    known = (candidate.predict(anchor), serving.predict(anchor) if serving else None)
    old = sampled(project, candidate, champions, anchor, known)
    lists = listed(project, candidate, held)
    return Comparison(
        metric=project.evaluation.metric,
        fresh=new,
        anchor=old.take(held.known) if serving and held.known.any() else None,
        metrics={**scores(project, truth, answers), **({RECALL: value(RECALL, lists.candidate)} if lists else {})},
        lists=lists,
        champion_metrics=scores(project, truth, theirs) if theirs is not None else {},
        champion=champions.serving.version if champions.serving else None,
        latency_ms=latency_ms(candidate, fresh),
        common=old if serving and (champions.past or champions.gone) and old.rows else None,
        gone=champions.gone,
        slices=sliced(project, candidate, (fresh, anchor), new.joined(old)),
        unasked=champions.why,
        anchor_version=anchor_version(project, anchor),
    )


def listed(project: Project, candidate: Predictor, held: Held) -> Sample | None:
    """Return how much of what users liked among the fresh rows the candidate's lists held, and the most popular items.

    None where the project ranks nothing.
    """
    if project.schema.ranking is None:
        return None
    encoder, asked = candidate.encoder, Asked.of(candidate.encoder, held.fresh)
    rated = Rated.of(encoder, held.train)
    popular = asked.by_popularity(encoder, held.train, rated)[RECALL]
    return Sample(asked.users, asked.by_network(candidate, rated)[RECALL], baseline=popular, unit="users")


def sampled(
    project: Project,
    candidate: Predictor,
    champions: Champions,
    rows: Rows,
    answers: tuple[Outputs, Outputs | None],
    held: Held | None = None,
) -> Sample:
    """Return the models' answers to the same rows, as a gate compares them.

    `answers`: the candidate's and the champion's. Rows that come with `held` are answered by the baselines too;
    others by every champion so far.
    """
    serving, (ours, theirs) = champions.predictor, answers
    if held is None:
        others = {version: one.predict(rows) for version, one in champions.past.items()}
        if champions.serving and theirs is not None:
            others[champions.serving.version] = theirs
    else:
        learned = learned_answers(project.gates.beat, candidate.encoder, held.train, rows, seed=project.training.seed)
        others = {name: Outputs(one.values, candidate.levels) for name, one in learned.items()}
    return sample(
        project.evaluation.metric,
        rows[project.schema.target],
        blocks(project, rows),
        candidate=ours.values,
        champion=None if theirs is None else theirs.values,
        baseline=None if held is None else baseline_values(project, held.labels, rows, candidate.levels),
        levels=candidate.levels,
        champion_levels=serving.levels if serving else None,
        cutoffs=(ours.cutoff, theirs.cutoff if theirs is not None else None),
        others=others,
        known=levels(champions),
        unit=unit(project),
    )


def sliced(project: Project, candidate: Predictor, parts: tuple[Rows, ...], held: Sample) -> dict[str, Sample]:
    """Return the slices that the project names, over fresh and anchor rows together: all that neither learned from."""
    if not project.gates.slices:
        return {}
    columns = candidate.encoder.columns
    seen = [describe(columns, candidate.encoder.derive(rows)) for rows in parts]
    rows = {name: np.concatenate([one[name] for one in seen]) for name in project.gates.slices}
    found = cut(described(columns), rows, project.gates.slices)
    return {one.name: held.take(one.which).named(one.about) for one in found}


def held_rows(resources: Resources, project: Project, folder: Path, serving: Generation | None) -> Held:
    """Return the rows of a judging. The anchor is the whole one; those the champion knew are marked in it."""
    lineage = lineage_of(resources, project, serving) if serving else NOTHING
    anchor = read_role(folder, project.schema, "anchor")
    anchor = telling(project, take(anchor, representative(project, anchor)))
    train = without_origin(some_of(project, folder, "train"))
    return Held(
        fresh=telling(project, fresh_rows(resources, project, folder, serving, lineage)),
        anchor=without_origin(anchor),
        known=lineage.knew(anchor[project.schema.key]),
        train=train,
        labels=labels(project, folder, train),
    )


def fresh_rows(
    resources: Resources, project: Project, folder: Path, serving: Generation | None, lineage: Lineage
) -> Rows:
    """Return labelled rows that neither model learned from, the newest there are enough of.

    Where rows are exchangeable, first the judge rows of the newest mature windows; else the judge rows that were not
    there yet when the champion was made; else, and without a champion, all judge rows of the snapshot. Where they are
    not, those that the champion did not learn from, few as they may be.
    """
    judged = read_role(folder, project.schema, "judge")
    judged = take(judged, representative(project, judged) & ~lineage.learned(judged[project.schema.key]))
    if serving is None:
        return without_origin(judged)
    if not project.evaluation.exchangeable:
        since = after_cut(project, serving, judged)
        return without_origin(judged if since is None else take(judged, since))
    newest = newest_window_rows(resources, project, ("judge",))
    if newest is not None and enough(project, newest):
        return newest
    unseen = take(judged, ~lineage.knew(judged[project.schema.key]))
    return without_origin(unseen if enough(project, unseen) else judged)


def enough(project: Project, rows: Rows) -> bool:
    """Tell whether these rows can say how much two models differ."""
    return len(set(blocks(project, rows))) >= MINIMUM_BLOCKS


def unlearned(project: Project, generation: Generation, rows: Rows, lineage: Callable[[], Lineage]) -> np.ndarray:
    """Tell which rows, dealt out by time, a generation did not learn from, as a mask."""
    since = after_cut(project, generation, rows)
    return ~lineage().learned(rows[project.schema.key]) if since is None else since


def after_cut(project: Project, generation: Generation, rows: Rows) -> np.ndarray | None:
    """Tell which rows are newer than all that a generation learned from, as a mask; None where time can't tell."""
    if not project.schema.time or project.schema.ranking or not generation.cut:
        return None
    return np.asarray(rows[project.schema.time] > np.datetime64(generation.cut.replace(tzinfo=None)))


def newest_window_rows(resources: Resources, project: Project, roles: tuple[str, ...]) -> Rows | None:
    """Return the labelled, mature rows of one of `roles` in the last `n` windows that have labels and no fault.

    Where people choose what to label, those of the audit sample, if there is one.
    """
    serving = resources.store.ledger.generation(project.name)
    horizon = clock(resources, project) - project.labels.delay
    skewed = resources.store.incidents.skewed(project.name)
    judged = resources.store.verdicts.windows(project.name, serving.number, "data") if serving else []
    windows = sound(resources, project, judged)
    wanted = {*project.schema.features, *project.schema.identifiers}
    if not windows or not wanted <= set(logged_schema(resources, project.name, windows[0].generation).names):
        return None
    found: list[list[Prediction]] = []
    for window in reversed(windows):
        labelled = resources.store.predictions.rows(window, labelled=True)
        counts = audit.sample(answers_of(labelled), project.labels).which.tolist()
        mature = [one for one, counted in zip(labelled, counts, strict=True) if counted and one.row_time <= horizon]
        mature = [one for one in mature if not any(bad.holds(one) for bad in skewed)]
        found += [mature] if mature else []
        if len(found) == project.monitors.n:
            break
    if not found:
        return None
    rows = rows_of(resources, [one for mature in reversed(found) for one in mature], project.schema)
    evaluation = project.evaluation
    role = roles_by_entity(rows[project.schema.entity_column], evaluation.judge, evaluation.anchor)
    return take(rows, np.isin(role.astype(str), roles))


def without_origin(rows: Rows) -> Rows:
    """Drop the column that says which batch a row came from."""
    return {name: values for name, values in rows.items() if name != BATCH}
