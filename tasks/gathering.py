"""What a training learns from, on record before it begins, so that the next one knows what is new to it."""

from datetime import datetime

from data.errors import NoBatch
from data.versions import Snapshot
from monitoring.records import Decision, Generation, Intent
from projects.declaration import Project
from tasks import plans
from tasks.resources import Resources

UNTRAINED = ("unneeded", "blocked", "cancelled", "failed", "abandoned")  # from these nothing was learned
LOOKED_AT = 500  # newest trainings


def note(resources: Resources, intent: int, snapshot: Snapshot, since: datetime | None, now: datetime) -> None:
    """Write what a training learns from: a snapshot, fixed after `now`, and since when the world is another."""
    resources.store.ledger.decide(
        snapshot.project,
        kind="gather",
        subject=f"intent {intent}",
        reason=f"learns from snapshot {snapshot.hash[:12]}, {snapshot.rows} rows",
        inputs={"intent": intent, "snapshot": snapshot.hash, "since": since.isoformat() if since else None},
        now=now,
    )


def gathered(resources: Resources, name: str) -> list[Decision]:
    """Return what trainings began with, newest first, as `note` wrote it."""
    return resources.store.ledger.decisions(name, kinds=("gather",), limit=LOOKED_AT)


def trained(resources: Resources, name: str) -> list[Intent]:
    """Return the trainings that came to a verdict, newest first: what they learned from is known."""
    known = resources.store.intents.recent(name, LOOKED_AT)
    return [one for one in known if one.ended_at and one.outcome not in UNTRAINED]


def new_rows(resources: Resources, name: str, generation: Generation) -> int:
    """Return how many rows have landed since a training fixed what it learns from.

    What a retraining learned from is not new to the next one, whether its candidate served or not; what landed while
    it ran is.
    """
    fixed = {one.inputs["intent"]: one.at for one in reversed(gathered(resources, name))}
    since = max(
        (fixed.get(one.id, one.ended_at or one.opened_at) for one in trained(resources, name)), default=generation.at
    )
    accepted = resources.store.ledger.decisions(name, kinds=("ingest",), since=since)
    return sum(int(one.inputs.get("accepted", 0)) for one in accepted)


def same_data(resources: Resources, project: Project) -> bool:
    """Tell whether a training that began now would learn from just the rows that the last one learned from."""
    newest = newest_data(resources, project)
    return learned_before(resources, project, newest, plans.drifted_since(resources, project.name, None))


def learned_before(
    resources: Resources, project: Project, snapshot: str | None, since: datetime | None, before: datetime | None = None
) -> bool:
    """Tell whether the last training that was registered, before a time, learned from just these rows.

    `since`: when the drift began, which chooses among the rows of a snapshot where the project says so.
    """
    if learned_last(resources, project.name, before) != snapshot:
        return False
    if project.training.rows != "since_drift":
        return True
    begun = {
        one.inputs["intent"]: one.inputs["since"]
        for one in reversed(gathered(resources, project.name))
        if one.inputs["snapshot"] == snapshot
    }
    last = next((one.id for one in trained(resources, project.name) if one.id in begun), None)
    return last is None or begun[last] == (since.isoformat() if since else None)


def learned_last(resources: Resources, name: str, before: datetime | None = None) -> str | None:
    """Return the hash of the snapshot that the last training learned from which was registered, before a time."""
    for one in resources.store.ledger.decisions(name, kinds=("register",), limit=10):
        if before is None or one.at < before:
            found: str | None = one.inputs.get("facts", {}).get("snapshot")
            return found
    return None


def newest_data(resources: Resources, project: Project) -> str | None:
    """Return the hash of the snapshot that a training would learn from, if nothing were harvested first."""
    try:
        return resources.batches.snapshot(project.name).hash
    except NoBatch:
        return None
