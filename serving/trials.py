"""A version that answers beside the champion: the keeper's trial.json, verified and warmed like a generation."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from data.errors import Corrupt, HoldfastError
from models.predictor import Predictor
from monitoring.tally import Tally
from serving.opening import Loading, Opening

if TYPE_CHECKING:
    from serving.generations import Pointer, Served

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
SPACE = 2**64
LAST = 2**63 - 1  # the number of no trial is greater, as stores count

Recall = Callable[[int], Tally | None]
"""What was counted of a trial before this process; None where the trial is over."""


@dataclass(frozen=True)
class Challenger:
    """A trial in memory. `served`: its version, under the champion's generation."""

    trial: int
    mode: Literal["shadow", "canary"]
    share: float
    served: "Served"
    tally: Tally = field(default_factory=Tally, compare=False)

    def takes(self, key: str) -> bool:
        """Whether the rows of an entity are the challenger's: always the same ones, and others in the next trial."""
        return drawn(self.trial, key) < self.share


def drawn(trial: int, key: str) -> float:
    """Return a key's place in [0, 1), which depends on the trial and the key alone."""
    return int.from_bytes(sha256(f"{trial}:{key}".encode()).digest()[:8], "big") / SPACE


class Trials:
    """Watches HOME/generations/<project>/trial.json; called by the thread that loads generations."""

    def __init__(self, folder: Path, opening: Opening, recall: Recall) -> None:
        self.folder, self.opening, self.recall = folder, opening, recall
        self.seen: dict[str, tuple[object, ...]] = {}
        self.retry_at: dict[str, float] = {}
        self.over: set[int] = set()  # ended in the store, whatever the file says
        self.running: dict[str, tuple[int, Tally]] = {}  # by project; also one that can't run, with the problem

    def beside(self, served: "Served") -> "Served":
        """Return what serves with the challenger that the keeper has put beside it, or without one."""
        name, path = served.project, self.folder / served.project / "trial.json"
        challenger = served.challenger
        mark = mark_of(path)
        if mark is None or (challenger is not None and challenger.trial in self.over):
            self.seen.pop(name, None)
            self.running.pop(name, None)
            self.opening.forget(name, "trial")
            return alone(served)
        mark = (*mark, served.generation)
        if self.seen.get(name) == mark and time.monotonic() < self.retry_at.get(name, inf):
            return served
        self.seen[name] = mark
        self.retry_at.pop(name, None)
        found = self.loaded(served, path)
        if found is None:
            return alone(served)
        log.info("%s: version %s is on trial %d as a %s", name, found.served.version, found.trial, found.mode)
        return replace(served, challenger=found)

    def loaded(self, served: "Served", path: Path) -> Challenger | None:
        """Verify and warm the challenger; one that fails is never the champion's problem, and the keeper is told."""
        self.running.pop(served.project, None)
        try:
            pointer, trial, mode, share = read_trial(path)
        except Corrupt as error:
            log.warning("%s: no trial: %s", served.project, error)
            return None
        if pointer.generation != served.generation or trial in self.over or mode not in ("shadow", "canary"):
            return None
        tally = self.recalled(served.project, trial)
        if tally is None:
            return None
        self.running[served.project] = (trial, tally)
        try:
            predictor = self.opening.open(pointer, "trial")
            check_alike(served.predictor, predictor)
        except Loading as waiting:
            log.debug("%s: trial %d: %s", served.project, trial, waiting)
            self.retry_at[served.project] = time.monotonic() + RETRY_SECONDS
            return None
        except Exception as error:  # a project's feature code or a network may raise anything; the watch must live
            log.exception("%s: trial %d can't run", served.project, trial)
            tally.problem = f"{type(error).__name__}: {str(error)[:300]}"
            return None
        manifest = pointer.manifest_sha256
        version = replace(
            served, version=pointer.version, manifest_sha256=manifest, predictor=predictor, challenger=None
        )
        return Challenger(trial, "canary" if mode == "canary" else "shadow", share, version, tally)

    def recalled(self, project: str, trial: int) -> Tally | None:
        """Return what was counted of a trial; None where it is over, or waits for the store."""
        try:
            tally = self.recall(trial)
        except HoldfastError as error:  # the store is away
            log.warning("%s: trial %d waits: %s", project, trial, error)
            self.retry_at[project] = time.monotonic() + RETRY_SECONDS
            return None
        if tally is None:
            self.over.add(trial)
        return tally


def read_trial(path: Path) -> tuple["Pointer", int, str, float]:
    """Read one trial.json: what runs, the trial's number, its mode, its share of the keys.

    Raises: Corrupt when it is not what the keeper writes.
    """
    from serving.generations import read_pointer

    pointer = read_pointer(path)
    try:
        stored = orjson.loads(path.read_bytes())
        trial, mode, share = int(stored["trial"]), str(stored["mode"]), float(stored["share"])
    except (OSError, ValueError, ArithmeticError, KeyError, TypeError) as error:
        raise Corrupt(str(path), "the keeper's trial", f"{type(error).__name__} {error}") from error
    if not 0 < trial <= LAST:
        raise Corrupt(str(path), "a trial's number", str(trial)[:80])
    return pointer, trial, mode, share


def alone(served: "Served") -> "Served":
    """Return what serves without a challenger."""
    if served.challenger is None:
        return served
    log.info("%s: trial %d is over", served.project, served.challenger.trial)
    return replace(served, challenger=None)


def check_alike(champion: Predictor, challenger: Predictor) -> None:
    """Refuse a challenger that reads rows otherwise than the champion.

    Raises: Corrupt.
    """
    theirs, ours = challenger.schema, champion.schema
    if list(theirs.features.items()) != list(ours.features.items()) or theirs.identifiers != ours.identifiers:
        raise Corrupt("the schema of the version on trial", "the champion's features", "others")


def mark_of(path: Path) -> tuple[object, ...] | None:
    """Return a file's identity, None without a file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
