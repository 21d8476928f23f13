"""What the service saw, once people have said what was true, becomes a batch like any other."""

import hashlib
import logging
from dataclasses import replace

import numpy as np

from data.batches import frame_of
from data.errors import NoBatch
from data.schema import Rows, Schema
from data.sources import TRAFFIC, Batch
from monitoring import audit
from monitoring.records import Prediction, WindowKey
from projects.declaration import Project
from tasks.ingestion import publish, record
from tasks.landing import land
from tasks.observing import EVER, asked, clock, logged_schema, truth_of
from tasks.reports import Report
from tasks.resources import Resources
from tasks.watching import due

logger = logging.getLogger(__name__)


def harvest(resources: Resources, name: str) -> Report:
    """Land the matured labelled predictions of judged windows, those in fault left out, as one batch.

    A prediction is harvested once; with nothing new the report says so.
    """
    project = resources.project(name)
    if resources.store.ledger.generation(name) is None:
        return Report("nothing to harvest: nothing has been served yet")
    ripe = harvestable(resources, project)
    if not ripe:
        return Report("no labelled traffic that is not in a snapshot already")
    rows = rows_of(resources, ripe, project.schema)
    digest = hashlib.sha256("".join(sorted(prediction.id for prediction in ripe)).encode()).hexdigest()[:12]
    batch = Batch(f"{TRAFFIC}{resources.now():%Y%m%dT%H%M%S}-{digest}", frame_of(rows, project.schema))
    landed = land(resources, project, batch)
    resources.store.predictions.mark_harvested(name, [prediction.id for prediction in ripe], batch.name)
    if landed.changed:
        record(resources, project, landed)
    try:
        report = publish(resources, project, [landed])
        return replace(report, sentence=report.sentence + selection(project, ripe))
    except NoBatch:
        return Report(f"the harvest was refused: {landed.refused}", landed.report)


def selection(project: Project, harvested: list[Prediction]) -> str:
    """Say of selected labels how many of them may judge; nothing where all may."""
    if project.labels.coverage == "all":
        return ""
    judging = int(audit.drawn([one.id for one in harvested], project.labels.audit_share).sum())
    return f"; people chose whose labels these are, so {judging} audit rows of {len(harvested)} may judge"


def harvestable(resources: Resources, project: Project) -> list[Prediction]:
    """Return labelled, mature, unharvested predictions of sound windows, oldest first.

    Those of a time of training-serving skew are left out, and those of a generation that was not asked for a column
    of today's schema.
    """
    horizon = clock(resources, project) - project.labels.delay
    wanted = {*project.schema.features, *project.schema.identifiers}
    found: list[Prediction] = []
    judged = resources.store.verdicts.windows(project.name, check="data")
    begins = {(window.generation, window.index): window.start for window in judged}
    skewed = resources.store.incidents.skewed(project.name)
    for window in sound(resources, project, judged):
        if not wanted <= set(logged_schema(resources, project.name, window.generation).names):
            logger.warning("%s: generation %d was asked other columns", project.name, window.generation)
            continue
        log = resources.store.predictions
        # what a version on trial answered goes with the windows around it, and between two with the first
        window = window if window.index or window.end_row is not None else replace(window, start=EVER)  # noqa: PLW2901
        since = window.start if window.index else None
        until = begins.get((window.generation, window.index + 1), window.end)
        tried = log.on_trial(project.name, window.generation, since, until)
        found += [
            prediction
            for prediction in (*log.rows(window, labelled=True), *tried)
            if prediction.label is not None
            and prediction.row_time <= horizon
            and not any(spell.holds(prediction) for spell in skewed)
        ]
    once = {prediction.id: prediction for prediction in found}  # windows that were declared anew overlap older ones
    done = resources.store.predictions.harvested(project.name, list(once))
    return [prediction for id_, prediction in once.items() if id_ not in done]


def sound(resources: Resources, project: Project, judged: list[WindowKey]) -> list[WindowKey]:
    """Return those of the windows that no check and nobody calls a fault, and whose labels no check will call one."""
    declared = resources.store.incidents.declared(project.name)
    bad = {(window.generation, window.index) for window in resources.store.verdicts.at_fault(project.name)}
    bad |= awaited(resources, project, judged)
    fit = [one for one in judged if (one.generation, one.index) not in bad]
    return [one for one in fit if not any(incident.spoils(one) for incident in declared)]


def awaited(resources: Resources, project: Project, judged: list[WindowKey]) -> set[tuple[int, int]]:
    """Return the windows, as generation and index, whose labels are not judged yet and will be.

    One whose labels are mature is overdue, and waited for only if the next run of the monitor looks at it: a
    generation that is over may have been cut in other windows since.
    """
    horizon = clock(resources, project) - project.labels.delay
    past = resources.store.ledger.generations(project.name)
    done = {(one.generation, one.index) for one in resources.store.verdicts.windows(project.name, check="performance")}
    without = [one for one in judged if (one.generation, one.index) not in done]
    waiting = {(one.generation, one.index) for one in without if one.end > horizon}
    for generation in past:
        if any(one.generation == generation.number and one.end <= horizon for one in without):
            coming = due(resources, project, generation, replaced=generation != past[-1], at_once=None)
            waiting |= {(one.generation, one.index) for one, check in coming if check == "performance"}
    return waiting


def rows_of(resources: Resources, predictions: list[Prediction], schema: Schema) -> Rows:
    """Return logged predictions as a batch's rows: keyed by prediction, the label as the target."""
    rows = asked(resources, predictions, [*schema.identifiers, *schema.features])
    rows[schema.key] = np.array([prediction.id for prediction in predictions], dtype=object)
    rows[schema.target] = truth_of(schema, [prediction.label for prediction in predictions])
    if schema.time:
        times = [prediction.row_time.replace(tzinfo=None) for prediction in predictions]
        rows[schema.time] = np.array(times, dtype="datetime64[us]")
    return rows
