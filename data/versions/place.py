"""Where a project's files stand in the registry, and what its commits say of them."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data.errors import BadSetting, NoBatch
from data.versions.git import GitFailed, git
from data.versions.snapshot import Kind, Snapshot, SnapshotFile, digests


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

    def newest(self) -> str:
        """Return the last revision that changed these files, or nothing."""
        if not (self.root / ".git").exists():
            return ""
        return git(self.root, "log", "-1", "--format=%H", "--", self.index).strip()

    def read(self, revision: str) -> Snapshot:
        """Read a state from Git's objects, which no half-done landing touches.

        Raises: NoBatch, when there is none.
        """
        try:
            index = json.loads(git(self.root, "show", f"{checked(revision)}:{self.index}"))
            recorded = pointer_hash(git(self.root, "show", f"{revision}:{self.pointer}"))
        except GitFailed as error:
            raise NoBatch(self.project) from error
        files = tuple(SnapshotFile(name=name, **entry) for name, entry in sorted(index.items()))
        return Snapshot(self.project, recorded, sum(file.rows for file in files), revision, files).proven()

    def changes(self) -> list[Change]:
        """Return every change of these files, newest first."""
        if not self.newest():
            return []
        lines = git(self.root, "log", "--format=%H%x00%cI%x00%s", "--", self.index).splitlines()
        split = (line.split("\0", 2) for line in lines)
        return [Change(revision, datetime.fromisoformat(at), note) for revision, at, note in split]


def checked(name: str) -> str:
    """Return a name that can be part of a path.

    Raises: BadSetting.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) or name in {".", ".."}:
        raise BadSetting(f"{name!r} can't name a batch: letters, digits, '.', '_' and '-' only, 80 at most")
    return name


def cached(root: Path, file: SnapshotFile) -> Path:
    """Where DVC's cache keeps a file."""
    return root / ".dvc" / "cache" / "files" / "md5" / file.md5[:2] / file.md5[2:]


def copied(source: Path, path: Path, right: tuple[str, str]) -> bool:
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


def pointer_hash(text: str) -> str:
    """Read a folder's hash from DVC's file."""
    found = re.search(r"^- md5: (\w+\.dir)$", text, re.MULTILINE)
    return found[1] if found else "none"
