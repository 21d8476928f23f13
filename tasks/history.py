"""What people ask about versions and generations: which there are, how good each is, what served when and why.

What was decided comes from the ledger and needs no server; what a version is comes from the registry.
"""

from typing import Any

from data.errors import BrokenProject, NoSuchProject, NoSuchVersion, ServerUnavailable
from models.card_value import Card
from models.card_words import scored
from models.registry import Version
from monitoring.records import Generation
from tasks import model_cards
from tasks.resources import Resources


def projects(resources: Resources) -> list[str]:
    """Return the projects that have a file here, broken or not, and those that the ledger knows."""
    loaded, broken = resources.projects()
    ledger = resources.store.ledger
    return sorted({*loaded, *broken, *ledger.projects(), *ledger.judged()})


def known(resources: Resources, name: str) -> str:
    """Return a project's name.

    Raises: NoSuchProject.
    """
    try:
        return resources.project(name).name
    except (NoSuchProject, BrokenProject):
        names = projects(resources)
        if name not in names:
            raise NoSuchProject(name, names) from None
        return name


def versions(resources: Resources, name: str) -> list[dict[str, Any]]:
    """Return a project's versions, newest first: stage, verdict, metric with bounds, since when it serves.

    Raises: NoSuchProject; ServerUnavailable, for the registry alone knows what there is.
    """
    known(resources, name)
    try:
        found = resources.models.versions(name)
    except ServerUnavailable as error:
        raise ServerUnavailable(
            f"the versions stand in MLflow, and {error}; start it with `holdfast up`, or see what served by "
            f"`holdfast models history {name}`"
        ) from error
    serving = resources.store.ledger.generation(name)
    said = verdicts(resources, name)
    return [row(version, said.get(version.number), serving) for version in found]


def verdicts(resources: Resources, name: str) -> dict[str, str]:
    """Return the ledger's last verdict on each version of a project."""
    found: dict[str, str] = {}
    for decision in resources.store.ledger.decisions(name, kinds=("judge",)):
        found.setdefault(str(decision.inputs.get("version")), model_cards.outcome(decision))
    return found


def row(version: Version, verdict: str | None, serving: Generation | None) -> dict[str, Any]:
    """Return one version as a line of a table; what serves is the ledger's word, whatever the tags say."""
    serves = serving is not None and serving.version == version.number
    return {
        "project": version.project,
        "version": version.number,
        "stage": "champion" if serves else version.stage,
        "verdict": verdict,
        **scored(version.tags.get("score", "")),
        "created": version.created_at,
        "serves_since": serving.at if serves and serving else None,
    }


def card(resources: Resources, name: str, version: str) -> Card:
    """Return a version's card, its verdict and generations as the ledger has them now.

    Raises: NoSuchProject; NoSuchVersion; Corrupt; ServerUnavailable.
    """
    existing(resources, name, version)
    try:
        before = model_cards.stored(resources, name, version)
    except FileNotFoundError as error:
        raise NoSuchVersion(
            f"version {version} of {name} has no card: it was not made by a training of ours"
        ) from error
    return model_cards.current(resources, name, version, before)


def show(resources: Resources, name: str, version: str) -> dict[str, Any]:
    """Return what there is to say of one version; with MLflow away, what the ledger alone knows.

    Raises: NoSuchProject; NoSuchVersion; ServerUnavailable, where the ledger knows nothing of it either.
    """
    said = ledgered(resources, name, version)
    try:
        found = existing(resources, name, version)
    except ServerUnavailable:
        if said["verdict"] is None and not said["generations"]:
            raise
        return {**said, "registry": "MLflow does not answer: only what the ledger knows is shown"}
    about = row(found, None, resources.store.ledger.generation(name))
    about = {key: about[key] for key in ("stage", "metric", "value", "low", "high", "created")}
    links = {"page": resources.models.version_url(name, version)}
    return {**said, **about, "aliases": list(found.aliases), "tags": dict(found.tags), "links": links, "registry": None}


def ledgered(resources: Resources, name: str, version: str) -> dict[str, Any]:
    """Return what the ledger knows of a version.

    Raises: NoSuchProject.
    """
    past = resources.store.ledger.generations(known(resources, name))
    verdict = model_cards.line(resources, name, version, "judge")
    origin = model_cards.line(resources, name, version, "register")
    return {
        "project": name,
        "version": version,
        "verdict": model_cards.verdict_of(verdict) if verdict else None,
        "generations": model_cards.terms(resources, name, past, version),
        "facts": dict(origin.inputs.get("facts", {})) if origin else {},
        "parameters": dict(origin.inputs.get("parameters", {})) if origin else {},
        "receipts": model_cards.receipts(resources, name, version),
    }


def existing(resources: Resources, name: str, version: str) -> Version:
    """Return a version as the registry has it.

    Raises: NoSuchProject; NoSuchVersion, naming those there are.
    """
    known(resources, name)
    try:
        return resources.models.version(name, version)
    except NoSuchVersion as error:
        numbers = [int(one.number) for one in resources.models.versions(name)]
        there = f"the nearest is {nearest(version, numbers)}" if numbers else "it has none yet"
        raise NoSuchVersion(f"{error}; {there} (`holdfast models ls {name}` lists them)") from error


def nearest(version: str, numbers: list[int]) -> int:
    """Return the number nearest to the one asked for; the newest where that is no number."""
    return min(numbers, key=lambda number: abs(number - int(version))) if version.isdecimal() else max(numbers)


def generations(resources: Resources, name: str) -> list[dict[str, Any]]:
    """Return everything that has served, newest first, from the ledger alone, and what coming to serve was worth.

    Raises: NoSuchProject.
    """
    past = resources.store.ledger.generations(known(resources, name))
    settled = resources.store.receipts.of(name)
    earned = {one.generation: one.detail.get("amount") for one in settled if one.kind != "refusal"}
    terms = model_cards.terms(resources, name, past)
    return [{**term, "earned": earned.get(term["generation"])} for term in terms[::-1]]
