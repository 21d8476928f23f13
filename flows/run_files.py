"""Small files under HOME/run by which the processes tell the supervisor, and people, how they are."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from data.errors import BrokenProject


def write_broken(home: Path, broken: Mapping[str, BrokenProject]) -> None:
    """Say which project files are disabled, for `status` and the overview page."""
    text = {name: {"where": error.where, "why": error.why} for name, error in broken.items()}
    write_whole(home / "run" / "broken.json", json.dumps(text, indent=1))


def touch(home: Path, process: str) -> None:
    """Write that a process is at work, with the time in UTC."""
    write_whole(home / "run" / f"{process}.ready", datetime.now(UTC).isoformat())


def write_whole(path: Path, text: str) -> None:
    """Replace a small file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)
