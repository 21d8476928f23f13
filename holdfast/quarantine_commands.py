"""The commands for rows that failed their expectations: list them, look at them, release them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Project, Projects, lead_to

app = typer.Typer(no_args_is_help=True, help="Rows that failed their expectations.")
BatchName = Annotated[str, typer.Argument(help="A batch's name, as `ls` shows it.")]


@app.command()
def ls(project: Project, home: Home = HERE, as_json: Json = False) -> None:
    """List the batches with quarantined rows, and why they failed."""
    from dataclasses import asdict

    from data.quarantine import ls as entries

    rows = [asdict(entry) for entry in entries(lead_to(home).batches, project)]
    if not rows and not as_json:
        console.say(f"nothing of {project} is in quarantine")
    console.give_json(rows) if as_json else console.table(rows)


@app.command()
def show(
    project: Project,
    batch: BatchName,
    to: Annotated[Path | None, typer.Option(help="Write the rows to this CSV, to be repaired.")] = None,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """Show a batch's quarantined rows with their reasons."""
    from data.quarantine import show as rows_of

    frame = rows_of(lead_to(home).batches, project, batch)
    if to is not None:
        frame.to_csv(to, index=False)
        console.say(f"{len(frame)} rows in {to}")
        return
    rows = [{str(name): cell for name, cell in row.items()} for row in frame.to_dict(orient="records")]
    console.give_json(rows) if as_json else console.table(rows)


@app.command()
def release(
    project: Project,
    batch: BatchName,
    *,
    repaired: Annotated[Path | None, typer.Option(help="CSV with the rows repaired; as they are if left out.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Validate quarantined rows again, repaired or not, and land those that are fit."""
    from tasks.landing import release as run

    resources = lead_to(home, folders)
    landed = run(resources, resources.project(project), batch, read_csv(repaired) if repaired else None)
    if as_json:
        console.give_json(landed)
        return
    console.say(f"{landed.accepted} rows landed as batch {landed.batch}, {landed.quarantined} are still in quarantine")
    console.table([landed.row()])


def read_csv(path: Path) -> Any:
    """Read a CSV of a person's.

    Raises: SourceUnavailable.
    """
    import pandas as pd

    from data.errors import SourceUnavailable

    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SourceUnavailable(f"{path}: {error}") from error
