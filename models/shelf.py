"""Versions on a folder: the registry's twin for a backtest, whose promotions happen in a ledger of its own.

A run is a folder of artifacts; its version is that folder's `model/`. Nobody else reads or writes it.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import NoSuchVersion
from models.registry import GATES, LARGEST, MODEL, Registry, RunLog, Version


@dataclass(frozen=True)
class FolderRun(RunLog):
    """What one training writes down, as files below `folder`; what only MLflow's pages show is not kept."""

    folder: Path = Path()

    def note(self, text: str) -> None:
        """Leave it out."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Leave them out: the ledger has them."""

    def history(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Leave it out: `history.json` has it."""

    def dataset(self, digest: str, rows: int, *, source: str) -> None:
        """Leave it out: `snapshot.json` has it."""

    def text(self, name: str, text: str) -> None:
        """Keep a text as a file."""
        (self.folder / name).write_text(text)

    def file(self, path: Path) -> None:
        """Keep a file under its own name."""
        shutil.copyfile(path, self.folder / path.name)


class Shelf(Registry):
    """A registry below `root`, for one process; a version's number is its run's place in the order of runs."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.found: dict[str, dict[str, Version]] = {}
        self.named: dict[str, dict[str, str]] = {}

    @contextmanager
    def start_run(self, project: str, *, name: str, tags: Mapping[str, str]) -> Iterator[RunLog]:  # noqa: ARG002
        """Open a run, or go on with the one of this name."""
        folder = self.root / f"{project}-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        yield FolderRun(None, folder.name, project, 0, project, folder)  # it asks no server

    def register(self, project: str, run_id: str, folder: Path, *, card: str) -> str:  # noqa: ARG002
        """Keep a version's folder and return its number; a run has one version."""
        versions = self.found.setdefault(project, {})
        for known in versions.values():
            if known.run_id == run_id:
                return known.number
        shutil.copytree(folder, self.root / run_id / MODEL)
        number = str(len(versions) + 1)
        versions[number] = Version(project, number, run_id, "", datetime.fromtimestamp(0, UTC))
        return number

    def describe(
        self,
        project: str,
        version: str,
        first_line: str,  # noqa: ARG002
        gates: Sequence[Mapping[str, Any]],
        card: str = "",  # noqa: ARG002
    ) -> None:
        """Keep the gates."""
        self.keep(self.run_of(project, version), {GATES: json.dumps(list(gates), indent=1)})

    def head(
        self, project: str, version: str, first_line: str, gates: Sequence[Mapping[str, Any]] = (), card: str = ""
    ) -> None:
        """Leave the page out."""

    def keep(self, run_id: str, texts: Mapping[str, str]) -> None:
        """Keep texts as files of a run."""
        for name, text in texts.items():
            (self.root / run_id / name).write_text(text)

    def aliases(self, project: str) -> dict[str, str]:
        """Return every alias of a project with its version."""
        return dict(self.named.get(project, {}))

    def set_alias(self, project: str, alias: str, version: str) -> None:
        """Give a version an alias, taking it from the one that has it."""
        self.named.setdefault(project, {})[alias] = version

    def drop_alias(self, project: str, alias: str, version: str) -> None:
        """Take an alias from this version; one that another version has is left alone."""
        if self.alias(project, alias) == version:
            del self.named[project][alias]

    def tag(self, project: str, version: str, tags: Mapping[str, str]) -> None:
        """Set a version's tags, the stage among them."""
        from dataclasses import replace

        known = self.known(project, version)
        self.found[project][version] = replace(known, tags={**known.tags, **tags})

    def versions(self, project: str) -> list[Version]:
        """Return every version of a project, newest first."""
        return list(reversed(self.found.get(project, {}).values()))

    def known(self, project: str, number: str) -> Version:
        """Return a version.

        Raises: NoSuchVersion.
        """
        try:
            return self.found[project][number]
        except KeyError as error:
            raise NoSuchVersion(f"{project} has no version {number}") from error

    def download(self, project: str, version: str, target: Path) -> Path:
        """Copy a version's folder to `target`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.root / self.run_of(project, version) / MODEL, target)
        return target

    def read_file(self, run_id: str, name: str, limit: int = LARGEST) -> bytes:  # noqa: ARG002
        """Return a file of a run.

        Raises: FileNotFoundError.
        """
        return (self.root / run_id / name).read_bytes()
