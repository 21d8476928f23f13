"""Would a change have been seen? A shift of somebody's choosing, put into copies of windows, with the rule in force."""

from data.errors import HoldfastError, NoChampion, nearest
from data.schema import Number
from monitoring.budget import until_incident
from monitoring.calibration import Calibration, calibration_for, stages_for
from monitoring.detectable import Stage, power
from monitoring.reference import Reference
from monitoring.stored_reference import from_bytes
from monitoring.summary import change
from tasks.reports import Report
from tasks.resources import Resources


class NotRehearsed(HoldfastError):
    """A change can't be tried; the message says why."""


def rehearse(resources: Resources, name: str, columns: list[str], size: float) -> Report:
    """Return with which probability a change would be seen, column by column; nothing is sent, logged or judged.

    `columns`: all that are watched where none is named; `size`: standard deviations of a number with many values, else
    the share, 0 to 1, of the rows that move to one value.

    Raises: NoChampion, NotRehearsed.
    """
    project, serving = resources.project(name), resources.store.ledger.generation(name)
    payload = resources.store.references.get(name, serving.number) if serving else None
    if serving is None or payload is None:
        raise NoChampion(name)
    reference = from_bytes(payload, resources.calibrations)
    rows = project.monitors.window.rows or reference.window_rows
    if not rows:
        raise NotRehearsed(f"nobody knows how many rows a window of {name} has; its schema has no time column")
    found, where = calibration_for(reference, rows, project.monitors), stages_for(reference, rows, project.monitors)
    if not where:
        raise NotRehearsed(f"nothing is watched in {name}, or its history is shorter than two windows of {rows:,} rows")
    for one in columns:
        if one not in where:
            raise NotRehearsed(f"no column {one!r} is watched in {name}; {nearest(one, where)}")
    table = [_tried(reference, found, where[one], one, size) for one in columns or where]
    first = table[0]
    what = f"{first['column']} changed by {first['change']}: an incident within {found.budget.rule.within}"
    sentence = f"{what} with {first['incident']} probability, at {found.budget.sentence}"
    return Report(
        sentence if len(table) == 1 else f"windows of {found.rows:,} rows, at {found.budget.sentence}", table=table
    )


def _tried(reference: Reference, found: Calibration, stage: Stage, name: str, size: float) -> dict[str, str]:
    """Return what one column's change would look like, for people."""
    sigmas = reference.binnings[name].kind == "quantiles" and isinstance(reference.columns[name], Number)
    if not sigmas and not 0 <= size <= 1:
        raise NotRehearsed(f"{name} has few values: its size is the share of rows that move, 0 to 1")
    rule = found.budget.rule
    window, incident = power(reference, name, size, stage, found.nulls[name], found.threshold, rule)
    if name in found.blind:
        window = incident = 0.0
    after = until_incident(window, rule)
    return {
        "column": name,
        "change": f"{size:+g} sigma" if sigmas else f"{size:.0%} of rows",
        "a window shows it": f"{window:.0%}",
        "incident": f"{incident:.0%}",
        "after": f"{after:.1f} windows" if after < 1000 else "never",
        "smallest seen": change(found.detectable[name]),
    }
