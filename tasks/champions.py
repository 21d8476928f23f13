"""What serves and what has served, as models that can be asked again about the rows of a judging."""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.errors import Corrupt, HoldfastError, NoSuchVersion
from data.schema import Schema
from models.compatibility import unaskable
from models.predictor import Predictor, read_version
from monitoring.records import Generation
from projects.declaration import Project
from tasks.observing import predictor_of
from tasks.resources import Resources

logger = logging.getLogger(__name__)

MOST = 24  # champions asked; of more, as many spread evenly over the history, so that what adds up still shows
ACCEPTED = "best_so_far"  # where a person waived it, what was lost by then is accepted


@dataclass(frozen=True)
class Champions:
    """The version that serves, and those before it that answer still.

    `predictor` is None where nothing serves, or where it can't be asked: `why` says so. `past` are earlier versions,
    `gone` says of others why they can't be asked.
    """

    serving: Generation | None = None
    predictor: Predictor | None = None
    why: str = ""
    past: dict[str, Predictor] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)


def summon(resources: Resources, project: Project, scratch: Path) -> Champions:
    """Bring every champion since a person last accepted a loss, from this machine or from the registry.

    An old one that is gone, or asks for other columns, hinders no judging.

    Raises: ServerUnavailable, while the one that serves is neither here nor to be had.
    """
    generations = resources.store.ledger.generations(project.name)
    if not generations:
        return Champions()
    serving = generations[-1]
    predictor, why = None, ""
    try:
        predictor = brought(resources, serving, scratch)
    except (Corrupt, NoSuchVersion) as error:  # the registry lost it, or the feature code is another one today
        why = one_line(error)
    past: dict[str, Predictor] = {}
    gone: dict[str, str] = {}
    for generation in before(generations, resources.store.ledger.rollbacks(project.name)):
        try:
            past[generation.version] = brought(resources, generation, scratch)
        except HoldfastError as error:
            gone[generation.version] = one_line(error)
            logger.warning("%s: version %s can't be asked: %s", project.name, generation.version, error)
    return Champions(serving, predictor, why, past, gone)


def askable(champions: Champions, schema: Schema) -> Champions:
    """Leave out those that can't answer rows of a schema."""
    why, predictor = champions.why, champions.predictor
    if predictor is not None:
        why = unaskable(predictor.schema, schema)
    unable = {version: unaskable(one.schema, schema) for version, one in champions.past.items()}
    return Champions(
        champions.serving,
        None if why else predictor,
        why,
        {version: one for version, one in champions.past.items() if not unable[version]},
        {**champions.gone, **{version: said for version, said in unable.items() if said}},
    )


def one_line(error: HoldfastError) -> str:
    """Return an error as part of a sentence."""
    return " ".join(str(error).split())[:120]


def before(generations: list[Generation], rollbacks: Collection[int] = ()) -> list[Generation]:
    """Return one generation of each version that served before today's, oldest first, since a loss was accepted.

    A rollback brings back the waivers of old, by which nobody accepts what was lost since.
    """
    waived = (i for i, one in enumerate(generations) if ACCEPTED in one.waived and one.number not in rollbacks)
    accepted = max(waived, default=0)
    serving = generations[-1].version
    found = list({one.version: one for one in generations[accepted:] if one.version != serving}.values())
    if len(found) <= MOST:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, MOST).round().astype(int)]


def brought(resources: Resources, generation: Generation, scratch: Path) -> Predictor:
    """Return a generation's predictor, from the keeper's folder, else fetched from the registry for this judging."""
    try:
        return predictor_of(resources, generation)
    except HoldfastError as error:
        logger.info("%s: generation %d is fetched: %s", generation.project, generation.number, error)
    folder = scratch / f"champion-{generation.number}"
    if not folder.exists():
        resources.models.download(generation.project, generation.version, folder)
    features, file = resources.project(generation.project).features, resources.project_file(generation.project)
    return read_version(folder, features=features, manifest=generation.manifest_sha256, project=file)


def levels(champions: Champions) -> tuple[str, ...]:
    """Return every class that any of them knows."""
    asked = [*champions.past.values(), *([champions.predictor] if champions.predictor else [])]
    return tuple(dict.fromkeys(level for one in asked for level in one.levels))
