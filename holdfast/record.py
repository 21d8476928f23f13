"""What is known of a home's stack: where it is, who supervises it, and which process is which (HOME/stack.json)."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from holdfast.processes import Identity

FILE = "stack.json"


@dataclass(frozen=True)
class Stack:
    """A stack, as its supervisor last wrote it down. `urls` has prefect, prefect_api, mlflow and service."""

    home: str
    mark: str
    supervisor: Identity
    started: float  # seconds since 1970
    ready: bool
    urls: dict[str, str]
    ports: dict[str, int]
    projects: str
    examples: str = ""
    clock: str = "wall"
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a command to this stack."""
        found = {
            "HOLDFAST_HOME": self.home,
            "PREFECT_API_URL": self.urls["prefect_api"],
            "MLFLOW_TRACKING_URI": self.urls["mlflow"],
            "HOLDFAST_PROJECTS": self.projects,
            "HOLDFAST_EXAMPLES": self.examples,
            "HOLDFAST_CLOCK": self.clock,
        }
        return found | {f"HOLDFAST_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}

    def write(self) -> None:
        """Write this down whole or not at all."""
        path = Path(self.home) / FILE
        scratch = path.with_name(f".{FILE}.{os.getpid()}.tmp")
        scratch.write_text(json.dumps(asdict(self), indent=1))
        scratch.replace(path)


def recorded(home: Path) -> Stack | None:
    """Return what was last written down, of a stack that may be gone."""
    try:
        fields = json.loads((home / FILE).read_text())
        return Stack(**{**fields, "supervisor": Identity(**fields["supervisor"])})
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def running(home: Path) -> Stack | None:
    """Return the stack of a home if its supervisor is alive."""
    stack = recorded(home)
    return stack if stack is not None and stack.supervisor.alive else None
