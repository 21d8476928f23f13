"""`holdfast receipts`: what the loop's decisions turned out to be worth."""

from dataclasses import asdict
from typing import Annotated

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, lead_to

app = typer.Typer()
SHOWN = ("decided", "kind", "version", "against", "paid", "gain", "low", "high", "rows", "minutes")


@app.command()
def receipts(
    project: Annotated[str | None, typer.Argument(help="A project's name; every project if left out.")] = None,
    home: Home = HERE,
    as_json: Json = False,
) -> None:
    """Show what each promotion and each refusal was worth, as the rows logged since have settled it."""
    from tasks import history
    from tasks.receipts import account

    resources = lead_to(home)
    names = [history.known(resources, project)] if project else history.projects(resources)
    accounts = [account(resources, name) for name in names]
    if as_json:
        console.give_json([asdict(one) for one in accounts])
        return
    for one in accounts:
        console.say(f"{one.project}: {one.sentence}")
        console.table([{name: line[name] for name in SHOWN} for line in one.lines])
