"""Which contents of batches hold rows that were erased on request: a tracked file beside a project's index."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from data.versions.git import git
from data.versions.place import Place
from data.versions.snapshot import SnapshotFile


@dataclass(frozen=True)
class Erasure:
    """A batch's content that may not be used again, for rows in it were erased."""

    batch: str
    at: str  # ISO 8601
    reason: str


def read(place: Place) -> dict[str, Erasure]:
    """Return what was erased, by the sha256 of the content that held it."""
    if not (place.root / ".git").exists() or not git(place.root, "ls-tree", "HEAD", "--", path_of(place)):
        return {}
    text = git(place.root, "show", f"HEAD:{path_of(place)}")
    return {sha256: Erasure(**entry) for sha256, entry in json.loads(text).items()}


def write(place: Place, files: Iterable[SnapshotFile], reason: str, at: datetime) -> None:
    """Add contents and commit; who holds the registry's lock may call this. What is marked already stays as it is."""
    new = {file.sha256: Erasure(file.name.removesuffix(".parquet"), at.isoformat(), reason) for file in files}
    known = read(place)
    if new.keys() <= known.keys():
        return
    text = json.dumps({sha256: asdict(entry) for sha256, entry in (new | known).items()}, indent=1, sort_keys=True)
    path = place.root / path_of(place)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n")
    git(place.root, "add", "--force", "--", path_of(place))
    names = ", ".join(sorted({entry.batch for entry in new.values()}))
    git(place.root, "commit", "--quiet", "--no-verify", f"--message={place.project}: rows of {names} are erased")


def path_of(place: Place) -> str:
    """Where the file stands in the repository."""
    return f"{place.project}/erased.json"
