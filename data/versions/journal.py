"""What a landing is about to change, written down first, so that whoever comes next can undo it."""

import json
import logging
from pathlib import Path

from data.versions.git import drop_dead_locks, git
from data.versions.place import Place, cached, copied

logger = logging.getLogger(__name__)


class Journal:
    """At most one landing that has begun and not ended; the caller holds the registry's lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / ".dvc" / "tmp" / "landing.json"

    def begin(self, place: Place, file: str) -> None:
        """Write down which file is about to change."""
        entry = {"project": place.project, "kind": place.kind, "file": file}
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(entry))
        scratch.replace(self.path)

    def end(self) -> None:
        """Forget it: the change is committed."""
        self.path.unlink(missing_ok=True)

    def undo(self) -> None:
        """Go back to the last commit if a landing did not get to the end."""
        if not self.path.exists():
            return
        entry = json.loads(self.path.read_text())
        place, name = Place(self.root, entry["project"], entry["kind"]), entry["file"]
        logger.warning("undoing a landing that did not end: %s/%s", place.project, name)
        drop_dead_locks(self.root)
        (self.root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
        git(self.root, "reset", "--quiet", "--hard", "HEAD")
        git(self.root, "clean", "--quiet", "-fd", "--", place.project)
        (place.folder / name).unlink(missing_ok=True)
        self._put_back(place, name)
        self.end()

    def _put_back(self, place: Place, name: str) -> None:
        """Copy a committed file out again for people to see; the cache and the remote are what counts."""
        revision = place.newest()
        for file in place.read(revision).files if revision else ():
            if file.name == name:
                place.folder.mkdir(exist_ok=True)
                if not copied(cached(self.root, file), place.folder / name, (file.md5, file.sha256)):
                    logger.warning("%s has no good local copy; restoring it will fetch it", name)
