"""The DVC workspace that holds the pipeline's outputs: stages are run by us and committed, so `dvc repro` agrees."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.versions.objects import opened, patiently

CONFIG = """\
[core]
    no_scm = true
    analytics = false
    check_update = false
[cache]
    type = copy
"""


class Workspace:
    """A folder with a `dvc.yaml`: the clone, or one inside a home."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def ensure(self, dvc_yaml: str) -> None:
        """Make the workspace and write its pipeline; in a clone the tracked files stand."""
        if (self.root / ".git").exists() and (self.root / "dvc.yaml").exists():
            return
        (self.root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
        _write_if_other(self.root / ".dvc" / "config", CONFIG)
        _write_if_other(self.root / "dvc.yaml", dvc_yaml)

    def changed(self, stage: str) -> bool:
        """Tell whether `dvc repro` would run a stage because of itself, its dependencies or its outputs."""

        def ask() -> bool:
            with opened(self.root) as repo, repo.lock:
                found = repo.stage.load_one(path=str(self.root / "dvc.yaml"), name=stage)
                return bool(found.changed())

        return patiently(ask)

    def commit(self, stage: str) -> None:
        """Record a stage's dependencies and outputs as they are now."""

        def record() -> None:
            with opened(self.root) as repo, repo.lock:
                found = repo.stage.load_one(path=str(self.root / "dvc.yaml"), name=stage)
                found.save(run_cache=False)  # DVC's cache of runs only works from the workspace's own folder
                found.commit()
                found.dump(update_pipeline=False)

        patiently(record)

    def graph(self) -> list[tuple[str, str]]:
        """Return the pipeline's edges, each from a stage to one that needs its outputs."""
        with opened(self.root) as repo:
            return sorted((needed.name, stage.name) for stage, needed in repo.index.graph.edges)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace against other runs of ours while outputs move in and are committed."""
        from filelock import FileLock

        folder = self.root / ".dvc" / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(folder / "holdfast.lock"), thread_local=False):
            yield


def _write_if_other(path: Path, text: str) -> None:
    """Write a file whole or not at all, and leave one that is right untouched."""
    if path.exists() and path.read_text() == text:
        return
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    scratch.write_text(text)
    scratch.replace(path)
