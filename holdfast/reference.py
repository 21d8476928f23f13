"""Write the generated text: `dvc.yaml`, the page of settings and the page of commands. `make docs` runs it.

A test holds what stands in the repository equal to what this writes.
"""

from pathlib import Path
from typing import Any

from tasks.settings import CLONE, Settings


def pages() -> dict[Path, str]:
    """Return every generated file with its text."""
    from projects import discovery
    from tasks.pipeline import render

    shipped = {name: found.path for name, found in discovery.find(()).items()}
    return {
        CLONE / "dvc.yaml": render(shipped, CLONE),
        CLONE / "docs" / "settings.md": settings_page(),
        CLONE / "docs" / "cli.md": commands_page(),
    }


def settings_page() -> str:
    """Return every setting with its variable, its default and what it means."""
    lines = [
        "# Settings",
        "",
        "What the machine, not the project, decides; read from the environment once. Written by `make docs`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"HOLDFAST_{name.upper()}")
        default = f"`{field.default}`" if field.default not in ("", None) else ""
        lines.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return every command with its arguments and options."""
    import typer

    from holdfast.cli import app

    lines = ["# Commands", "", "Written by `make docs` from the commands themselves; `--help` says the same.", ""]
    lines += section(typer.main.get_command(app), "holdfast")
    return "\n".join(lines).rstrip() + "\n"


def section(command: Any, path: str) -> list[str]:
    """Return one command's lines, and those of the commands below it."""
    below = getattr(command, "commands", {})
    lines = [] if path == "holdfast" else [f"## `{path}`", "", (command.help or "").strip(), ""]
    rows = [row for parameter in command.params if (row := described(parameter))]
    if rows and not below:
        lines += ["| | |", "|---|---|", *rows, ""]
    for name in sorted(below):
        lines += section(below[name], f"{path} {name}")
    return lines


def described(parameter: Any) -> str | None:
    """Return one parameter's row; `--help` itself has none."""
    names = parameter.name.upper() if parameter.param_type_name == "argument" else ", ".join(parameter.opts)
    if "--help" in names:
        return None
    text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    return f"| `{names}` | {text} |"


def main() -> None:
    """Write what is not as it should be."""
    for path, text in pages().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


if __name__ == "__main__":
    main()
