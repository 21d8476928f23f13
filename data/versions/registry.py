"""A registry of batches: Git and DVC under the home, one commit an accepted batch, replicated before it counts."""

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data.errors import BadSetting, Corrupt, NoBatch
from data.versions.git import GitFailed, drop_dead_locks, git
from data.versions.objects import drop_if_broken, ensure_cached, opened, patiently, replicate
from data.versions.snapshot import Kind, Snapshot, SnapshotFile, digests, folder_hash

logger = logging.getLogger(__name__)

CONFIG = """\
[core]
    autostage = false
    analytics = false
    check_update = false
    remote = store
    site_cache_dir = {root}/.dvc/tmp/site
[cache]
    dir = cache
    type = copy
['remote "store"']
    url = {remote}
"""
IGNORED = "/config.local\n/tmp\n/cache\n"


@dataclass(frozen=True)
class Landed:
    """The state after a landing; `changed` is false when the same content was there already."""

    changed: bool
    snapshot: Snapshot


@dataclass(frozen=True)
class Change:
    """One accepted batch in a project's history."""

    revision: str
    at: datetime
    note: str


@dataclass(frozen=True)
class Place:
    """Where one project's files of a kind stand in the registry."""

    root: Path
    project: str
    kind: Kind

    @property
    def folder(self) -> Path:
        """The tracked folder."""
        return self.root / self.project / self.kind

    @property
    def index(self) -> str:
        """Path, inside the repository, of the hashes and row counts of the files."""
        return f"{self.project}/{self.kind}.json"

    @property
    def pointer(self) -> str:
        """Path, inside the repository, of DVC's own file on the folder."""
        return f"{self.project}/{self.kind}.dvc"


class DataRegistry:
    """The Git and DVC repository of batches at `root`, made when first written to.

    Any number of threads and processes may use it. Whatever a killed process left half done is undone by the next
    landing: a batch is in the registry exactly when its commit is, and the commit follows the proof of the push.
    """

    def __init__(self, root: Path, remote: str) -> None:
        self.root = root.absolute()
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
            self._make()
            self._undo()
            with self._scratch() as scratch:
                written = scratch / file
                write(written)
                new = SnapshotFile(file, *_described(written, rows))
                try:
                    return self._take(place, new, written, note or f"{project}: {name}, {rows} rows")
                finally:
                    self._undo()

    def snapshot(self, project: str, kind: Kind = "batches") -> Snapshot:
        """Return the newest state of a project's files.

        Raises: NoBatch.
        """
        place = Place(self.root, checked(project), kind)
        revision = self._newest(place)
        if not revision:
            raise NoBatch(project)
        return self._read(place, revision)

    def at(self, project: str, revision: str, kind: Kind = "batches") -> Snapshot:
        """Return the state of a project's files at a revision of its history."""
        return self._read(Place(self.root, checked(project), kind), revision)

    def history(self, project: str, kind: Kind = "batches") -> list[Change]:
        """Return every change of a project's files, newest first."""
        place = Place(self.root, checked(project), kind)
        if not self._newest(place):
            return []
        lines = git(self.root, "log", "--format=%H%x00%cI%x00%s", "--", place.index).splitlines()
        split = (line.split("\0", 2) for line in lines)
        return [Change(revision, datetime.fromisoformat(at), note) for revision, at, note in split]

    def restore(self, snapshot: Snapshot, target: Path) -> list[Path]:
        """Put a snapshot's files into `target`, each checked against its recorded hashes.

        Raises: Corrupt, when neither the cache nor the remote has the right content, or the snapshot is not itself.
        """
        snapshot.proven()
        target.mkdir(parents=True, exist_ok=True)
        return [self._restore(file, target / checked(file.name)) for file in snapshot.files]

    def _restore(self, file: SnapshotFile, path: Path) -> Path:
        """Copy one file out of the cache, out of the remote when the cached copy is broken."""
        right = (file.md5, file.sha256)
        if path.exists() and digests(path) == right:
            return path
        cached = self.root / ".dvc" / "cache" / "files" / "md5" / file.md5[:2] / file.md5[2:]
        if not _copied(cached, path, right):
            logger.warning("cached copy of %s is gone or broken; fetching it", file.name)
            with self._locked(), opened(self.root, self.remote) as repo:
                cached = ensure_cached(repo, file.md5, file.name)
            if not _copied(cached, path, right):
                raise Corrupt(file.name, file.sha256, digests(cached)[1])
        return path

    def _take(self, place: Place, new: SnapshotFile, written: Path, note: str) -> Landed:
        """Store, replicate and commit one file, unless its content is there already."""
        newest = self._newest(place)
        before = self._read(place, newest) if newest else None
        files = {file.name: file for file in before.files} if before else {}
        with opened(self.root, self.remote) as repo:
            if before and files.get(new.name) == new:
                ensure_cached(repo, before.hash, place.pointer)
                replicate(repo, before.hash, [])
                return Landed(changed=False, snapshot=before)
            files[new.name] = new
            after = folder_hash(files.values())
            self._mark(place, new.name)
            drop_if_broken(repo.cache.local, [new.md5, after])
            if before:
                ensure_cached(repo, before.hash, place.pointer)
            self._add(place, new, written)
            if (found := _pointed(self.root / place.pointer)) != after:
                raise Corrupt(f"{place.project}/{place.kind}", after, found)
            for oid in (new.md5, after):
                ensure_cached(repo, oid, new.name)
            replicate(repo, after, [new.md5])
        self._commit(place, files, note)
        self._forget()
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

    def _newest(self, place: Place) -> str:
        """Return the last revision that changed a project's files, or nothing."""
        if not (self.root / ".git").exists():
            return ""
        return git(self.root, "log", "-1", "--format=%H", "--", place.index).strip()

    def _read(self, place: Place, revision: str) -> Snapshot:
        """Read a state from Git's objects, which no half-done landing touches."""
        try:
            index = json.loads(git(self.root, "show", f"{checked(revision)}:{place.index}"))
            recorded = _pointer_hash(git(self.root, "show", f"{revision}:{place.pointer}"))
        except GitFailed as error:
            raise NoBatch(place.project) from error
        files = tuple(SnapshotFile(name=name, **entry) for name, entry in sorted(index.items()))
        return Snapshot(place.project, recorded, sum(file.rows for file in files), revision, files).proven()

    def _make(self) -> None:
        """Make the repository, complete or not at all."""
        if (self.root / ".git").exists():
            (self.root / ".dvc" / "tmp").mkdir(exist_ok=True)
            return
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for left in self.root.parent.glob(f".{self.root.name}-*.new"):
            shutil.rmtree(left)
        made = Path(tempfile.mkdtemp(prefix=f".{self.root.name}-", suffix=".new", dir=self.root.parent))
        made.chmod(0o755)
        (made / ".dvc" / "tmp").mkdir(parents=True)
        (made / ".dvc" / "config").write_text(CONFIG.format(root=self.root, remote=self.remote))
        (made / ".dvc" / ".gitignore").write_text(IGNORED)
        (made / ".dvcignore").write_text("")
        git(made, "init", "--quiet", "--template=", "--initial-branch=main")
        git(made, "config", "core.excludesFile", os.devnull)  # for DVC, which reads the user's too
        git(made, "add", "--force", "--", ".dvc/config", ".dvc/.gitignore", ".dvcignore")
        git(made, "commit", "--quiet", "--no-verify", "--message=Open the registry")
        made.rename(self.root)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Give a folder on the registry's own disk, and clear what killed processes left of theirs."""
        folder = self.root / ".dvc" / "tmp" / "incoming"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def _journal(self) -> Path:
        return self.root / ".dvc" / "tmp" / "landing.json"

    def _mark(self, place: Place, file: str) -> None:
        """Write down what is about to change, so that whoever comes next can undo it."""
        entry = {"project": place.project, "kind": place.kind, "file": file}
        scratch = self._journal.with_suffix(".new")
        scratch.write_text(json.dumps(entry))
        scratch.replace(self._journal)

    def _forget(self) -> None:
        self._journal.unlink(missing_ok=True)

    def _undo(self) -> None:
        """Go back to the last commit if a landing did not get to the end."""
        if not self._journal.exists():
            return
        entry = json.loads(self._journal.read_text())
        place = Place(self.root, entry["project"], entry["kind"])
        logger.warning("undoing a landing that did not end: %s/%s", place.project, entry["file"])
        drop_dead_locks(self.root)
        (self.root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
        git(self.root, "reset", "--quiet", "--hard", "HEAD")
        git(self.root, "clean", "--quiet", "-fd", "--", place.project)
        (place.folder / entry["file"]).unlink(missing_ok=True)
        newest = self._newest(place)
        for file in self._read(place, newest).files if newest else ():
            if file.name == entry["file"]:
                self._put_back(file, place.folder)
        self._forget()

    def _put_back(self, file: SnapshotFile, folder: Path) -> None:
        """Copy a committed file out again for people to see; the cache and the remote are what counts."""
        cached = self.root / ".dvc" / "cache" / "files" / "md5" / file.md5[:2] / file.md5[2:]
        folder.mkdir(exist_ok=True)
        if not _copied(cached, folder / file.name, (file.md5, file.sha256)):
            logger.warning("%s has no good local copy; restoring it will fetch it", file.name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, over threads and processes; the kernel frees a dead one's lock."""
        from filelock import FileLock

        self.root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.root.with_name(self.root.name + ".lock")), thread_local=False):
            yield


def checked(name: str) -> str:
    """Return a name that can be part of a path.

    Raises: BadSetting.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) or name in {".", ".."}:
        raise BadSetting(f"{name!r} can't name a batch: letters, digits, '.', '_' and '-' only, 80 at most")
    return name


def _described(path: Path, rows: int) -> tuple[str, int, str]:
    md5, sha256 = digests(path)
    return md5, rows, sha256


def _copied(source: Path, path: Path, right: tuple[str, str]) -> bool:
    """Copy a file into place if its content is right; what is hashed is the copy."""
    if not source.exists():
        return False
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, scratch)
        if digests(scratch) != right:
            return False
        scratch.replace(path)
        return True
    finally:
        scratch.unlink(missing_ok=True)


def _pointed(path: Path) -> str:
    return _pointer_hash(path.read_text())


def _pointer_hash(text: str) -> str:
    """Read a folder's hash from DVC's file."""
    found = re.search(r"^- md5: (\w+\.dir)$", text, re.MULTILINE)
    return found[1] if found else "none"


def _line(note: str) -> str:
    """Make a note fit for a commit's first line."""
    return " ".join(note.replace("\0", " ").split())
