"""`holdfast keys`: who may ask the service."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Projects, actor, lead_to

if TYPE_CHECKING:
    from monitoring.store.clients import ApiClient
    from tasks.resources import Resources

keys = typer.Typer(no_args_is_help=True, help="API keys of the service.")
Name = Annotated[str, typer.Argument(help="The client's name: 1 to 80 of a-z 0-9 . _ -")]


@keys.command("add")
def keys_add(
    name: Name,
    *,
    scope: Annotated[list[str], typer.Option(help="predict, label, read or admin (all); may be repeated.")],
    project: Annotated[
        list[str] | None, typer.Option(help="The only project it is for; may be repeated. All if left out.")
    ] = None,
    rows_per_second: Annotated[
        int | None, typer.Option(help="Rows, and labels, a second that it may send; any number if left out.")
    ] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Make an API key and show it, once; it works within two seconds. The first one ends asking without."""
    from datetime import UTC, datetime

    resources = lead_to(home, folders)
    for one in project or ():
        refuse_unknown(resources, one)
    made, secret = resources.store.clients.add(
        name, scope, datetime.now(UTC), actor(), projects=project or (), rows_per_second=rows_per_second
    )
    if as_json:
        console.give_json({**shown(made), "key": secret})
        return
    console.say(secret)
    told = f"{made.name} may {', '.join(made.scopes)}; this is shown once, and kept as its hash only"
    typer.echo(told, err=True)


@keys.command("ls")
def keys_ls(home: Home = HERE, as_json: Json = False) -> None:
    """List the clients that have or had a key."""
    rows = [shown(one) for one in lead_to(home).store.clients.all()]
    if not rows and not as_json:
        console.say("no API key was ever made: `holdfast keys add NAME --scope predict` makes one")
    console.give_json(rows) if as_json else console.table(rows)


@keys.command("revoke")
def keys_revoke(name: Name, home: Home = HERE) -> None:
    """End a client's key; it is refused within two seconds."""
    from datetime import UTC, datetime

    lead_to(home).store.clients.revoke(name, datetime.now(UTC), actor())
    console.say(f"the key of {name} is revoked")


def refuse_unknown(resources: "Resources", project: str) -> None:
    """Refuse a project that has neither a file nor a history, as a misspelt one.

    Raises: NoSuchProject.
    """
    from data.errors import NoSuchProject
    from projects import discovery

    known = {*discovery.find(resources.settings.project_folders), *resources.store.ledger.projects()}
    if project not in known:
        raise NoSuchProject(project, known)


def shown(one: "ApiClient") -> dict[str, Any]:
    """Return what people may see of a client."""
    return {
        "name": one.name,
        "scopes": " ".join(one.scopes),
        "projects": " ".join(one.projects) or "all",
        "rows_per_second": one.rows_per_second,
        "made": f"{one.created_at:%Y-%m-%d %H:%M} UTC by {one.created_by}",
        "revoked": f"{one.revoked_at:%Y-%m-%d %H:%M} UTC by {one.revoked_by}" if one.revoked_at else None,
    }
