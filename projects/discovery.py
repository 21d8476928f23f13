"""Find project files by name and load each by its path, under a private package name.

A user's folder may stand in a repository with its own `models/` or `data/`: the file is loaded as
`holdfast_projects.<hash of the folder>.<name>`, so `from .models.net import Net` finds the user's package and
`import models` still finds ours.
"""

import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from data.errors import BrokenProject, HoldfastError, NoSuchProject
from projects.declaration import Project

SHIPPED = Path(__file__).parent
RESERVED = {"__init__", "declaration", "discovery"}
PACKAGE = "holdfast_projects_"
PRIVATE = re.compile(rf"\b{PACKAGE}[0-9a-f]{{12}}(?=\.)")  # what a file writes as a dot


@dataclass(frozen=True)
class Found:
    """A project file: where it stands, and its text's hash."""

    name: str
    path: Path

    @property
    def sha256(self) -> str:
        """Hash of the file as it is now."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def shipped() -> dict[str, Found]:
    """Return the project files that come with Holdfast, by name."""
    paths = (path for path in sorted(SHIPPED.glob("*.py")) if path.stem not in RESERVED)
    return {path.stem: Found(path.stem, path.resolve()) for path in paths if not path.stem.startswith("_")}


def find(folders: Iterable[Path], examples: Container[str] | None = None) -> dict[str, Found]:
    """Return every project file by name, shipped ones first; a user's file of the same name wins.

    `examples` keeps only those shipped ones that it names.
    """
    found = {name: one for name, one in shipped().items() if examples is None or name in examples}
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            if not path.stem.startswith("_") and "Project(" in path.read_text(errors="replace"):
                found[path.stem] = Found(path.stem, path.resolve())
    return found


def load(name: str, folders: Iterable[Path]) -> Project:
    """Import one project file and return its `project`.

    Raises:
        NoSuchProject: no file has this name.
        BrokenProject: the file fails to import, makes no `project`, or names it otherwise; the message names the line.
    """
    found = find(folders)
    if name not in found:
        raise NoSuchProject(name, found)
    module = import_file(found[name])
    project = getattr(module, "project", None)
    where = str(found[name].path)
    if not isinstance(project, Project):
        raise BrokenProject(name, where, "it must bind a Project to the name `project`")
    if project.name != name:
        raise BrokenProject(name, where, f"the file is named {name!r} and its project {project.name!r}")
    return project


def load_all(
    folders: Iterable[Path], examples: Container[str] | None = None
) -> tuple[dict[str, Project], dict[str, BrokenProject]]:
    """Load every project file, of the shipped ones those in `examples`.

    Files that fail are returned beside the others and disable nothing else.
    """
    folders = tuple(folders)
    loaded: dict[str, Project] = {}
    broken: dict[str, BrokenProject] = {}
    for name in find(folders, examples):
        try:
            loaded[name] = load(name, folders)
        except BrokenProject as error:
            broken[name] = error
    return loaded, broken


def file_of(project: Project) -> Path | None:
    """Return the file that declares a loaded project, or a changed copy of one; None for one made elsewhere."""
    for name, module in list(sys.modules.items()):
        if name.startswith(PACKAGE):
            found = getattr(module, "project", None)
            if isinstance(found, Project) and found.name == project.name and found.model is project.model:
                return Path(str(module.__file__))
    return None


def import_file(found: Found) -> ModuleType:
    """Import a project file under its private name, anew when its text has changed.

    Raises: BrokenProject, with the line in the file that failed.
    """
    folder = found.path.parent
    package = f"{PACKAGE}{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    name = f"{package}.{found.name}"
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__holdfast_sha256__", None) == found.sha256:
        return known
    if package not in sys.modules:
        parent = ModuleType(package)
        parent.__path__ = [str(folder)]
        sys.modules[package] = parent
    spec = importlib.util.spec_from_file_location(name, found.path)
    if spec is None or spec.loader is None:
        raise BrokenProject(found.name, str(found.path), "not a Python file")
    module = importlib.util.module_from_spec(spec)
    sha256 = found.sha256
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a stranger's file may raise anything, and must disable only itself
        sys.modules.pop(name, None)
        raise BrokenProject(found.name, failing_line(error, found.path), explain(error)) from error
    module.__dict__["__holdfast_sha256__"] = sha256  # only now: another thread must not take it half done
    return module


def failing_line(error: BaseException, path: Path) -> str:
    """Name the line of `path` that raised, as file:line."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def explain(error: BaseException) -> str:
    """One line on an error: ours as they are, others with their type."""
    text = PRIVATE.sub("", " ".join(str(error).split()))
    return text if isinstance(error, HoldfastError) else f"{type(error).__name__}: {text}"
