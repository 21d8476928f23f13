"""Windows at fault for nothing but what a person accepted since as not measured: judged anew by what was accepted.

What they hold may then be learned. They were told of when they were judged first: judging them anew tells nobody.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from monitoring.records import Check, Outcome, Verdict, WindowKey
from monitoring.store.verdicts import Recorded
from monitoring.windows import AT_ONCE
from monitoring.wording import of_absence
from tasks.rereferencing import LAST
from tasks.resources import Resources

logger = logging.getLogger(__name__)

CHECKS: tuple[Check, Check] = ("data", "performance")
BAD: tuple[Outcome, ...] = ("fault",)
Judge = Callable[[WindowKey, Check, Verdict | None], Verdict]
"""Makes one check of one window, beside this verdict on its data; None: the one that is recorded."""


def absolve(resources: Resources, project: str, generation: int, judge: Judge) -> list[Verdict]:
    """Judge anew what was at fault for an accepted absence alone, oldest first; return what is said of the data now.

    Its labels were not looked at beside that fault, so they are now. What can't be judged keeps its verdict.
    """
    given = []
    for window in outdated(resources, project, generation)[:AT_ONCE]:
        said = judge(window, "data", None)
        made = [replace(said, reason=f"{said.reason}; judged anew by what a person accepted since")]
        if resources.store.verdicts.get(window, "performance") is not None:
            made.append(judge(window, "performance", said))
        if any(one.outcome == "failed" for one in made):
            continue
        resources.store.verdicts.revise(made, resources.now())
        logger.info("%s window %d: %s", project, window.index, made[0].reason)
        given.append(made[0])
    return given


def outdated(resources: Resources, project: str, generation: int) -> list[WindowKey]:
    """Return the windows of a generation at fault for what is missing alone, by a reference that is replaced since.

    Also one whose labels took over such a fault from the verdict on its data, which is another by now.
    """
    store = resources.store
    revisions = store.references.revisions(project, generation)
    changes = [(one.number, one.change.first_window) for one in revisions if one.change is not None]
    if not changes:
        return []
    first = min(window for _, window in changes)
    data, labels = (by_window(store.verdicts.between(project, generation, one, first, LAST, BAD)) for one in CHECKS)
    found = []
    for index, said in sorted({**labels, **data}.items()):
        newest = max(number for number, window in changes if window <= index)
        made_by = data[index].detail.get("revision") if index in data else None
        if of_absence(said.detail.get("faults", {})) and made_by != newest:
            found.append(said.window)
    return found


def by_window(judged: list[Recorded]) -> dict[int, Verdict]:
    """Return verdicts by their windows' places."""
    return {one.verdict.window.index: one.verdict for one in judged}
