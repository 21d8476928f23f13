"""`holdfast verify`: make a version again, and say whether it is what the ledger has on record."""

from typing import Annotated

import typer

from data.errors import HoldfastError
from holdfast import console
from holdfast.options import HERE, Home, Json, actor, lead_to

app = typer.Typer()

BROKEN = 2


@app.command()
def verify(
    version: Annotated[
        str,
        typer.Argument(
            metavar="PROJECT[@VERSION]", help="A project, and a version's number or alias; the champion if left out."
        ),
    ],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Check hashes only; train nothing.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=512, help="Train with so many CPU threads, not as many as on record.")
    ] = None,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """Restore data, sources and parameters of a version, train it again, and compare. Needs MLflow.

    Says identical, equivalent, different or erased (with --quick: intact, different or erased). The exit status is
    0 where the version holds, 1 where it doesn't, 2 where that could not be found out.
    """
    from tasks.verifying import verify as run

    name, _, number = version.partition("@")
    try:
        with console.progress(quiet=as_json) as show:
            found = run(
                lead_to(home), name, number or "champion", quick=quick, threads=threads, progress=show, actor=actor()
            )
    except HoldfastError as error:
        console.fail(str(error))
        raise typer.Exit(BROKEN) from error
    console.report(found.report(), as_json=False) if not as_json else console.give_json(found)
    if not found.holds:
        raise typer.Exit(1)
