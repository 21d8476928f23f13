"""What exactly a project's data was: file by file, with a hash that proves itself without DVC."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from data.errors import Corrupt

Kind = Literal["batches", "quarantine"]


@dataclass(frozen=True)
class SnapshotFile:
    """One batch's Parquet file; `md5` is DVC's name for it, `sha256` is what we check."""

    name: str
    md5: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """A project's files at one revision. `hash` depends on names and contents only, not on the order they came in."""

    project: str
    hash: str
    rows: int
    revision: str
    files: tuple[SnapshotFile, ...]

    def to_json(self) -> str:
        """Return text that is the same for the same snapshot, one file a line."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Snapshot":
        """Read what `to_json` wrote.

        Raises: Corrupt, when its hash is not that of its files.
        """
        fields = json.loads(text)
        fields["files"] = tuple(SnapshotFile(**file) for file in fields["files"])
        return cls(**fields).proven()

    def proven(self) -> "Snapshot":
        """Return this snapshot once its hash is found to be that of its files.

        Raises: Corrupt.
        """
        found = folder_hash(self.files)
        if found != self.hash or self.rows != sum(file.rows for file in self.files):
            raise Corrupt(f"snapshot of {self.project}", self.hash, found)
        return self


def folder_hash(files: Iterable[SnapshotFile]) -> str:
    """Return the hash by which DVC knows a folder holding exactly these files."""
    listing = sorted(({"md5": file.md5, "relpath": file.name} for file in files), key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def digests(path: Path) -> tuple[str, str]:
    """Return the (md5, sha256) of a file, read once."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            md5.update(chunk)
            sha256.update(chunk)
    return md5.hexdigest(), sha256.hexdigest()
