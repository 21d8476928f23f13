"""Ways to run a project's monitor and governor, and the choice between them: on earlier history only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

import numpy as np

from data.errors import BadSetting, nearest
from models.outputs import levelled
from monitoring.declarations import Window
from projects.declaration import Project
from tasks.backtest_stream import Stream, stamp

DECLARED = "declared"
SAME = 0.005  # of the metric (of an error: as a share of it), which is no difference between policies


@dataclass(frozen=True)
class Policy:
    """A named change of a project's monitors, governor or training."""

    name: str
    about: str
    change: Callable[[Project], Project]


def windows(project: Project, factor: float) -> Project:
    """Make windows longer or shorter."""
    known = project.monitors.window
    span = known.span * factor if known.span is not None else None
    window = Window(rows=max(round(known.rows * factor), 1) if known.rows is not None else None, span=span)
    return replace(project, monitors=replace(project.monitors, window=window))


def persistence(project: Project, k: int, n: int) -> Project:
    """Ask for drift in k of n windows."""
    return replace(project, monitors=replace(project.monitors, k=k, n=n))


def cooldown(project: Project, factor: float) -> Project:
    """Rest longer or shorter after a retraining."""
    return replace(project, governor=replace(project.governor, cooldown=project.governor.cooldown * factor))


def labels(project: Project, factor: float) -> Project:
    """Ask for more or fewer new labels before a retraining."""
    asked = max(round(project.governor.minimum_labels * factor), 1)
    return replace(project, governor=replace(project.governor, minimum_labels=asked))


def since_drift(project: Project) -> Project:
    """Learn the rows since the drift, and at least as many as a retraining asks for as new labels."""
    fewest = min(project.training.newest, project.governor.minimum_labels)
    return replace(project, training=replace(project.training, rows="since_drift", newest=fewest))


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        one.name: one
        for one in (
            Policy(DECLARED, "as the project file says", lambda project: project),
            Policy("half-windows", "windows half as long", lambda project: windows(project, 0.5)),
            Policy("double-windows", "windows twice as long", lambda project: windows(project, 2.0)),
            Policy("at-once", "one drifting window is enough", lambda project: persistence(project, 1, 1)),
            Policy("patient", "three of the last four windows", lambda project: persistence(project, 3, 4)),
            Policy("short-rest", "a quarter of the cool-down", lambda project: cooldown(project, 0.25)),
            Policy("long-rest", "four times the cool-down", lambda project: cooldown(project, 4.0)),
            Policy("few-labels", "half the new labels", lambda project: labels(project, 0.5)),
            Policy("many-labels", "twice the new labels", lambda project: labels(project, 2.0)),
            Policy("since-drift", "learning from the rows since the drift only", since_drift),
        )
    }
)


def named(names: tuple[str, ...]) -> list[Policy]:
    """Return the policies of these names; "all" is every one.

    Raises: BadSetting.
    """
    for name in names:
        if name != "all" and name not in POLICIES:
            raise BadSetting(f"no policy {name!r}; {nearest(name, {*POLICIES, 'all'})}")
    return list(POLICIES.values()) if "all" in names else [POLICIES[name] for name in dict.fromkeys(names)]


def metric(stream: Stream, losses: np.ndarray, after: datetime, until: datetime) -> float:
    """Return accuracy, or the mean absolute error, over the rows seen in (after, until]; NaN without an answer.

    `losses`: of every row of the stream, as `Stream.losses` gives them.
    """
    within = losses[(stream.seen > stamp(after)) & (stream.seen <= stamp(until))]
    known = within[~np.isnan(within)]
    if not len(known):
        return float("nan")
    return float(1 - known.mean()) if levelled(stream.project.task) else float(known.mean())


def choose(found: Mapping[str, tuple[float, int]], task: str) -> str:
    """Return the best policy's name, given each one's metric and retrainings.

    Those within half a point (or half a percent of the error) of the best are as good, and the one with the fewest
    retrainings is taken; of equals the first. One whose metric is not a number is not taken.
    """
    sound = {name: one for name, one in found.items() if not np.isnan(one[0])}
    sign = 1.0 if levelled(task) else -1.0
    best = max((sign * value for value, _ in sound.values()), default=0.0)
    slack = SAME if levelled(task) else SAME * abs(best)
    near = [name for name, (value, _) in sound.items() if sign * value >= best - slack]
    return min(near, key=lambda name: sound[name][1]) if near else next(iter(found))
