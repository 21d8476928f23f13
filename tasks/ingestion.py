"""Bring in what a project's source has: each batch typed, validated, versioned; bad rows quarantined."""

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from data.errors import BatchRefused, NoBatch, SourceUnavailable
from data.markdown import escaped, table
from data.sources import Batch, fetch, numbered
from data.versions import Kind, Snapshot
from projects.declaration import Project
from tasks import changes, plans
from tasks.landing import Landed, land
from tasks.reports import Report
from tasks.resources import Resources
from tasks.skew import look_for_skew

logger = logging.getLogger(__name__)


def ingest(resources: Resources, name: str, *, hold: str | None = None) -> Report:
    """Land every batch the source has; what is there already changes nothing.

    `hold`: a declared change whose rows are kept out, now and whenever this home ingests again.

    Raises:
        BadSetting: no such change is declared.
        SourceUnavailable: the source can't be read.
        BatchRefused: no batch was fit as a whole; the message names the first and why.
    """
    project = resources.project(name)
    landings: list[Landed] = []
    if hold is not None:
        changes.hold_back(resources, project, hold)
    keys = changes.held_keys(resources, project)
    try:
        for given in fetch(project.source):
            given = named(resources, name, given)  # noqa: PLW2901
            batch = changes.without(given, project.schema.key, keys)
            if batch is None:
                continue
            landings.append(land(resources, project, batch))
            if unrecorded(resources, project, landings[-1]):
                look_for_skew(resources, project, batch.name, landings[-1].rows or {})
                record(resources, project, landings[-1])  # last, as it says that all of this was done
            landings[-1] = replace(landings[-1], rows=None)  # of many batches only one is held
    except SourceUnavailable as error:
        if not landings:
            raise
        raise SourceUnavailable(f"{error}; the other {len(landings)} batches have landed") from error
    finally:
        if any(not landed.refused for landed in landings):
            begin(resources, resources.batches.snapshot(name))
    if landings and all(landed.refused for landed in landings):
        first = landings[0]
        raise BatchRefused(name, first.batch, first.refused or "")
    report = publish(resources, project, landings)
    stay = changes.held_within(resources, project, keys) if hold is not None else []
    said = f"; rows to be kept out stay in {', '.join(stay)}, accepted before: only a fresh home is without them"
    return replace(report, sentence=report.sentence + said * bool(stay))


def named(resources: Resources, project: str, batch: Batch) -> Batch:
    """Give a batch its name for good."""
    if not batch.whole:
        return batch
    return numbered(batch, names(resources, project, "batches"), names(resources, project, "quarantine"))


def names(resources: Resources, project: str, kind: Kind) -> list[str]:
    """Return the names of a project's batches."""
    try:
        return [Path(file.name).stem for file in resources.batches.snapshot(project, kind).files]
    except NoBatch:
        return []


def unrecorded(resources: Resources, project: Project, landed: Landed) -> bool:
    """Tell whether a batch is new, or whoever landed it was killed before the ledger had its line."""
    if landed.changed:
        return True
    subject = f"batch {landed.batch}"
    lines = resources.store.ledger.decisions(project.name, subject=subject, kinds=("ingest",), limit=1)
    return not lines or lines[0].inputs.get("sha256", landed.sha256) != landed.sha256


def record(resources: Resources, project: Project, landed: Landed) -> None:
    """Write one landing to the ledger."""
    reason = landed.refused or f"{landed.accepted} rows accepted, {landed.quarantined} in quarantine"
    kind = "refuse" if landed.refused else "ingest"
    resources.store.ledger.decide(
        project.name,
        kind=kind,
        subject=f"batch {landed.batch}",
        reason=reason,
        inputs={**landed.row(), "sha256": landed.sha256},
        now=resources.now(),
    )


def publish(resources: Resources, project: Project, landings: list[Landed]) -> Report:
    """Write the newest snapshot where the pipeline starts, and say what came in."""
    snapshot = resources.batches.snapshot(project.name)
    begin(resources, snapshot)
    new = [landed for landed in landings if landed.changed and not landed.refused]
    quarantined = sum(landed.quarantined for landed in landings)
    sentence = (
        f"{len(new)} of {len(landings)} batches are new, {sum(landed.accepted for landed in new)} rows accepted, "
        f"{quarantined} in quarantine; the snapshot holds {snapshot.rows} rows"
        if landings
        else f"the source has no batch; the snapshot holds {snapshot.rows} rows"
    )
    return Report(sentence, data_report(project, landings, snapshot), table=[landed.row() for landed in landings])


def begin(resources: Resources, snapshot: Snapshot) -> None:
    """Write what the pipeline starts from: the newest snapshot, and a plan unless a training has left one."""
    folder = resources.artifacts(snapshot.project)
    write_snapshot(folder / "snapshot.json", snapshot)
    plans.ensure(folder)


def data_report(project: Project, landings: list[Landed], snapshot: Snapshot) -> str:
    """Return the page a person reads after an ingest: each batch, the reasons, and where the rows are."""
    columns = ("batch", "state", "accepted", "quarantined")
    parts = [
        f"Snapshot `{snapshot.hash}`, {snapshot.rows} rows, revision `{snapshot.revision[:12]}`. "
        f"Quarantined rows: `holdfast quarantine ls {project.name}`.",
        table(columns, [[landed.row()[column] for column in columns] for landed in landings]),
    ]
    for landed in landings:
        if landed.quarantined:
            reasons = [escaped(f"refused: {landed.refused}")] if landed.refused else map(escaped, landed.reasons)
            parts.append(f"### {landed.batch}: {landed.quarantined} rows in quarantine")
            parts.append("\n".join(f"- {reason[:300]}" for reason in reasons))
    worst = max(landings, key=lambda landed: landed.quarantined, default=None)
    if worst and worst.report:
        parts.append(f"### Every expectation, on the rows of {worst.batch} that could be read\n\n{worst.report}")
    return "\n\n".join(parts)


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace `path` at once, or leave it as it was."""
    write_atomically(path, snapshot.to_json())


def write_atomically(path: Path, text: str) -> None:
    """Write a whole file or nothing, whatever kills the process in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
