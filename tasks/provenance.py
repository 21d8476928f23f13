"""What made a version: its sources as one archive, and the facts that decide its weights bit for bit.

The archive holds the rooms that a training passes through, the lock, and the project file with the modules beside
it that it imports relatively (`from .nets import Net`). What a project file imports by an absolute name comes from
the environment, whose packages are recorded by name and version; other files that it reads are not kept.
"""

import ast
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from data.errors import Corrupt
from data.versions import Snapshot
from data.versions.git import GitFailed, git
from models.folder import WEIGHTS, file_sha256
from projects.declaration import Project
from tasks.plans import PLAN
from tasks.preparation import START
from tasks.settings import CLONE

ROOMS = ("data", "models", "monitoring", "projects", "tasks")
DEALT = "dealt"  # the fact by which shares rows were dealt out
SHARES = ("exchangeable", "judge", "anchor", "judge_rows", "anchor_days")
PROJECT, LOCK, CODE = "project", "requirements.lock", "code.tar"
LARGEST = 2**25  # bytes of a whole archive; ours come to about a million
MOST = 5000  # files
NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*")


def archive_code(target: Path, project_file: Path) -> str:
    """Write the sources that make a version as a tar with fixed times, and return its SHA-256.

    One that is there stands: it was written when the training began, and files may have been edited since.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_name(f".{target.name}.part")
        half.write_bytes(packed({name: path.read_bytes() for name, path in sources(project_file).items()}))
        half.replace(target)
    return file_sha256(target)


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of these files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def sources(project_file: Path) -> dict[str, Path]:
    """Return each source that makes a version, by its name in the archive."""
    found = {
        f"{room}/{path.relative_to(CLONE / room)}": path for room in ROOMS for path in (CLONE / room).rglob("*.py")
    }
    folder = project_file.parent
    found |= {f"{PROJECT}/{path.relative_to(folder)}": path for path in (project_file, *helpers(project_file))}
    return found | ({LOCK: CLONE / LOCK} if (CLONE / LOCK).exists() else {})


def helpers(project_file: Path) -> list[Path]:
    """Return the modules beside a project file that it imports relatively, and those that they import."""
    folder = project_file.parent
    found: set[Path] = set()
    waiting = [project_file]
    while waiting:
        new = {path for path in imported(waiting.pop(), folder) if path != project_file} - found
        found |= new
        waiting += new
    return sorted(found)


def imported(path: Path, folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` that the relative imports in one file may lead to."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1]
            module = base.joinpath(*(node.module or "").split(".")) if node.module else base
            steps = [module, *(parent for parent in module.parents if parent.is_relative_to(base))]
            for place in (*steps, *(module / alias.name for alias in node.names)):
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file() and file.is_relative_to(folder):
                        yield file


def extract(content: bytes, target: Path) -> None:
    """Write an archive's files below `target`, a new folder: plain files in our rooms, and nothing else.

    Raises: Corrupt for a link, a device, a name that leads elsewhere or stands twice, or more than an archive holds.
    """
    if len(content) > LARGEST:
        raise Corrupt(CODE, f"≤ {LARGEST} bytes", f"{len(content)} bytes")
    target.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for count, entry in enumerate(archive):
                if count >= MOST:
                    raise Corrupt(CODE, f"≤ {MOST} files", "more")
                write_entry(archive, entry, target)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        raise Corrupt(CODE, "a tar of sources", f"{type(error).__name__} {error}") from error


def write_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> None:
    """Write one file of an archive.

    Raises: Corrupt.
    """
    room = entry.name.partition("/")[0]
    known = entry.name == LOCK or (room in (*ROOMS, PROJECT) and entry.name.endswith(".py"))
    if not entry.isreg() or not known or not NAME.fullmatch(entry.name) or not 0 <= entry.size <= LARGEST:
        raise Corrupt(f"{CODE}: {entry.name[:80]!r}", "a plain source", f"type {entry.type!r}")
    reader, path = archive.extractfile(entry), target / entry.name
    assert reader is not None
    content = reader.read(entry.size)
    if len(content) != entry.size or path.exists():
        raise Corrupt(f"{CODE}: {entry.name[:80]!r}", f"{entry.size} bytes, once", f"{len(content)} bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def sha256(content: bytes) -> str:
    """Hash bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def provenance(project: Project, folder: Path, snapshot: Mapping[str, Any], project_file: Path) -> dict[str, str]:
    """Return what is needed to make the version in `folder` again, and to tell where another machine differs."""
    history = json.loads((folder / "history.json").read_text())
    prepared = json.loads((folder / "prepared" / "summary.json").read_text())
    facts = {
        "project": project.name,
        "snapshot": snapshot["hash"],
        "snapshot_rows": str(snapshot["rows"]),
        "snapshot_sha256": snapshot_sha256(Snapshot.from_json(json.dumps(snapshot))),
        "manifest": file_sha256(folder / "model" / "manifest.json"),
        "weights": file_sha256(folder / "model" / WEIGHTS),
        "code": archive_code(folder / CODE, project_file),
        "seed": str(project.training.seed),
        DEALT: dealt_by(project),
        **environment(),
        **revisions(project_file),
        **history.get("machine", {}),
    }
    if (folder / PLAN).exists():
        facts["plan"] = file_sha256(folder / PLAN)
    if (history.get("start") or {}).get("from", "scratch") != "scratch":
        facts["start"] = f"{history['start']['from']}, weights {file_sha256(folder / 'prepared' / START)}"
    return facts | {f"rows.{role}": digest for role, digest in prepared.get("sha256", {}).items()}


def dealt_by(project: Project) -> str:
    """Return the shares by which a project deals its rows out, as JSON."""
    return json.dumps({name: getattr(project.evaluation, name) for name in SHARES})


def snapshot_sha256(snapshot: Snapshot) -> str:
    """Hash a snapshot with the sha256 of each of its files, which its own hash does not cover."""
    return sha256(snapshot.to_json().encode())


def environment() -> dict[str, str]:
    """Return the hash of the lock, and that of the packages that are installed."""
    lock = CLONE / LOCK
    installed = sorted({f"{one.metadata['Name']}=={one.version}".lower() for one in metadata.distributions()})
    return {
        "lock": file_sha256(lock) if lock.exists() else "none",
        "packages": sha256("\n".join(installed).encode()),
    }


def revisions(project_file: Path) -> dict[str, str]:
    """Return the Git revisions of our sources and of a project file's own repository, where there are any."""
    found = {}
    if (CLONE / ".git").exists() and (own := revision(CLONE)):
        found["revision"] = own
    if not project_file.is_relative_to(CLONE) and (theirs := revision(project_file.parent)):
        found["project_revision"] = theirs
    return found


def revision(folder: Path) -> str:
    """Return the commit that a folder stands at, with a mark where tracked files were changed since; else nothing."""
    try:
        commit = git(folder, "rev-parse", "HEAD").strip()
        changed = git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".").strip()
    except (GitFailed, OSError):
        return ""
    return f"{commit} with changes" if changed else commit
