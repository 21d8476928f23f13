"""The aliases in the registry: written as the ledger has them, or left to a person, who is told once."""

import logging
from contextlib import suppress

from data.errors import NoSuchVersion
from monitoring.records import Generation
from tasks.resources import Resources
from tasks.telling import close, tell

UNKNOWN = "unauthenticated (MLflow UI)"

logger = logging.getLogger(__name__)


def own(resources: Resources, name: str, version: str) -> bool:
    """Tell whether the alias on this version is one that we wrote or were about to write, and so asks for nothing."""
    state = resources.store.ledger.alias(name)
    return version in (state.written, state.intended)


def mirror(resources: Resources, name: str) -> None:
    """Make the registry's aliases and stage tags say what the ledger says. Saying it twice changes nothing."""
    past = resources.store.ledger.generations(name)
    if not past:
        return
    serving = past[-1]
    before = next((entry for entry in reversed(past[:-1]) if entry.version != serving.version), None)
    resources.store.ledger.intend_alias(name, serving.version)
    resources.models.set_alias(name, "champion", serving.version)
    resources.store.ledger.wrote_alias(name, serving.version)
    resources.models.tag(name, serving.version, {"stage": "champion", "generation": str(serving.number)})
    resources.models.drop_alias(name, "challenger", serving.version)
    resources.models.drop_alias(name, "candidate", serving.version)
    retire(resources, name, {entry.version for entry in past} - {serving.version, before.version if before else ""})
    if before:
        with suppress(NoSuchVersion):  # somebody deleted it
            resources.models.set_alias(name, "previous", before.version)
            resources.models.tag(name, before.version, {"stage": "previous"})


def retire(resources: Resources, name: str, versions: set[str]) -> None:
    """Take the stage of those that serve or served last from versions that did so longer ago."""
    for version in resources.models.versions(name):
        if version.number in versions and version.stage in ("champion", "previous"):
            resources.models.tag(name, version.number, {"stage": "retired"})


def give_back(resources: Resources, serving: Generation) -> None:
    """Restore an alias that somebody took from what serves, on record."""
    if not restore(resources, serving):
        return
    why = f"the alias was taken from version {serving.version}, which serves: it was given back"
    logger.warning("%s: %s", serving.project, why)
    resources.store.ledger.decide(
        serving.project,
        kind="restore",
        subject=f"version {serving.version}",
        reason=why,
        inputs={"generation": serving.number, "asked_by": UNKNOWN},
        now=resources.now(),
    )


def restore(resources: Resources, serving: Generation) -> bool:
    """Write the aliases as the ledger has them; False, and people are told, where the registry has lost the version."""
    name = serving.project
    try:
        mirror(resources, name)
    except NoSuchVersion:
        what = f"version {serving.version} of {name} is gone from the registry"
        here = f"generation {serving.number} goes on serving from this machine's copy, and no other can fetch it"
        alarm(resources, serving, f"{what}: {here}. Promote another version, or train one.")
        return False
    return True


def alarm(resources: Resources, serving: Generation, text: str) -> None:
    """Tell people of a version that the registry has lost or spoiled; once, while the incident is open."""
    if resources.store.incidents.open_ones(serving.project, "registry"):
        return
    detail = {"version": serving.version}
    tell(resources, serving.project, "registry", serving.number, f"registry-{serving.number}", text, detail)


def leave(resources: Resources, name: str, version: str, serving: Generation | None, why: str) -> None:
    """Tell people that the alias names a version which doesn't serve; once, while it does."""
    if left(resources, name) == version:
        return
    close(resources, name, "alias", "the alias was moved on")
    stays = f"version {serving.version} serves on as generation {serving.number}" if serving else "nothing serves"
    text = f"the alias `champion` of {name} names version {version}, which was refused and does not serve; {stays}"
    detail = {"version": version, "serving": serving.version if serving else None}
    tell(resources, name, "alias", serving.number if serving else 0, f"alias-{version}", f"{text}: {why}", detail)


def left(resources: Resources, name: str) -> str | None:
    """Return the refused version on which the alias was left."""
    found = resources.store.incidents.open_ones(name, "alias")
    return str(found[0].detail["version"]) if found else None
