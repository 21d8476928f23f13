"""A registry of batches: Git and DVC under the home, one commit an accepted batch, replicated before it counts."""

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data.errors import Corrupt, NoBatch
from data.versions import erased
from data.versions.erased import Erasure
from data.versions.git import git
from data.versions.journal import Journal
from data.versions.objects import drop_if_broken, ensure_cached, opened, patiently, replicate
from data.versions.opening import make
from data.versions.place import Change, Place, cached, checked, copied, pointer_hash
from data.versions.snapshot import Kind, Snapshot, SnapshotFile, digests, folder_hash

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landed:
    """The state after a landing; `changed` is false when the same content was there already."""

    changed: bool
    snapshot: Snapshot


class DataRegistry:
    """The Git and DVC repository of batches at `root`, made when first written to.

    Any number of threads and processes may use it. Whatever a killed process left half done is undone by the next
    landing: a batch is in the registry exactly when its commit is, and the commit follows the proof of the push.
    """

    def __init__(self, root: Path, remote: str) -> None:
        self.root = root.absolute()
        self.journal = Journal(self.root)
        self.remote = remote if "://" in remote else str(Path(remote).expanduser().absolute())

    def land(
        self,
        project: str,
        name: str,
        write: Callable[[Path], None],
        rows: int,
        *,
        kind: Kind = "batches",
        note: str = "",
    ) -> Landed:
        """Take in one file, written by `write` to the path it is given, as `name`; another of that name is replaced.

        Raises:
            NotReplicated: the remote can't be brought to hold all of it; nothing has changed.
            Corrupt: what was stored is not what was written; nothing has changed.
        """
        place, file = Place(self.root, checked(project), kind), f"{checked(name)}.parquet"
        with self._locked():
            make(self.root, self.remote)
            self.journal.undo()
            with self._scratch() as scratch:
                written = scratch / file
                write(written)
                md5, sha256 = digests(written)
                new = SnapshotFile(file, md5, rows, sha256)
                try:
                    return self._take(place, new, written, note or f"{project}: {name}, {rows} rows")
                finally:
                    self.journal.undo()

    def snapshot(self, project: str, kind: Kind = "batches") -> Snapshot:
        """Return the newest state of a project's files.

        Raises: NoBatch.
        """
        place = Place(self.root, checked(project), kind)
        revision = place.newest()
        if not revision:
            raise NoBatch(project)
        return place.read(revision)

    def at(self, project: str, revision: str, kind: Kind = "batches") -> Snapshot:
        """Return the state of a project's files at a revision of its history."""
        return Place(self.root, checked(project), kind).read(revision)

    def history(self, project: str, kind: Kind = "batches") -> list[Change]:
        """Return every change of a project's files, newest first."""
        return Place(self.root, checked(project), kind).changes()

    def restore(self, snapshot: Snapshot, target: Path) -> list[Path]:
        """Put a snapshot's files into `target`, each checked against its recorded hashes.

        Raises: Corrupt, when neither the cache nor the remote has the right content, or the snapshot is not itself.
        """
        snapshot.proven()
        target.mkdir(parents=True, exist_ok=True)
        return [self._restore(file, target / checked(file.name)) for file in snapshot.files]

    def mark_erased(self, project: str, files: Iterable[SnapshotFile], *, reason: str, at: datetime) -> None:
        """Note that rows in these contents of a project's batches were erased on request; nothing is deleted here.

        Who erases calls this first, with each content, old ones included, that held the rows: whatever learned
        from them can't be made again, and says so.
        """
        place = Place(self.root, checked(project), "batches")
        with self._locked():
            self.journal.undo()
            self.journal.begin(place, "erased.json")
            try:
                erased.write(place, files, reason, at)
                self.journal.end()
            finally:
                self.journal.undo()

    def erased(self, project: str) -> dict[str, Erasure]:
        """Return what was erased of a project's batches, by the sha256 of the content that held it."""
        return erased.read(Place(self.root, checked(project), "batches"))

    def _restore(self, file: SnapshotFile, path: Path) -> Path:
        """Copy one file out of the cache, out of the remote when the cached copy is broken."""
        right = (file.md5, file.sha256)
        if path.exists() and digests(path) == right:
            return path
        if not copied(cached(self.root, file), path, right):
            logger.warning("cached copy of %s is gone or broken; fetching it", file.name)
            with self._locked(), opened(self.root, self.remote) as repo:
                fetched = ensure_cached(repo, file.md5, file.name)
            if not copied(fetched, path, right):
                raise Corrupt(file.name, file.sha256, digests(fetched)[1])
        return path

    def _take(self, place: Place, new: SnapshotFile, written: Path, note: str) -> Landed:
        """Store, replicate and commit one file, unless its content is there already."""
        newest = place.newest()
        before = place.read(newest) if newest else None
        files = {file.name: file for file in before.files} if before else {}
        with opened(self.root, self.remote) as repo:
            if before and files.get(new.name) == new:
                ensure_cached(repo, before.hash, place.pointer)
                replicate(repo, before.hash, [])
                return Landed(changed=False, snapshot=before)
            files[new.name] = new
            after = folder_hash(files.values())
            self.journal.begin(place, new.name)
            drop_if_broken(repo.cache.local, [new.md5, after])
            if before:
                ensure_cached(repo, before.hash, place.pointer)
            self._add(place, new, written)
            if (found := pointer_hash((self.root / place.pointer).read_text())) != after:
                raise Corrupt(f"{place.project}/{place.kind}", after, found)
            for oid in (new.md5, after):
                ensure_cached(repo, oid, new.name)
            replicate(repo, after, [new.md5])
        self._commit(place, files, note)
        self.journal.end()
        snapshot = self.snapshot(place.project, place.kind)
        logger.info("landed %s/%s: %d files, %d rows", place.project, new.name, len(files), snapshot.rows)
        return Landed(changed=True, snapshot=snapshot)

    def _add(self, place: Place, new: SnapshotFile, written: Path) -> None:
        """Let DVC take the new file in: the file alone, for the folder would shrink to what lies in it."""
        place.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.root / place.project / ".gitignore"
        ignore.write_text("/batches\n/quarantine\n")
        path = place.folder / new.name
        path.unlink(missing_ok=True)
        written.replace(path)
        known = (self.root / place.pointer).exists()
        if not known:
            for stray in place.folder.iterdir():
                if stray != path:
                    stray.unlink()

        def add() -> None:
            with opened(self.root, self.remote) as repo:
                repo.add(str(path if known else place.folder))

        patiently(add)

    def _commit(self, place: Place, files: dict[str, SnapshotFile], note: str) -> None:
        """Make the change count."""
        index = {name: {"md5": file.md5, "rows": file.rows, "sha256": file.sha256} for name, file in files.items()}
        (self.root / place.index).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
        paths = [f"{place.project}/.gitignore", place.pointer, place.index]
        git(self.root, "add", "--force", "--", *paths)
        git(self.root, "commit", "--quiet", "--no-verify", "--cleanup=verbatim", f"--message={_line(note)}")

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Give a folder on the registry's own disk, and clear what killed processes left of theirs."""
        folder = self.root / ".dvc" / "tmp" / "incoming"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, over threads and processes; the kernel frees a dead one's lock."""
        from filelock import FileLock

        self.root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.root.with_name(self.root.name + ".lock")), thread_local=False):
            yield


def _line(note: str) -> str:
    """Make a note fit for a commit's first line."""
    return " ".join(note.replace("\0", " ").split())
