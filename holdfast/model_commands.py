"""The commands that tell of versions: which there are, what one is, how two differ, what served when."""

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast import console
from holdfast.options import HERE, Home, Json, Project, Projects, lead_to

app = typer.Typer(no_args_is_help=True, help="Versions: what there is, how good it is, what served when.")
Version = Annotated[str, typer.Argument(help="A version's number, as `ls` shows it.")]


@app.command("ls")
def ls(
    project: Annotated[str | None, typer.Argument(help="A project's name; every project if left out.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """List versions with their stage, verdict and metric, newest first. Needs MLflow."""
    from tasks import history

    resources = lead_to(home, folders)
    names = [project] if project else history.projects(resources)
    rows = [row for name in names for row in history.versions(resources, name)]
    if as_json:
        console.give_json(rows)
    elif rows:
        console.table([listed(row) for row in rows])
    else:
        console.say(f"{project or 'no project'} has no version yet: run `holdfast train {project or 'PROJECT'}`")


def listed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a version's line for people: the bounds in one cell, times to the minute."""
    from models.card_words import number

    known = row["low"] is not None and row["high"] is not None
    return {
        "project": row["project"],
        "version": row["version"],
        "stage": row["stage"],
        "verdict": row["verdict"] or "not judged",
        "metric": f"{row['metric']} {number(row['value'])}" if row["metric"] else None,
        "interval": f"[{number(row['low'])}, {number(row['high'])}]" if known else None,
        "created": minute(row["created"]),
        "serves_since": minute(row["serves_since"]),
    }


def minute(moment: Any) -> str | None:
    """Write a time for people."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else None


@app.command("show")
def show(
    project: Project, version: Version, home: Home = HERE, folders: Projects = None, as_json: Json = False
) -> None:
    """Show one version: its verdict, its gates, where it served. With MLflow away, what the ledger knows of it."""
    from models.card_words import bounded, serving, unnamed, worth
    from tasks import history

    found = history.show(lead_to(home, folders), project, version)
    if as_json:
        console.give_json(found)
        return
    verdict = found["verdict"] or {"sentence": "not judged yet", "gates": []}
    served = found["generations"] and not found["generations"][-1]["until"]
    stage = found.get("stage") or ("champion" if served else "stage unknown")
    console.say(f"version {version} of {project}, {stage}: {verdict['sentence']}")
    if found.get("metric"):
        console.say(f"{found['metric']} {bounded(found)}")
    console.table([{"gate": one["gate"], "result": one["result"], "why": unnamed(one)} for one in verdict["gates"]])
    for line in (*serving(found), *worth(found)):
        console.say(line)
    for title, url in found.get("links", {}).items():
        console.say(f"{title}: {url}")
    if found["registry"]:
        console.say(found["registry"])


@app.command("compare")
def compare(
    project: Project,
    one: Annotated[str, typer.Argument(help="A version's number.")],
    two: Annotated[str, typer.Argument(help="Another's.")],
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Set two versions side by side: metrics, gates, parameters, data, sources and packages. Needs MLflow."""
    from tasks import contrast

    found = contrast.compare(lead_to(home, folders), project, one, two)
    if as_json:
        console.give_json(found)
        return
    console.say(found["sentence"])
    console.table(contrast.rows(found))
    console.say(contrast.changed_sources(found))
    for warning in found["warnings"]:
        console.say(warning)


@app.command("card")
def card(
    project: Project,
    version: Version,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page to this file.")] = None,
    home: Home = HERE,
    folders: Projects = None,
    as_json: Json = False,
) -> None:
    """Print a version's card, or write it as a page that stands alone. Needs MLflow."""
    from models.card_page import page
    from models.cards import markdown
    from tasks import history

    found = history.card(lead_to(home, folders), project, version)
    if html is not None:
        save(html, page(found))
    if as_json:
        console.give_json(found)
    elif html is not None:
        console.say(f"{html}: the card of version {version} of {project}")
    else:
        console.markdown(markdown(found))


def save(path: Path, text: str) -> None:
    """Write a file of a person's choosing.

    Raises: BadSetting.
    """
    from data.errors import BadSetting

    try:
        path.write_text(text)
    except OSError as error:
        raise BadSetting(f"--html {path}: {error.strerror}") from error


@app.command("history")
def history(project: Project, home: Home = HERE, folders: Projects = None, as_json: Json = False) -> None:
    """List what served, since when and until when, by whom and why, newest first. Needs no server."""
    from tasks import history as told

    found = told.generations(lead_to(home, folders), project)
    if as_json:
        console.give_json(found)
    elif found:
        console.table([term(row) for row in found])
    else:
        console.say(f"{project} has no champion yet: run `holdfast train {project}`")


def term(row: dict[str, Any]) -> dict[str, Any]:
    """Return a generation's line for people."""
    from models.card_words import when

    return {
        "generation": row["generation"],
        "version": f"{row['version']} (rollback)" if row["rollback"] else row["version"],
        "since": when(row["since"]),
        "until": when(row["until"]) if row["until"] else "now",
        "by": row["by"],
        "why": row["why"],
        "earned": row["earned"],
        "waived": ", ".join(row["waived"]) or None,
    }
