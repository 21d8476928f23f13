"""The card of a version: made when it is registered, and brought up to the ledger after each verdict and promotion.

What was measured is fixed at registration, its hash in the ledger; verdict, generations and reference are always
the ledger's. `refresh` writes what follows from both, so that a killed one is mended by the next.
"""

import hashlib
import json
import logging
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import BadDeclaration, Corrupt, NoSuchVersion
from models import card_value, cards
from models.card_page import page
from models.card_value import CARD, PAGE, Card
from models.card_words import first_line
from monitoring.records import Decision, Generation
from monitoring.stored_reference import from_bytes
from monitoring.summary import summary
from projects.declaration import Project
from tasks.resources import Resources

if TYPE_CHECKING:
    from models.registry import RunLog

logger = logging.getLogger(__name__)


def draft(project: Project, folder: Path, run: "RunLog", *, facts: dict[str, str], told: dict[str, str]) -> Card:
    """Return the card of what a training has left in `folder`; registered again it is the same, to the byte.

    `facts`: what is needed to make it again; `told`: the parameters of the training.
    """
    schema = project.schema
    return card_value.compose(
        project=project.name,
        run=run.id,
        experiment=run.experiment,
        made_at=datetime.fromtimestamp(run.started / 1000, UTC),
        purpose={
            "task": project.task,
            "target": schema.target,
            "inputs": {name: column.words() for name, column in schema.features.items()},
            "sensitive": list(schema.sensitive),
        },
        found=json.loads((folder / "evaluation" / "metrics.json").read_text()),
        history=json.loads((folder / "history.json").read_text()),
        parameters=told,
        snapshot=json.loads((folder / "snapshot.json").read_text()),
        facts=facts,
    )


def write(resources: Resources, project: str, version: str, card: Card) -> None:
    """Write a version's card where people read it, the value last: while that is old, the rest is written again."""
    models, verdict = resources.models, card["verdict"] or {}
    run_id = models.run_of(project, version)
    models.keep(run_id, {PAGE: page(card)})
    models.head(project, version, first_line(card), verdict.get("gates", []), cards.beneath(card))
    models.keep(run_id, {CARD: card_value.to_json(card)})


def refresh(resources: Resources, project: str, version: str) -> None:
    """Bring a version's card up to the ledger; one that says so already, or that has no card, is left alone.

    A card that somebody spoiled stays as it is, for what it said can't be known any more.
    """
    try:
        before = stored(resources, project, version)
        card = current(resources, project, version, before)
        if card_value.to_json(card) != card_value.to_json(before):
            write(resources, project, version, card)
    except FileNotFoundError:
        return
    except Corrupt as error:
        logger.warning("%s: the card of version %s is not renewed: %s", project, version, error)


def renew(resources: Resources, project: str) -> None:
    """Bring the cards of what serves, and of what it replaced, up to the ledger, once a generation.

    Raises: ServerUnavailable; the keeper asks again.
    """
    past = resources.store.ledger.generations(project)
    noted = f"cards of {project}"
    if not past or resources.store.notes.get(noted) == past[-1].number:
        return
    for version in dict.fromkeys(one.version for one in reversed(past[-2:])):
        with suppress(NoSuchVersion):  # somebody deleted it; what serves is on this machine
            refresh(resources, project, version)
    resources.store.notes.put(noted, past[-1].number, resources.now())


def stored(resources: Resources, project: str, version: str) -> Card:
    """Return the card that the registry has.

    Raises:
        FileNotFoundError: this version came without one.
        Corrupt: it is no card.
        NoSuchVersion: there is no such version.
    """
    text = resources.models.read_artifact(resources.models.run_of(project, version), CARD)
    return card_value.read(text, f"{CARD} of version {version} of {project}")


def current(resources: Resources, project: str, version: str, before: Card) -> Card:
    """Return a card as the ledger has it now; nothing is written."""
    past = resources.store.ledger.generations(project)
    verdict = line(resources, project, version, "judge")
    own = [one for one in past if one.version == version]
    card = {
        **before,
        "version": version,
        "verdict": verdict_of(verdict) if verdict else None,
        "generations": terms(resources, project, past, version),
        "reference": reference(resources, own[-1], before.get("reference")) if own else None,
        "receipts": receipts(resources, project, version),
        "reproduce": f"holdfast verify {project}@{version}",
    }
    card["warnings"] = warnings(line(resources, project, version, "register"), card)
    return card


def verdict_of(found: Decision) -> dict[str, Any]:
    """Return a verdict as the card has it."""
    return {
        "outcome": outcome(found),
        "sentence": found.reason,
        "at": found.at.isoformat(timespec="seconds"),
        "against": found.inputs.get("champion"),
        "gates": card_value.plain(found.inputs["gates"]),
    }


def outcome(verdict: Decision) -> str:
    """Return the word with which a verdict's sentence starts: passed, kept, refused, question."""
    return verdict.reason.partition(":")[0].lower()


def terms(
    resources: Resources, project: str, past: list[Generation], version: str | None = None
) -> list[dict[str, Any]]:
    """Return the generations of one version, or of all, oldest first: since and until when, by whom, and why."""
    back = resources.store.ledger.rollbacks(project)
    ends = [later.at.isoformat(timespec="seconds") for later in past[1:]]
    return [
        {
            "generation": one.number,
            "version": one.version,
            "since": one.at.isoformat(timespec="seconds"),
            "until": until,
            "by": one.actor,
            "why": one.reason,
            "waived": list(one.waived),
            "rollback": one.number in back,
        }
        for one, until in zip(past, [*ends, None], strict=False)  # nothing has ended where nothing served
        if version in (None, one.version)
    ]


def reference(resources: Resources, serving: Generation, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what windows of a generation are compared with; without its project's file, what was written before."""
    payload = resources.store.references.get(serving.project, serving.number)
    if payload is None:
        return None
    digest = hashlib.sha256(payload).hexdigest()
    try:
        monitors = resources.project(serving.project).monitors
    except BadDeclaration:
        return before if before and before.get("sha256") == digest else None
    return {"generation": serving.number, "sha256": digest, **card_value.plain(summary(from_bytes(payload), monitors))}


def receipts(resources: Resources, project: str, version: str) -> list[dict[str, Any]]:
    """Return what a version's promotion or refusal turned out to be worth, as the card has it, oldest first."""
    return [
        {
            "kind": one.kind,
            "decided": one.decided_at.isoformat(timespec="seconds"),
            "generation": one.generation,
            "against": one.against,
            "paid": one.paid,
            "sentence": one.detail["sentence"],
        }
        for one in resources.store.receipts.of(project, version)
    ]


def line(resources: Resources, project: str, version: str, kind: str) -> Decision | None:
    """Return the ledger's last line of one kind on a version."""
    found = resources.store.ledger.decisions(project, subject=f"version {version}", kinds=(kind,), limit=1)
    return found[0] if found else None


def warnings(registered: Decision | None, card: Card) -> list[str]:
    """Say what does not fit together: a card that was changed in the registry after it was registered."""
    known = registered.inputs.get("card") if registered else None
    if known is None or known == card_value.seal(card):
        return []
    return ["This card was changed in the registry after the version was registered: its numbers prove nothing."]
