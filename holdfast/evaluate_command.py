"""`holdfast evaluate`: what a project's recipe is worth, trained as often as a protocol asks."""

from typing import Annotated

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Project, Projects, lead_to

app = typer.Typer()


@app.command()
def evaluate(
    project: Project,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            help="holdout, stratified-holdout, time-split, rolling-6, 10-fold, leave-one-out, by-group or by-COLUMN; "
            "may be repeated. As declared if left out, else holdout.",
        ),
    ] = None,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How often all is done, each time from another seed.")] = 1,
    processes: Annotated[int | None, typer.Option(min=1, help="Trainings at once; one a core if left out.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Train and ask as often as a protocol says, and show metrics with intervals beside simple models.

    Learns from the project's accepted batches, or from its source before any was landed. Registers nothing; where
    MLflow is up, a run of the project's experiment keeps the numbers and the plots.
    """
    from tasks import recipe_report as report
    from tasks.recipe_log import log
    from tasks.recipes import evaluate as run

    resources = lead_to(home, folders)
    declared = resources.project(project).evaluation.protocols
    told = []
    for name in protocol or declared or ("holdout",):
        with console.progress(quiet=as_json) as show:
            show(0.0, name)
            result = run(resources, project, name, seeds=seeds, processes=processes, progress=show)
        found = report.facts(result)
        found["run"] = log(resources, found)
        told.append(found)
        if as_json:
            continue
        console.say(report.sentence(found))
        console.table(report.table(found))
        pace = ", ".join(f"{name} {each:.2g} s" for name, each in found["seconds_a_training"].items())
        console.say(f"{found['data']}; {found['seconds']:.0f} s in all; a training: {pace}")
        if found["note"]:
            console.say(f"note: {found['note']}")
        console.say(f"MLflow run: {found['run']}" if found["run"] else "not logged: no MLflow server is up")
    if as_json:
        console.give_json(told)
