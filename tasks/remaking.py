"""Train again with the sources of an archive: `python -P tasks/remaking.py TREE PROJECT STEP…`.

Started by its path in a process of its own, which ends when its parent does. Nothing of ours is imported but from
TREE: today's sources can't be found.
"""

import os
import runpy
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

ROOMS = ("holdfast", "flows", "serving", "tasks", "projects", "monitoring", "models", "data")


class Archived(MetaPathFinder):
    """Finds our rooms in one folder and nowhere else."""

    def __init__(self, tree: str) -> None:
        self.tree = tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of ours; others are left to Python.

        Raises: ModuleNotFoundError for one that the archive lacks.
        """
        if fullname.partition(".")[0] not in ROOMS:
            return None
        found = PathFinder.find_spec(fullname, [self.tree] if path is None else path, target)
        if found is None:
            raise ModuleNotFoundError(f"the archive has no module {fullname}", name=fullname)
        return found


def end_with_parent() -> None:
    """Wait until the pipe from the parent closes, then end this process and what it forked."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Run the archive's own steps, as `dvc repro` would."""
    tree, project, *steps = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.meta_path.insert(0, Archived(tree))
    if os.environ["HOLDFAST_DEVICE"] == "cuda":
        import torch

        if not torch.cuda.device_count():
            os.environ["HOLDFAST_DEVICE"] = "cpu"
    for step in steps:
        sys.argv = ["tasks.pipeline", step, project]
        runpy.run_module("tasks.pipeline", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
