"""`holdfast tournament`: try several ways to learn on earlier rows, and train the best one."""

from dataclasses import replace
from typing import Annotated

import typer

from holdfast import console
from holdfast.commands import numbers, train_once
from holdfast.options import HERE, Device, Home, Json, Project, Projects, lead_to

app = typer.Typer()


@app.command()
def tournament(
    project: Project,
    home: Home = HERE,
    folders: Projects = None,
    device: Annotated[Device | None, typer.Option(help="HOLDFAST_DEVICE if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Try several ways to learn on earlier rows, train the best one and judge it. Needs MLflow.

    The project's `Training(tournament=…)` says which; without one: the newest rows, those since the drift, and from the
    champion's weights.
    """
    from tasks.tournament import entered

    resources = lead_to(home, folders)
    chosen = device or resources.settings.device
    found = train_once(resources, project, chosen, quiet=as_json, enter=entered)
    console.report(found if as_json else replace(found, table=numbers(found.table)), as_json=as_json)
