"""The commands about versions that answer beside the champion."""

from typing import Annotated

import typer

from data.errors import BadSetting
from holdfast import console
from holdfast.options import HERE, Home, Json, Project, Projects, Reason, actor, lead_to
from holdfast.promotion_commands import Version

app = typer.Typer(no_args_is_help=True, help="Let a version answer beside the champion before it may serve.")


@app.command()
def start(
    project: Project,
    version: Version,
    *,
    shadow: Annotated[bool, typer.Option("--shadow", help="It answers every row; nobody gets its answers.")] = False,
    canary: Annotated[float | None, typer.Option("--canary", help="It answers this share of the keys.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Start a trial; it ends by itself where the version falls behind by a margin that the project declares."""
    from tasks.trials import start as run

    if shadow == (canary is not None):
        raise BadSetting("either --shadow or --canary SHARE")
    resources = lead_to(home, folders)
    mode, share = ("shadow", 0.0) if canary is None else ("canary", canary)
    found = run(resources, project, version, mode=mode, share=share, actor=actor())  # type: ignore[arg-type]
    console.report(found, as_json=True) if as_json else console.say(found.sentence)


@app.command()
def show(project: Project, *, home: Home = HERE, folders: Projects = None, as_json: Json = False) -> None:
    """Show the trial that goes on, else the last one, and how both versions do."""
    from tasks.trials import show as run

    found = run(lead_to(home, folders), project)
    if as_json:
        console.give_json(found)
        return
    compared = found.pop("compared") or {}
    console.table([{"what": name, "is": value} for name, value in {**found, **compared}.items()])


@app.command()
def stop(
    project: Project, *, reason: Reason = "", home: Home = HERE, folders: Projects = None, as_json: Json = False
) -> None:
    """End the trial: the champion answers alone."""
    from tasks.trials import stop as run

    why = reason or "asked for on the command line"
    console.report(run(lead_to(home, folders), project, actor=actor(), reason=why), as_json=as_json)
