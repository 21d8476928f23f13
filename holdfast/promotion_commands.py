"""The commands by which people decide what serves."""

from typing import Annotated

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Project, Projects, Reason, actor, lead_to

app = typer.Typer()
Version = Annotated[str, typer.Argument(help="Version in the registry.")]


@app.command()
def promote(
    project: Project,
    version: Version,
    *,
    reason: Reason = "",
    waive: Annotated[list[str] | None, typer.Option(help="A gate that need not hold; may be repeated.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Let a version serve, if its gates passed or are waived."""
    from tasks.promoting import promote as run

    resources = lead_to(home, folders)
    why = reason or ("" if waive else "asked for on the command line")  # a waiver needs a reason of its own
    found = run(resources, project, version, actor=actor(), reason=why, waive=tuple(waive or ()))
    console.report(found, as_json=as_json)


@app.command()
def rollback(
    project: Project,
    *,
    to: Annotated[str | None, typer.Option(help="Version; the previous champion if left out.")] = None,
    reason: Reason = "",
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Make an earlier champion serve again, and record why."""
    from tasks.promotion import rollback as run

    resources = lead_to(home, folders)
    why = reason or "asked for on the command line"
    console.report(run(resources, project, to, actor=actor(), reason=why), as_json=as_json)


@app.command()
def approve(
    project: Project,
    version: Version,
    reason: Reason,
    *,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Say yes to a version that waits for a person: it serves, and the gates that were in question are waived."""
    from tasks.approving import approve as run

    found = run(lead_to(home, folders), project, version, actor=actor(), reason=reason)
    console.report(found, as_json=as_json)


@app.command()
def reject(
    project: Project,
    version: Version,
    reason: Reason,
    *,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Say no to a version that waits for a person: what serves goes on serving."""
    from tasks.approving import reject as run

    found = run(lead_to(home, folders), project, version, actor=actor(), reason=reason)
    console.report(found, as_json=as_json)


@app.command()
def approvals(
    project: Annotated[str | None, typer.Argument(help="Whose; every project's if left out.")] = None,
    *,
    answered: Annotated[bool, typer.Option("--answered", help="Also the last 20 that have an answer.")] = False,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """List the versions that wait for a person's yes or no."""
    from tasks.asking import listed

    rows = listed(lead_to(home), project, answered=answered)
    if not rows and not as_json:
        console.say("nothing waits for a person")
    console.give_json(rows) if as_json else console.table(rows)
