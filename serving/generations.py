"""What serves now: the keeper's generations, each verified and warmed aside, then swapped in between two requests."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from math import inf
from pathlib import Path

import orjson

from data.errors import Corrupt, HoldfastError, NoChampion, nearest
from data.packing import ListPacker
from models.declarations import Features
from models.predictor import Predictor, read_version
from models.torch_session import SERVING, TorchSession
from projects import discovery
from serving.opening import Loading, Opening
from serving.refusals import Refused
from serving.replies import answer_head
from serving.trials import Challenger, Recall, Trials
from serving.validation import RowReader

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
RETRY_SECONDS = 2.0  # between two tries of a generation that failed to verify
STOP_SECONDS = 5.0
ROW_LIMIT = 1000


@dataclass(frozen=True)
class Served:
    """One generation in memory. A request is validated, answered and logged by the same one."""

    project: str
    generation: int
    version: str
    manifest_sha256: str
    predictor: Predictor
    row_limit: int = ROW_LIMIT
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    challenger: Challenger | None = None  # answers beside it while a trial goes on

    @cached_property
    def distant(self) -> bool:
        """Whether an answer is waited for from another process."""
        beside = self.challenger is not None and self.challenger.mode == "canary" and self.challenger.served.distant
        return beside or isinstance(self.predictor.session, TorchSession)

    @cached_property
    def reader(self) -> RowReader:
        """Reads rows by this generation's schema."""
        return RowReader(self.predictor.schema, self.predictor.encoder.levels)

    @cached_property
    def packer(self) -> ListPacker:
        """Packs rows by this generation's schema, as the log keeps them."""
        return ListPacker(self.predictor.schema)

    @cached_property
    def head(self) -> bytes:
        """How its JSON answers begin."""
        return answer_head(self.project, self.generation, self.version)


@dataclass(frozen=True)
class Pointer:
    """The keeper's word on what serves: a project's current.json, and the file's identity to notice the next one."""

    project: str
    generation: int
    version: str
    folder: Path
    manifest_sha256: str
    row_limit: int


def read_pointer(path: Path) -> Pointer:
    """Read one current.json.

    Raises: Corrupt when it is not what the keeper writes.
    """
    try:
        stored = orjson.loads(path.read_bytes())
        folder, number = str(stored["folder"]), stored["generation"]
        version, manifest = str(stored["version"]), str(stored["manifest_sha256"])
        limit = stored.get("row_limit") or ROW_LIMIT
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(str(path), "the keeper's pointer", f"{type(error).__name__} {error}") from error
    if type(number) is not int or type(limit) is not int or Path(folder).name != folder:
        raise Corrupt(str(path), "whole numbers and a folder beside it", f"{number!r} {limit!r} {folder!r}")
    return Pointer(path.parent.name, number, version, path.parent / folder, manifest, limit)


class Generations:
    """Watches HOME/generations. One thread loads; readers only ever take a whole `Served` from the table."""

    def __init__(
        self, home: Path, project_folders: tuple[Path, ...], swapped: Callable[[str], None], recall: Recall
    ) -> None:
        self.folder, self.swapped = home / "generations", swapped
        self.opening = Opening(self.read)
        self.trials = Trials(self.folder, self.opening, recall)
        self.project_folders = project_folders
        self.served: dict[str, Served] = {}
        self.versions: dict[tuple[str, int], str] = {}
        self.failures: dict[str, str] = {}  # why a project's generation is not served
        self.loading: dict[str, str] = {}  # which one is on its way
        self.trouble = ""  # why the last look failed as a whole
        self.known: frozenset[str] = frozenset()
        self.seen: dict[str, tuple[int, int, int]] = {}
        self.retry_at: dict[str, float] = {}
        self.find_at = -inf
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="generations", daemon=True)

    @property
    def problems(self) -> dict[str, str]:
        """Why a project's newest generation does not serve, or not yet."""
        return self.loading | self.failures

    @property
    def stalled(self) -> str:
        """Why no newer generation will be seen; empty while somebody looks."""
        if self.thread.ident is not None and not self.thread.is_alive() and not self.ended.is_set():
            return "nobody looks for new generations any more: restart the service"
        return self.trouble

    def start(self) -> None:
        """Load what is there, but wait for no torch worker; then go on watching."""
        self.look_again()
        self.thread.start()

    def stop(self) -> None:
        """End the watch; a version that takes long to load is not waited for."""
        self.ended.set()
        if self.thread.ident is not None:
            self.thread.join(STOP_SECONDS)

    def watch(self) -> None:
        """Look again and again."""
        while not self.ended.wait(POLL_SECONDS):
            self.look_again()

    def look_again(self) -> None:
        """Look, and live on when a folder vanishes between two reads or the disk is away."""
        try:
            self.look()
        except OSError as error:
            log.warning("can't look at %s: %s", self.folder, error)
        except Exception as error:  # whatever stands in a stranger's files, the watch must live
            why = f"can't look at {self.folder}: {type(error).__name__}: {str(error)[:200]}"
            if self.trouble != why:
                log.exception("can't look at %s", self.folder)
            self.trouble = why
        else:
            self.trouble = ""

    def look(self) -> None:
        """Load every generation whose pointer has changed since the last look, or which failed a while ago."""
        pointers = sorted(self.folder.glob("*/current.json"))
        now = time.monotonic()
        if now >= self.find_at:
            self.find_at = now + RETRY_SECONDS
            self.known = frozenset(discovery.find(self.project_folders)) | {path.parent.name for path in pointers}
        for path in pointers:
            self.guard(path.parent.name, partial(self.notice, path, now))
        for name, served in self.served.items():
            self.guard(name, partial(self.try_out, served))

    def guard(self, name: str, act: Callable[[], None]) -> None:
        """Do something for one project, so that no other suffers when it fails."""
        try:
            act()
        except OSError as error:
            log.warning("%s: can't look at its generation: %s", name, error)
        except Exception as error:  # whatever stands in a stranger's files, the watch must live
            log.exception("%s: can't look at its generation", name)
            self.failed(name, f"{type(error).__name__}: {str(error)[:200]}")

    def notice(self, path: Path, now: float) -> None:
        """Load a generation if its pointer has changed, or it is time to try again."""
        name, stat = path.parent.name, path.stat()
        mark = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if self.seen.get(name) == mark and now < self.retry_at.get(name, inf):
            return
        self.seen[name] = mark
        self.retry_at[name] = inf
        self.load(name, path)

    def try_out(self, served: Served) -> None:
        """Put a challenger beside what serves, or take it away."""
        beside = self.trials.beside(served)
        if beside is not served:
            self.served = {**self.served, served.project: beside}

    def load(self, name: str, path: Path) -> None:
        """Verify, warm and swap in one generation; if it fails the old one goes on and the reason is kept."""
        try:
            self.swap(read_pointer(path))
        except Loading as waiting:
            self.retry_at[name] = -inf
            self.loading = {**self.loading, name: str(waiting)}
        except (HoldfastError, OSError) as error:
            self.failed(name, str(error))
        except Exception as error:  # a project's feature code or a network may raise anything; the watch must live
            log.exception("%s failed to load", path)
            self.failed(name, f"{type(error).__name__}: {str(error)[:200]}")
        else:
            self.failures = {project: why for project, why in self.failures.items() if project != name}
            self.settled(name)

    def settled(self, name: str) -> None:
        """Nothing of a project is on its way any more."""
        self.opening.forget(name, "generation")
        self.loading = {project: why for project, why in self.loading.items() if project != name}

    def failed(self, name: str, why: str) -> None:
        """Remember why a generation isn't served, say so once, and try again later."""
        self.retry_at[name] = time.monotonic() + RETRY_SECONDS
        self.settled(name)
        if self.failures.get(name) != why:
            log.error("%s: %s; %s", name, why, "the old one goes on" if name in self.served else "none serves")
        self.failures = {**self.failures, name: why}

    def swap(self, pointer: Pointer) -> None:
        """Make the pointer's generation the one that serves.

        Raises: Loading until it is open; Corrupt when it doesn't verify or is older than what serves; BadDeclaration
            for its feature code.
        """
        name, before = pointer.project, self.served.get(pointer.project)
        if before and (before.generation, before.manifest_sha256) == (pointer.generation, pointer.manifest_sha256):
            return
        if before and pointer.generation <= before.generation:
            raise Corrupt(f"generation of {name}", f"one above {before.generation}", str(pointer.generation))
        predictor = self.opening.open(pointer, "generation")
        served = Served(
            name, pointer.generation, pointer.version, pointer.manifest_sha256, predictor, pointer.row_limit
        )
        self.versions[name, served.generation] = served.version
        self.swapped(name)
        self.served = {**self.served, name: served}
        log.info("%s: generation %d (version %s) serves", name, served.generation, served.version)

    def read(self, pointer: Pointer) -> Predictor:
        """Open the version that a pointer names; its golden rows warm it.

        Raises: Corrupt, BadDeclaration.
        """
        file = discovery.find(self.project_folders).get(pointer.project)
        return read_version(
            pointer.folder,
            features=self.features(pointer),
            manifest=pointer.manifest_sha256,
            project=file.path if file else None,
            patience=SERVING,
        )

    def features(self, pointer: Pointer) -> Features | None:
        """Return the project's feature code if the version was trained with some; its hash is checked when read."""
        try:
            stored = orjson.loads((pointer.folder / "predictor.json").read_bytes())
            wanted = stored["encoder"]["features_sha256"]
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise Corrupt(str(pointer.folder / "predictor.json"), "a predictor", type(error).__name__) from error
        return discovery.load(pointer.project, self.project_folders).features if wanted else None

    def of(self, project: str) -> Served:
        """Return what serves a project now.

        Raises: Refused 404 for a project nobody knows; 503 while it has no champion, or none that verifies.
        """
        served = self.served.get(project)
        if served is not None:
            return served
        if project not in self.known:
            raise Refused(404, f"no project named {project[:80]!r}; {nearest(project[:80], self.known)}", "project")
        if why := self.failures.get(project):
            raise Refused(503, f"{project}: its generation does not verify: {why}", "project", reason="generation")
        if why := self.loading.get(project):
            raise Refused(503, f"{project}: {why}; ask again", "project", reason="generation")
        raise Refused(503, str(NoChampion(project)), "project", reason="no_champion")
