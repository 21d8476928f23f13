"""The reference made anew from what the log holds of a change that a person accepted."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from data.errors import NotAcceptable
from data.schema import Rows, concatenate
from models.predictor import Predictor
from monitoring import audit, reference, stored_reference
from monitoring.answers import Answers, join, read_shortly
from monitoring.calibration import calibration_for, in_time
from monitoring.incidents import harmless_absence
from monitoring.logged import reference_of
from monitoring.performance import WINDOWS, losses_in
from monitoring.records import Generation, Incident, Verdict, WindowKey
from monitoring.reference import Reference
from monitoring.wording import of_absence
from projects.declaration import Project
from tasks.acting import named
from tasks.observing import clock, observed, predictor_of
from tasks.resources import Resources

ALSO = ("label", "id", "row_time")
LAST = 2**31 - 1  # window


@dataclass(frozen=True)
class Remade:
    """A reference as the store keeps it, and what is told of it. `labelled`: rows whose losses it holds, or 0."""

    payload: bytes
    first_window: int
    last_window: int
    rows: int
    labelled: int
    origin: str
    budget: str
    losses: str
    table: list[dict[str, Any]]

    @property
    def sentence(self) -> str:
        """What changes with it."""
        return f"windows are compared with {self.origin} from now on; {self.losses}; {self.budget}"


def remake(resources: Resources, project: Project, serving: Generation, incident: Incident) -> Remade:
    """Build the reference from the windows since the change began; the one in which it began holds both worlds.

    Features and outputs come from these rows, none of which the champion learned from; losses too, where enough
    labels are mature, else those of the rows held out from it stay.

    Raises: NotAcceptable, there are too few rows yet. Corrupt.
    """
    began = first_window(incident)
    windows = changed(resources, incident, serving.number, began)
    known = reference_of(resources.store, windows[-1], resources.calibrations) if windows else None
    if known is None:
        raise NotAcceptable(f"{named(incident)}: no window since the change began is judged and sound; wait for one")
    predictor = predictor_of(resources, serving)
    built = None
    for some in (windows[1:] if windows[0].index == began else windows, windows):
        built = built or fit(resources, project, predictor, known, some)
    if built is None:
        raise NotAcceptable(too_few(incident, project, known, windows))
    made, rows, labelled, used = built
    losses = f"errors are compared with those on their {labelled} labels"
    if not labelled:
        losses = "errors are still compared with those on rows held out from training, since too few labels are there"
    budget = calibration_for(made, window_rows(made, project), project.monitors).budget.sentence
    return Remade(
        payload=stored_reference.to_bytes(made),
        first_window=began,
        last_window=windows[-1].index,
        rows=rows,
        labelled=labelled,
        origin=made.origin,
        budget=f"thresholds are set for {budget}",
        losses=losses,
        table=[changed_loss(known, made), {"what": "windows", "before": None, "now": used}],
    )


def fit(
    resources: Resources, project: Project, predictor: Predictor, known: Reference, windows: list[WindowKey]
) -> tuple[Reference, int, int, int] | None:
    """Return a reference made from these windows, its rows, its labelled rows and windows; None from too few."""
    parts: list[tuple[Rows, Answers]] = []
    for window in reversed(windows):  # the newest, as many as a reference keeps
        parts.append(observed(resources.store, predictor, window, read_shortly, known.projection, ALSO))
        if sum(len(said) for _, said in parts) >= reference.HISTORY:
            break
    filled = [part for part in reversed(parts) if len(part[1])]
    answers = join([said for _, said in filled])
    if len(answers) < max(reference.MINIMUM, project.monitors.minimum_rows):
        return None
    losses = mature_losses(resources, project, known, answers)
    seen = concatenate([rows for rows, _ in filled])
    made = build(project, predictor, known, seen, answers, losses if len(losses) else known.losses)
    if not calibration_for(made, window_rows(made, project), project.monitors).supported:
        return None
    return made, len(answers), len(losses), len(parts)


def build(
    project: Project, predictor: Predictor, known: Reference, seen: Rows, answers: Answers, losses: np.ndarray
) -> Reference:
    """Build the reference from logged rows; what they can't tell is taken from the one before."""
    count = len(answers)
    times = np.array([one.replace(tzinfo=None) for one in times_of(answers)], dtype="datetime64[us]")
    made = reference.build(
        {**predictor.monitored, **known.columns},
        seen,
        held_out=np.ones(count, bool),
        losses=losses,
        task=known.task,  # type: ignore[arg-type]
        exchangeable=known.exchangeable,
        ignore=project.monitors.ignore,
        seed=known.seed,
        origin=f"{count:,} rows that it answered since the change began",
        window_rows=known.window_rows,
        rows_a_quarter=known.rows_a_quarter,
        times=times if len(known.times) else None,
        importance=known.importance,
        projection=known.projection,
    )
    return replace(made, held=known.held)


def mature_losses(resources: Resources, project: Project, known: Reference, answers: Answers) -> np.ndarray:
    """Return the losses of the answers whose labels are there and due, oldest first; none where they are too few.

    Where rows hang together in time, less than a few windows can't tell how much windows differ: with such a reference
    no error would ever be judged.
    """
    horizon = clock(resources, project) - project.labels.delay
    ripe = answers.take(np.array([one <= horizon for one in times_of(answers)], dtype=bool))
    due, rows, least = audit.sample(ripe, project.labels), window_rows(known, project), project.monitors.minimum_rows
    labelled = due.answers.labelled
    if len(labelled) and in_time(known, rows):
        fullest = np.add.reduceat(due.which & ripe.known, np.arange(0, len(ripe), rows), dtype=int).max()
        least = max(least, WINDOWS * int(fullest))
    return losses_in(labelled, known.task) if len(labelled) >= least and not due.selected else np.zeros(0)


def times_of(answers: Answers) -> list[datetime]:
    """Return when the rows of answers were, which were read with them."""
    assert answers.times is not None
    return list(answers.times.tolist())


def first_window(incident: Incident) -> int:
    """Return the window in which an incident's change was first seen."""
    if incident.first_window is not None:
        return incident.first_window
    return int(min([*incident.detail.get("windows", ()), incident.detail.get("window", 0)]))


def changed(resources: Resources, incident: Incident, generation: int, began: int) -> list[WindowKey]:
    """Return the judged windows since a change began, oldest first, without those that are empty or in fault.

    Where the change is that something is not measured, a window at fault for that alone is none.
    """
    absence = harmless_absence(incident)

    def sound(said: Verdict) -> bool:
        missing = absence and said.outcome == "fault" and of_absence(said.detail.get("faults", {}))
        return bool(said.rows) and (missing or said.outcome not in ("fault", "failed"))

    judged = resources.store.verdicts.between(incident.project, generation, "data", began, LAST)
    return [one.verdict.window for one in judged if sound(one.verdict)]


def window_rows(made: Reference, project: Project) -> int:
    """Return how many rows a window of this reference has."""
    return project.monitors.window.rows or made.window_rows or project.monitors.minimum_rows


def too_few(incident: Incident, project: Project, known: Reference, windows: list[WindowKey]) -> str:
    """Say that a reference needs more rows than the change has shown."""
    need = f"{max(reference.MINIMUM, project.monitors.minimum_rows)} rows"
    if not known.exchangeable:
        need = "enough windows to tell how much they differ from each other"
    count = f"{len(windows)} window{'s' if len(windows) != 1 else ''}"
    return (
        f"{named(incident)}: {count} since the change began are too few yet, {need} are needed; wait and accept again"
    )


def changed_loss(known: Reference, made: Reference) -> dict[str, Any]:
    """Return how wrong the champion was before and is on the accepted rows, for people."""

    def mean(of: Reference) -> float | None:
        return float(of.losses.mean()) if len(of.losses) else None

    what = "error rate" if known.task == "classification" else "mean absolute error"
    return {"what": what, "before": mean(known), "now": mean(made)}
