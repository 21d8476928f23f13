"""The commands about how good answers are: the timeline of windows, and the rows that people should label."""

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Project, Projects, lead_to

if TYPE_CHECKING:
    from tasks.timeline import Point

app = typer.Typer()
labels = typer.Typer(no_args_is_help=True, help="What people say of predictions.")
app.add_typer(labels, name="labels")


@app.command()
def performance(
    project: Project,
    *,
    last: Annotated[int, typer.Option("--last", min=1, help="Windows to show.")] = 20,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Show the last windows: estimated without labels, partial while labels come, realised once they are mature."""
    from dataclasses import asdict

    from monitoring.estimates import BLIND
    from tasks.timeline import timeline

    points = timeline(lead_to(home, folders), project, last=last)
    if as_json:
        console.give_json([asdict(one) for one in points])
        return
    if not points:
        console.say(f"no window of {project} has a verdict yet: `holdfast monitor {project}` gives what is due")
        return
    console.table([row(one) for one in points], title=f"{project}: {points[-1].metric}")
    console.say(f"An estimate needs no labels, and {BLIND}. Intervals: 90 %.")


def row(point: "Point") -> dict[str, object]:
    """Return one window's line."""
    from data.wording import moment
    from monitoring.estimates import apart, worded

    def bounded(value: tuple[float, float, float] | None) -> str:
        if value is None:
            return "-"
        middle, low, high = (worded(point.metric, one) for one in value)
        return f"{middle} [{low}, {high}]"

    estimated = "-"
    if point.estimated is not None and point.estimated_error is not None:
        estimated = f"{worded(point.metric, point.estimated)} ± {apart(point.metric, point.estimated_error)}"
    return {
        "window": f"{point.generation}.{point.index}",
        "until": moment(point.end),
        "rows": point.rows,
        "labelled": f"{point.labelled / point.rows:.0%}" if point.rows else "-",
        "estimated": estimated,
        "partial": bounded(point.partial),
        "realised": bounded(point.realised),
        "data": point.outcome_data,
        "performance": point.outcome_performance or "waits for labels",
        "marks": marks(point),
    }


def marks(point: "Point") -> str:
    """Say what a reader has to know of a window's numbers."""
    late = f"{point.late} labels came after the verdict" if point.late else ""
    return ", ".join(one for one in ("selected" if point.selected else "", late) if one) or "-"


@labels.command()
def audit(
    project: Project,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to list.")] = 100,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """List the predictions that people should label whatever was answered, oldest first: the audit sample."""
    from tasks.auditing import to_label

    resources = lead_to(home, folders)
    found = to_label(resources, project, limit)
    if as_json:
        console.give_json(found)
        return
    declared = resources.project(project).labels
    if not declared.audit_share:
        console.say(f'{project} declares no audit sample: Labels(coverage="selected", audit_share=…)')
    elif not found:
        console.say(f"every audit row of {project} has its label")
    console.table(found)
