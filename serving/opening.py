"""Versions on their way into memory: one that torch answers is opened by a thread of its own, as that may take minutes.

Whoever asks for it is told that it is loading, and asks again; nobody else waits for it.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import orjson

from data.errors import HoldfastError
from models.predictor import Predictor

if TYPE_CHECKING:
    from serving.generations import Pointer

Read = Callable[["Pointer"], Predictor]
Kind = Literal["generation", "trial"]


class Loading(HoldfastError):
    """A version is not in memory yet; ask for it again."""


class Opening:
    """The versions being opened, one of a project and kind. Called by the thread that loads generations."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.slots: dict[tuple[str, Kind], Slot] = {}

    def open(self, pointer: "Pointer", kind: Kind) -> Predictor:
        """Return what a pointer names, once it is open; another one that was on its way in its place is dropped.

        Raises: Loading; whatever reading it raised.
        """
        slot = self.slots.get((pointer.project, kind))
        if slot is None or slot.pointer != pointer:
            self.forget(pointer.project, kind)
            if not by_torch(pointer):
                return self.read(pointer)
            slot = self.slots[pointer.project, kind] = Slot(self.read, pointer)
            slot.start()
        if slot.is_alive():
            raise Loading(f"version {pointer.version} is loading: a torch worker starts")
        self.forget(pointer.project, kind)
        if slot.predictor is None:
            raise slot.error or Loading(f"version {pointer.version} is loading: its thread was lost")
        return slot.predictor

    def forget(self, project: str, kind: Kind) -> None:
        """Want a version no more; its worker ends with the thread that still starts it."""
        self.slots.pop((project, kind), None)


class Slot(threading.Thread):
    """Opens one version, and keeps it or why there is none."""

    def __init__(self, read: Read, pointer: "Pointer") -> None:
        super().__init__(name=f"open-{pointer.project}", daemon=True)  # a worker that hangs holds up no end
        self.read, self.pointer = read, pointer
        self.predictor: Predictor | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Open it."""
        try:
            self.predictor = self.read(self.pointer)
        except Exception as error:  # noqa: BLE001 (a project's feature code may raise anything; whoever asked is told)
            self.error = error


def by_torch(pointer: "Pointer") -> bool:
    """Whether torch answers for a version; for one that can't be read that is no matter, as it won't open."""
    try:
        return bool(orjson.loads((pointer.folder / "predictor.json").read_bytes())["served_by"] == "torch")
    except (OSError, ValueError, KeyError, TypeError):
        return False
