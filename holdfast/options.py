"""What commands share: their options, and the way to a home."""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tasks.resources import Resources

Home = Annotated[Path, typer.Option("--home", envvar="HOLDFAST_HOME", help="Folder of all state.")]
Projects = Annotated[
    list[Path] | None, typer.Option("--projects", help="A folder with project files; may be repeated.")
]
Project = Annotated[str, typer.Argument(help="A project's name.")]
Device = Literal["auto", "cpu", "cuda"]
Reason = Annotated[str, typer.Option("--reason", help="Kept in the ledger.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HERE = Path(".holdfast")
FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]  # of a moment, in UTC


def lead_to(home: Path, projects: list[Path] | None = None) -> "Resources":
    """Point this process at a home and at its stack if that is up, and return what commands work with."""
    from data.environment import tool_environment
    from holdfast.record import running
    from tasks.resources import connect

    home = home.expanduser().absolute()
    stack = running(home)
    os.environ.update(tool_environment(home))
    if stack is not None:
        os.environ.update(stack.environment)
    if projects:
        os.environ["HOLDFAST_PROJECTS"] = folders(projects)
    return connect()


def folders(projects: list[Path]) -> str:
    """Return project folders as one setting.

    Raises: BadSetting, for one that does not exist.
    """
    from data.errors import BadSetting

    for folder in projects:
        if not folder.is_dir():
            raise BadSetting(f"--projects {folder}: no such folder")
    return ":".join(str(folder.expanduser().absolute()) for folder in projects)


def actor() -> str:
    """Return who sits at this terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"
