"""Calibrations on disk, so that a process need not make again what another one made: a monitor's run is a new process.

A file is named for everything that it follows from, this code and numpy's version included: nothing is ever stale, and
whoever makes it twice writes the same. It is written beside and renamed, so a killed writer leaves none, or one that
is not read. A folder that can't be written to costs time and nothing else.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from shutil import rmtree
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

FOLDERS = 50  # references whose calibrations are kept, the last used ones


@dataclass(frozen=True)
class Kept:
    """The calibrations of one reference. `folder`: of all references; `digest`: of what the reference was read from."""

    folder: Path
    digest: str

    def get(self, question: list[Any], make: Callable[[], Any]) -> Any:
        """Return what `make` returns, JSON values, from disk where it was asked for before."""
        key = json.dumps([self.digest, code_sha256(), question], sort_keys=True)
        file = self.folder / self.digest[:32] / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        try:
            stored = json.loads(file.read_bytes())
            if stored["key"] == key:
                return stored["value"]
        except (OSError, ValueError, LookupError, TypeError):
            logger.debug("%s is not there, or not whole", file)
        value = make()
        try:
            self._put(file, json.dumps({"key": key, "value": value}))
        except OSError as error:
            logger.warning("a calibration was not kept and will be made again: %s", error)
        return value

    def _put(self, file: Path, text: str) -> None:
        if not file.parent.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._forget()
        with NamedTemporaryFile("w", dir=file.parent, suffix=".new", delete=False) as beside:
            beside.write(text)
        Path(beside.name).replace(file)
        os.utime(file.parent)

    def _forget(self) -> None:
        """Delete the calibrations of references that were not asked for the longest."""
        known = sorted((one for one in self.folder.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)
        for one in known[:-FOLDERS]:
            rmtree(one, ignore_errors=True)


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Hash the code that calibrations follow from, and the version of what draws their random numbers."""
    found = hashlib.sha256(np.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()
