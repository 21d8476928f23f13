"""Batches in a plain folder: the registry's twin for a backtest, which needs neither Git nor DVC nor a replica."""

import shutil
from collections.abc import Callable
from pathlib import Path

from data.errors import Corrupt, NoBatch
from data.versions.place import checked
from data.versions.registry import DataRegistry, Landed
from data.versions.snapshot import Kind, Snapshot, SnapshotFile, digests, folder_hash


class FolderBatches(DataRegistry):
    """Files below `root`, known by their hashes to one process only; a name's content may not change."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, str(root))
        self.files: dict[tuple[str, Kind], dict[str, SnapshotFile]] = {}

    def land(
        self,
        project: str,
        name: str,
        write: Callable[[Path], None],
        rows: int,
        *,
        kind: Kind = "batches",
        note: str = "",  # noqa: ARG002
    ) -> Landed:
        """Take in one file, written by `write` to the path it is given, as `name`; another of that name is replaced."""
        file = f"{checked(name)}.parquet"
        path = self.root / checked(project) / kind / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        md5, sha256 = digests(path)
        files = self.files.setdefault((project, kind), {})
        before, files[file] = files.get(file), SnapshotFile(file, md5, rows, sha256)
        return Landed(before != files[file], self.snapshot(project, kind))

    def snapshot(self, project: str, kind: Kind = "batches") -> Snapshot:
        """Return the newest state of a project's files; its hash stands for the revision.

        Raises: NoBatch.
        """
        files = tuple(file for _, file in sorted(self.files.get((project, kind), {}).items()))
        if not files:
            raise NoBatch(project)
        whole = folder_hash(files)
        return Snapshot(project, whole, sum(file.rows for file in files), whole, files)

    def restore(self, snapshot: Snapshot, target: Path) -> list[Path]:
        """Put a snapshot's files into `target`, each checked against its recorded hashes.

        Raises: Corrupt, where another file has taken the name since.
        """
        target.mkdir(parents=True, exist_ok=True)
        kinds = [kind for (project, kind) in self.files if project == snapshot.project]
        for file in snapshot.files:
            right = (file.md5, file.sha256)
            if not any(self._copied(snapshot.project, kind, file.name, target, right) for kind in kinds):
                raise Corrupt(file.name, file.sha256, "no such content")
        return [target / file.name for file in snapshot.files]

    def _copied(self, project: str, kind: Kind, name: str, target: Path, right: tuple[str, str]) -> bool:
        source = self.root / project / kind / name
        if not source.exists() or digests(source) != right:
            return False
        shutil.copyfile(source, target / name)
        return True
