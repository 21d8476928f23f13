"""What we last wrote to Prefect, so that a start can tell a person's edit from a change of ours.

Three values meet for each thing: what we last wrote, what stands there now, what is wanted. Where now differs
from what we wrote, a person changed it, and it stays.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Applied:
    """The memory of one server: by deployment (`monitor/digits`) and by automation name."""

    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    automations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def forget(self) -> None:
        """Begin anew: this is another server."""
        self.deployments.clear()
        self.automations.clear()


def memory_path(home: Path) -> Path:
    """Return where the memory of a home stands."""
    return home / "prefect" / "applied.json"


def remember(home: Path) -> Applied:
    """Read the memory; a missing or broken file is an empty one, which takes over what the server has."""
    try:
        return Applied(**json.loads(memory_path(home).read_text()))
    except (OSError, ValueError, TypeError):
        return Applied()


def keep(home: Path, applied: Applied) -> None:
    """Write the memory, whole or not at all."""
    path = memory_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".applied.", delete=False) as file:
        json.dump(asdict(applied), file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)


def merged(last: Any, now: Any, wanted: Any) -> Any:
    """Return what should stand there: ours where nobody touched it, else the person's."""
    return wanted if now == last else now
