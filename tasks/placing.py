"""A generation of the ledger comes to this machine's disk: downloaded, verified, moved into place, pointed at last."""

import json
import logging
import shutil
from pathlib import Path

from data.errors import Corrupt
from models.declarations import Features
from models.folder import verified
from models.predictor import read_version
from monitoring.records import Generation
from tasks.ingestion import write_atomically
from tasks.resources import Resources

logger = logging.getLogger(__name__)


def pointed(home: Path) -> int | None:
    """Return the generation that a project's folder points the service at."""
    try:
        return int(json.loads((home / "current.json").read_text())["generation"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def marks(folder: Path) -> tuple[tuple[object, ...], ...]:
    """Return what changes with every change to a folder's files, as far as can be told without reading them."""
    found = [(path.name, path.lstat()) for path in sorted(folder.glob("*"))]
    return tuple((name, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_mode) for name, now in found)


def intact(serving: Generation, home: Path) -> bool:
    """Tell whether a generation's files on this disk are still what was promoted. Reads all of them."""
    try:
        verified(home / str(serving.number), serving.manifest_sha256)
    except (Corrupt, OSError):
        return False
    return True


def fetched(resources: Resources, serving: Generation, scratch: Path) -> Path:
    """Download a generation's version and verify it; one bad transfer is tried again before it counts.

    Raises: Corrupt.
    """
    features, file = resources.project(serving.project).features, resources.project_file(serving.project)
    for attempt_left in (True, False):
        shutil.rmtree(scratch, ignore_errors=True)
        folder = resources.models.download(serving.project, serving.version, scratch)
        try:
            read_version(folder, features=features, manifest=serving.manifest_sha256, project=file)
        except Corrupt:
            if not attempt_left:
                raise
        else:
            break
    return folder


def place(resources: Resources, serving: Generation, home: Path) -> None:
    """Download a generation's version, verify it, move it into place, and point at it last.

    Raises: Corrupt.
    """
    target, scratch = home / str(serving.number), home / f".{serving.number}.part"
    features, file = resources.project(serving.project).features, resources.project_file(serving.project)
    if not whole(target, features, serving.manifest_sha256, file):
        for rest in (target, *home.glob(f".*{serving.number}.part*")):
            shutil.rmtree(rest, ignore_errors=True)
        try:
            fetched(resources, serving, scratch).replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    pointer = {
        "generation": serving.number,
        "version": serving.version,
        "folder": str(serving.number),
        "manifest_sha256": serving.manifest_sha256,
    }
    write_atomically(home / "current.json", json.dumps(pointer) + "\n")
    logger.info("%s: generation %d (version %s) is on disk", serving.project, serving.number, serving.version)


def whole(folder: Path, features: Features | None, manifest: str, file: Path) -> bool:
    """Tell whether a generation is on disk already, from a round that was killed before it pointed at it."""
    try:
        read_version(folder, features=features, manifest=manifest, project=file)
    except Corrupt:
        return False
    return True
