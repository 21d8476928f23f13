"""The first steps of a batch's life: type it, validate it, keep the good rows, quarantine the others."""

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data import quarantine
from data.batches import canonical, coerce, write_batch
from data.errors import BatchRefused, NoBatch, SchemaMismatch
from data.schema import Rows, length, take
from data.sources import Batch
from data.validation import Validation, report_markdown, validate
from projects.declaration import Project
from tasks.resources import Resources

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Landed:
    """What became of one batch. `refused` is the reason when nothing of it was accepted; `rows`: those that were.

    `sha256`: of the file that holds them.
    """

    batch: str
    accepted: int
    quarantined: int
    changed: bool
    refused: str | None = None
    report: str = ""
    reasons: tuple[str, ...] = ()
    rows: Rows | None = field(default=None, compare=False, repr=False)
    sha256: str | None = None

    def row(self) -> dict[str, Any]:
        """One line of a table."""
        state = "refused" if self.refused else "new" if self.changed else "unchanged"
        return {
            "batch": self.batch,
            "state": state,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "why": self.refused or "; ".join(self.reasons),
        }


def land(resources: Resources, project: Project, batch: Batch) -> Landed:
    """Validate one batch, version its good rows and quarantine the others. The same batch again changes nothing."""
    if batch.once and (kept := standing(resources, project, batch.name)) is not None:
        return kept
    frame = batch.frame.reset_index(drop=True)
    try:
        rows, misfits = coerce(frame, project.schema)
        validation = validate(rows, project.schema, project.expectations)
    except (SchemaMismatch, BatchRefused) as error:
        return refuse(resources, project, batch, frame, str(error))
    positions = np.setdiff1d(np.arange(len(frame)), [position for position, _ in misfits])
    reasons = bad_rows(misfits, validation, positions)
    if validation.refused or not validation.good.any():
        none = f"no row is as the schema says; the first: {misfits[0][1]}" if len(misfits) == len(frame) > 0 else ""
        why = none or validation.refused or "no row is fit"
        return refuse(resources, project, batch, frame, why, reasons, report_markdown(validation))
    good = canonical(take(rows, validation.good), project.schema)

    def write(path: Path) -> None:
        write_batch(path, good, project.schema)

    if reasons:
        keep_bad(resources, project, batch.name, frame, reasons)
    landed = resources.batches.land(project.name, batch.name, write, length(good))
    logger.info("%s %s: %d rows accepted, %d in quarantine", project.name, batch.name, length(good), len(reasons))
    summary = tuple(sorted({reason for found in reasons.values() for reason in found}))
    page = report_markdown(validation)
    [sha256] = [file.sha256 for file in landed.snapshot.files if file.name == f"{batch.name}.parquet"]
    return Landed(batch.name, length(good), len(reasons), landed.changed, None, page, summary, good, sha256)


def standing(resources: Resources, project: Project, name: str) -> Landed | None:
    """Return what was accepted under a batch's name, if anything was."""
    try:
        files = resources.batches.snapshot(project.name).files
    except NoBatch:
        return None
    held = [file for file in files if file.name == f"{name}.parquet"]
    return Landed(name, held[0].rows, 0, changed=False, sha256=held[0].sha256) if held else None


def bad_rows(misfits: list[tuple[int, str]], validation: Validation, positions: np.ndarray) -> dict[int, list[str]]:
    """Map each bad row's position in the frame as it came to its reasons."""
    reasons: dict[int, list[str]] = {position: [why] for position, why in misfits}
    for typed, why in validation.reasons.items():
        reasons.setdefault(int(positions[typed]), []).extend(why)
    return reasons


def refuse(
    resources: Resources,
    project: Project,
    batch: Batch,
    frame: "pd.DataFrame",
    why: str,
    reasons: dict[int, list[str]] | None = None,
    report: str = "",
) -> Landed:
    """Put a whole batch in quarantine, each row with the batch's reason beside its own."""
    found = {position: [f"batch refused: {why}", *(reasons or {}).get(position, [])] for position in range(len(frame))}
    if found:
        keep_bad(resources, project, batch.name, frame, found)
    logger.warning("%s %s refused: %s", project.name, batch.name, why)
    return Landed(batch.name, 0, len(frame), changed=True, refused=why, report=report)


def keep_bad(
    resources: Resources, project: Project, name: str, frame: "pd.DataFrame", reasons: dict[int, list[str]]
) -> None:
    """Add the rows named in `reasons` to the quarantine, as they came."""
    quarantine.add(resources.batches, project.name, name, frame, reasons)


def release(resources: Resources, project: Project, name: str, repaired: "pd.DataFrame | None" = None) -> Landed:
    """Validate quarantined rows again, repaired if given, and land those that are fit now as a batch of their own."""
    frame = repaired if repaired is not None else quarantine.show(resources.batches, project.name, name)
    mark = hashlib.sha256(frame.to_json(default_handler=str).encode()).hexdigest()[:8]  # two repairs are two batches
    landed = land(resources, project, Batch(f"{name[:60]}.released-{mark}", frame))
    if not landed.refused:
        quarantine.release(resources.batches, project.name, name)
    return landed
