"""What speaks for an incident and against it: the last windows of a generation, beside what is open already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitoring.declarations import Governor, Monitors
from monitoring.governor import Circumstances
from monitoring.records import Check, Incident, IncidentKind, Outcome, Verdict

WORLD: tuple[IncidentKind, ...] = ("drift", "degraded")
INFORMATIVE: tuple[Outcome, ...] = ("ok", "drift", "degraded")
FAULTS: Mapping[Check, IncidentKind] = {"data": "fault", "performance": "labels"}  # neither hides nor ends the other


@dataclass(frozen=True)
class Setting:
    """What a verdict meets.

    Args:
        monitors: K and N.
        governor: the project's.
        circumstances: what the governor looks at.
        recent: earlier verdicts of the same generation, of both checks, in any order.
        open_incidents: of the project.
        channels: where alerts go.
        links: name -> URL, for people.
        now: wall time.
        replaced: whether another generation serves by now.
        accepted: the last window of a change that a person called harmless; -1 without one.
    """

    monitors: Monitors
    governor: Governor
    circumstances: Circumstances
    recent: Sequence[Verdict]
    open_incidents: Sequence[Incident]
    channels: tuple[str, ...]
    now: datetime
    links: Mapping[str, str] = field(default_factory=dict)
    replaced: bool = False
    accepted: int = -1

    def of_kind(self, *kinds: IncidentKind) -> list[Incident]:
        """Return the open incidents of these kinds."""
        return [incident for incident in self.open_incidents if incident.kind in kinds]


def bad_windows(verdict: Verdict, setting: Setting) -> list[int]:
    """Return which of the last N informative windows of the generation, this one among them, drift or degrade.

    Those of a change that was accepted say nothing any more.
    """
    worst: dict[int, bool] = {}
    for one in [*setting.recent, verdict]:
        known = one.window.generation == verdict.window.generation and one.window.index > setting.accepted
        if known and one.outcome in INFORMATIVE:
            worst[one.window.index] = worst.get(one.window.index, False) or one.outcome != "ok"
    last = [index for index in sorted(worst) if index <= verdict.window.index][-setting.monitors.n :]
    return [index for index in last if worst[index]]


def over(verdict: Verdict, setting: Setting) -> tuple[tuple[int, str], ...]:
    """Return the incidents that this verdict shows to be over."""
    closed = list(after_swap(setting.open_incidents, verdict.window.generation))
    where = f"window {verdict.window.index} of generation {verdict.window.generation}"
    if verdict.outcome in INFORMATIVE:
        mended = setting.of_kind(FAULTS[verdict.check])
        closed += [(one.id, f"recovered: {where} is healthy") for one in mended]
    kind: IncidentKind = "drift" if verdict.check == "data" else "degraded"
    if verdict.outcome == "ok" and quiet(verdict, setting):
        calm = [one for one in setting.of_kind(kind) if one.generation == verdict.window.generation]
        closed += [(one.id, f"quiet for {setting.monitors.n} windows, up to {where}") for one in calm]
    return tuple(closed)


def quiet(verdict: Verdict, setting: Setting) -> bool:
    """Tell whether the check's last N informative windows were all well; another check's say nothing of it."""
    outcomes = {
        one.window.index: one.outcome
        for one in [*setting.recent, verdict]
        if one.check == verdict.check
        and one.outcome in INFORMATIVE
        and one.window.generation == verdict.window.generation
    }
    last = [outcomes[index] for index in sorted(outcomes)][-setting.monitors.n :]
    return len(last) == setting.monitors.n and set(last) == {"ok"}


def after_swap(open_incidents: Sequence[Incident], generation: int) -> tuple[tuple[int, str], ...]:
    """Return the drift and degradation incidents that a new generation answers, with the reason."""
    why = f"answered by generation {generation}"
    return tuple((one.id, why) for one in open_incidents if one.kind in WORLD and one.generation < generation)
