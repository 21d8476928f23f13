"""What a window's verdict was made from, read again from the store."""

from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import Corrupt
from monitoring.records import WindowKey
from monitoring.reference import Reference
from monitoring.stored_reference import from_bytes

if TYPE_CHECKING:
    from monitoring.store import Store


def reference_of(
    store: "Store", window: WindowKey, calibrations: Path | None = None, *, revision: int | None = None
) -> Reference:
    """Return what a window is compared with, or the revision it was judged by: a change that came later is not in it.

    `calibrations`: the folder in which its calibrations are kept.

    Raises: Corrupt.
    """
    stored = store.references.get(window.project, window.generation, revision, window=window.index)
    if stored is None:
        raise Corrupt(f"reference of {window.project} generation {window.generation}", "a reference", "none")
    return from_bytes(stored, calibrations)
