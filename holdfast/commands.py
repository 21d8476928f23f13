"""The commands that do a project's work: each calls one task and prints its report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast import console
from holdfast.options import HERE, Device, Home, Json, Project, Projects, Reason, actor, lead_to

if TYPE_CHECKING:
    from projects.declaration import Project as Declared
    from tasks.reports import Report
    from tasks.resources import Resources

app = typer.Typer()


@app.command()
def projects(home: Home = HERE, folders: Projects = None, as_json: Json = False) -> None:
    """List the project files found, those that fail to import, and which of them the stack runs."""
    from projects.discovery import load_all

    resources = lead_to(home, folders)
    loaded, broken = load_all(resources.settings.project_folders)
    runs = {name for some in resources.projects() for name in some}
    rows: list[dict[str, Any]] = [
        {"project": name, "task": project.task, "state": "ok", "runs": name in runs}
        for name, project in sorted(loaded.items())
    ]
    rows += [
        {"project": name, "task": None, "state": f"{error.where}: {error.why}", "runs": False}
        for name, error in broken.items()
    ]
    if as_json:
        console.give_json(rows)
    else:
        console.table([{**row, "runs": "yes" if row["runs"] else "no"} for row in rows])


@app.command()
def check(project: Project, home: Home = HERE, folders: Projects = None, as_json: Json = False) -> None:
    """Try a project on 200 rows: fetch, validate, train, export, predict, check drift. Takes under a minute."""
    from tasks.checking import check as try_out

    def tell(step: str, found: str, seconds: float) -> None:
        if not as_json:
            console.say(f"{step:10} {found} ({seconds:.1f} s)")

    found = try_out(lead_to(home, folders), project, on_step=tell)
    console.report(found, as_json=True) if as_json else console.say(found.sentence)


@app.command()
def new(
    name: Project,
    from_csv: Annotated[Path, typer.Option("--from-csv", help="The CSV whose columns become the schema.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where the project file goes.")] = Path(),
    target: Annotated[str | None, typer.Option("--target", help="The column to predict; the last if left out.")] = None,
) -> None:
    """Write a project file to start from, its schema inferred from a CSV."""
    from tasks.scaffolding import scaffold

    folder.mkdir(parents=True, exist_ok=True)
    path = scaffold(name, from_csv, folder, target=target)
    console.say(f"{path}: look it over, then run `holdfast check {name} --projects {folder}`")


@app.command()
def ingest(
    project: Project,
    *,
    without: Annotated[
        str | None,
        typer.Option(help="A change that the project declares: its rows stay out of this home's batches from now on."),
    ] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Fetch, validate and version what the project's source has. Needs no server."""
    from tasks.ingestion import ingest as run

    console.report(run(lead_to(home, folders), project, hold=without), as_json=as_json)


@app.command()
def harvest(project: Project, home: Home = HERE, folders: Projects = None, as_json: Json = False) -> None:
    """Land the labelled predictions since the last snapshot as a batch."""
    from tasks.harvesting import harvest as run

    console.report(run(lead_to(home, folders), project), as_json=as_json)


@app.command()
def monitor(project: Project, home: Home = HERE, folders: Projects = None, as_json: Json = False) -> None:
    """Give every window that is due its verdict."""
    from tasks.watching import watch

    console.report(watch(lead_to(home, folders), project), as_json=as_json)


@app.command()
def score(
    project: Project,
    file: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet with the rows; the project's scoring source if left out.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Parquet file of the answers; under the home if left out.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Answer many rows with the champion, into the log and a Parquet file; a killed run goes on where it stopped."""
    from tasks.scoring import score as run

    resources = lead_to(home, folders)
    with console.progress(quiet=as_json) as show:
        found = run(resources, project, file=file, out=out, progress=show)
    console.report(found, as_json=as_json)


@app.command()
def train(
    project: Project,
    home: Home = HERE,
    folders: Projects = None,
    device: Annotated[Device | None, typer.Option(help="HOLDFAST_DEVICE if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Train a candidate in this process, judge it, and let it serve if the project says so. Needs MLflow."""
    resources = lead_to(home, folders)
    found = train_once(resources, project, device or resources.settings.device, quiet=as_json)
    console.report(found if as_json else replace(found, table=numbers(found.table)), as_json=as_json)


def train_once(
    resources: "Resources",
    project: str,
    device: Device,
    *,
    quiet: bool,
    enter: "Callable[[Declared], Declared]" = lambda declared: declared,
) -> "Report":
    """Take every step of a training and return the last one's report, which says the verdict.

    `enter`: what to make of the declared project first.
    """
    from tasks import person_runs, retraining

    def tell(found: "Report") -> "Report":
        if not quiet:
            console.say(found.sentence)
        return found

    holder = f"{actor()}{person_runs.TERMINAL}"
    with person_runs.by_hand(resources, project, actor=actor(), holder=holder) as run:
        tell(retraining.collect(resources, run))
        run.project = enter(run.project)
        if run.project.training.tournament:
            with console.progress(quiet=quiet) as show:
                report = retraining.compete(resources, run, device, show)
            tell(report)
            if not quiet:
                console.table(report.table)
        with console.progress(quiet=quiet) as show:
            report = retraining.prepare(resources, run, show)
        tell(report)
        with console.progress(quiet=quiet) as show:
            report = retraining.fit(resources, run, device, show)
        tell(report)
        tell(retraining.evaluate(resources, run))
        tell(retraining.register(resources, run))
        retraining.judge(resources, run)
        return retraining.settle(resources, run)


@app.command()
def retrain(
    incident: Annotated[int, typer.Argument(help="The incident's number, as alerts and the overview name it.")],
    reason: Reason,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Start the retraining of an open incident: it skips the cool-down and "nothing new to learn", not the budget."""
    from tasks.acting import open_incident
    from tasks.person_runs import retrain as run

    resources = lead_to(home, folders)
    about = open_incident(resources, incident)
    console.report(run(resources, about.project, incident, reason, actor()), as_json=as_json)


@app.command()
def why(
    subject: Annotated[list[str], typer.Argument(help="incident 3, intent 2, version 7 or generation 4.")],
    project: Annotated[str | None, typer.Option(help="Whose version or generation.")] = None,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """Print the chain of decisions that led to something and followed from it, with the gates of each judging."""
    from dataclasses import asdict

    asked = " ".join(subject)
    lines = lead_to(home).store.ledger.why(asked, project)
    if as_json:
        console.give_json([asdict(line) for line in lines])
        return
    if not lines:
        console.say(f"the ledger has nothing on {asked}")
    console.table(
        [
            {
                "at": f"{line.at:%Y-%m-%d %H:%M:%S}",
                "project": line.project,
                "decision": line.kind,
                "about": line.subject,
                "reason": line.reason,
            }
            for line in lines
        ]
    )
    for line in lines:
        if line.kind == "judge" and (gates := line.inputs.get("gates")):
            console.say(f"\n{line.subject} of {line.project}, judged at {line.at:%Y-%m-%d %H:%M:%S}:")
            console.table(numbers(gates))


def numbers(gates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is measured of gates, without their sentences, which the verdict holds."""
    from models.cards import GATE_COLUMNS

    return [{name: gate.get(name) for name in GATE_COLUMNS} for gate in gates]
