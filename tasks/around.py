"""What stands around a window whose labels are judged: how many came before, from where, and how wrong answers were."""

from dataclasses import replace

import numpy as np

from data.schema import Category, Rows
from monitoring import audit, verdicts
from monitoring.answers import answers_of
from monitoring.concept import LONGEST
from monitoring.performance import losses_in
from monitoring.records import Prediction, WindowKey
from monitoring.reference import Reference
from projects.declaration import Project
from tasks.observing import EVER
from tasks.resources import Resources

RECENT = 60  # verdicts on labels
INFORMED = ("ok", "drift", "degraded", "insufficient")  # whose labels counted; a fault's must not become the usual


def around_of(
    resources: Resources, project: Project, known: Reference, window: WindowKey, seen: Rows
) -> verdicts.Around:
    """Return what the labels of a window are held against besides the reference."""
    return verdicts.Around(
        label_rates(resources, window.project),
        slices_of(known, seen),
        losses_before(resources, project, known, window),
    )


def slices_of(known: Reference, seen: Rows) -> Rows:
    """Return the categories that were asked; an answer is no source of errors."""
    asked = {name: values for name, values in seen.items() if name not in known.outputs}
    return {name: values for name, values in asked.items() if isinstance(known.columns.get(name), Category)}


def label_rates(resources: Resources, name: str) -> list[tuple[int, int]]:
    """Return (rows, labelled) of the mature windows that tell how many labels are usual, newest first.

    Those at fault tell nothing, until a person accepts their rate: then those before them tell nothing any more.
    """
    store = resources.store
    judged = store.verdicts.latest(name, "performance", RECENT)
    accepted = store.ledger.decisions(name, kinds=("accept",), limit=RECENT)
    taken = next((one for one in accepted if one.inputs.get("kind") == "labels"), None)
    usual = [one for one in judged if one.verdict.outcome in INFORMED]
    if taken is not None:
        first = (taken.inputs["generation"], taken.inputs["first_window"])
        since = [one for one in judged if (one.verdict.window.generation, one.verdict.window.index) >= first]
        usual = [one for one in since if one.verdict.outcome in INFORMED or one.at <= taken.at]
    details = [one.verdict.detail for one in usual]
    return [(one["rows"], one["labelled"]) for one in details if "labelled" in one]


def losses_before(resources: Resources, project: Project, known: Reference, window: WindowKey) -> np.ndarray:
    """Return the losses (N,) of the generation's newest labelled rows before a window, oldest first.

    Without those under a fault or from before an accepted change; none where rows hang together in time, whose
    losses are not looked at one by one.
    """
    if not known.exchangeable:
        return np.zeros(0)
    newest = resources.store.predictions.newest(window.project, window.generation, trial=0, since=EVER, limit=LONGEST)
    which = audit.sample(answers_of(newest), project.labels).which.tolist()
    counting = [one for one, counts in zip(newest, which, strict=True) if counts]
    since = accepted_until(resources, window)
    spoiled = spoiled_before(resources, window)
    earlier = [one for one in reversed(counting) if _before(one, window) and not (since and _before(one, since))]
    earlier = [one for one in earlier if not any(bad.holds(one) for bad in spoiled)]
    return losses_in(answers_of(earlier), known.task) if earlier else np.zeros(0)


def accepted_until(resources: Resources, window: WindowKey) -> WindowKey | None:
    """Return the end of the accepted change that a window is compared with, if there is one, as an empty window.

    Errors from before it belong to a world that the reference no longer knows: held against them, what was accepted
    would be a rise for ever.
    """
    store = resources.store
    revisions = store.references.revisions(window.project, window.generation)
    taken = [one.change for one in revisions if one.change is not None and one.change.first_window <= window.index]
    if not taken:
        return None
    judged = store.verdicts.windows(window.project, window.generation, "data", first=taken[-1].last_window)
    last = next((one for one in judged if one.index == taken[-1].last_window), None)
    return None if last is None else replace(last, start=last.end, start_row=last.end_row)


def spoiled_before(resources: Resources, window: WindowKey) -> list[WindowKey]:
    """Return the earlier windows of a generation whose errors say nothing of the world: a check's fault or a person's.

    Left among the errors, they would make the world look worse once the fault is mended.
    """
    store, number = resources.store, window.generation
    found = store.verdicts.at_fault(window.project, number)
    for one in store.incidents.declared(window.project):
        if one.generation == number and one.first_window is not None:
            last = window.index if one.closed_at is None or one.last_window is None else one.last_window
            between = store.verdicts.between(window.project, number, "data", one.first_window, last)
            found += [recorded.verdict.window for recorded in between]
    return [one for one in dict.fromkeys(found) if one.index < window.index]


def _before(one: Prediction, window: WindowKey) -> bool:
    return one.sequence < window.start_row if window.start_row is not None else one.row_time < window.start
