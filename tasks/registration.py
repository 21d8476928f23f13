"""A trained folder becomes a version in the registry: metrics, lineage, card, and the verdict on it."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

from data.errors import Corrupt, NotPromotable
from data.markdown import escaped
from data.versions import Snapshot
from models import card_value
from models.card_pictures import draw
from models.card_value import MALFORMED
from models.card_words import score
from models.cards import beneath
from models.judging import Judgement
from models.links import artifact_page
from monitoring.records import Decision
from projects.declaration import Project
from tasks import model_cards
from tasks.fitting import parameters
from tasks.plans import PLAN
from tasks.provenance import provenance, snapshot_sha256
from tasks.resources import Resources


def register(resources: Resources, project: Project, folder: Path, *, holder: str, token: int) -> str:
    """Log the run and register its version as a candidate; the same run again gives the same version."""
    snapshot = json.loads((folder / "snapshot.json").read_text())
    found = json.loads((folder / "evaluation" / "metrics.json").read_text())
    history = json.loads((folder / "history.json").read_text())
    manifest = (folder / "model" / "manifest.json").read_bytes()
    facts = provenance(project, folder, snapshot, resources.project_file(project.name))
    tags = {**facts, "holder": holder, "token": str(token), "mlflow.source.name": f"train {project.name}"}
    with resources.models.start_run(project.name, name=f"train-{token}", tags=tags) as run:
        page = artifact_page(run.experiment, run.id, card_value.PAGE)
        run.note(f"{about(resources, holder)} [The card of its version]({page}).")
        run.params(parameters(project))
        run.history(epochs_of(project, history))
        run.metrics(flat_metrics(found))
        run.dataset(snapshot["hash"], snapshot["rows"], source=f"holdfast://{project.name}/{snapshot['revision']}")
        run.json("snapshot.json", snapshot)
        run.json("evaluation.json", found)
        run.file(folder / "code.tar")
        if (folder / PLAN).exists():
            run.file(folder / PLAN)
        for picture in draw(found, folder, losses_of(history)):
            run.file(picture)
        card = model_cards.draft(project, folder, run, facts=facts, told=parameters(project))
        run.text(card_value.CARD, card_value.to_json(card))
        version = resources.models.register(project.name, run.id, folder / "model", card=beneath(card))
    tags = {"stage": "candidate", "manifest_sha256": hashlib.sha256(manifest).hexdigest(), "snapshot": snapshot["hash"]}
    tags |= {"score": score(found)} if score(found) else {}
    resources.models.tag(project.name, version, tags)
    resources.models.set_alias(project.name, "candidate", version)
    told = history.get("parameters", {})
    seconds = card["training"]["seconds"]
    tell_origin(resources, project.name, version, facts, told, card=card_value.seal(card), token=token, seconds=seconds)
    model_cards.refresh(resources, project.name, version)
    return version


def tell_origin(
    resources: Resources,
    name: str,
    version: str,
    facts: dict[str, str],
    told: dict[str, str],
    *,
    card: str,
    token: int | None,
    seconds: float | None = None,
) -> None:
    """Write to the ledger, once, how a version was made; what anyone writes in the registry can't change it.

    `told`: the parameters of its training; `card`: the hash of its card, so that a change to that is seen; `seconds`:
    how long it trained.

    Raises: StaleToken.
    """
    if origin(resources, name, version) is None:
        reason = f"trained on {facts['snapshot_rows']} rows of snapshot {facts['snapshot'][:12]}"
        resources.store.ledger.decide(
            name,
            kind="register",
            subject=f"version {version}",
            reason=reason,
            inputs={"version": version, "facts": facts, "parameters": told, "card": card, "seconds": seconds},
            now=resources.now(),
            token=token,
        )


def origin(resources: Resources, name: str, version: str) -> Decision | None:
    """Return how a version was made, as the ledger has it: the facts of `tasks.provenance`, the parameters."""
    return model_cards.line(resources, name, version, "register")


def judged(resources: Resources, name: str, version: str) -> Decision | None:
    """Return the last verdict on a version: its gates, its manifest, and the champion it was compared with."""
    return model_cards.line(resources, name, version, "judge")


def made(resources: Resources, name: str, version: str) -> Decision:
    """Return how a training of ours made a version; what else is in the registry may not serve.

    Raises: NotPromotable, the ledger knows of none.
    """
    found = origin(resources, name, version)
    if found is None:
        why = "was not made by a training of this home, so nothing vouches for what is in the registry"
        raise NotPromotable(f"version {version} of {name} {why}: run train/{name} and promote the version it makes")
    return found


def snapshot_of(resources: Resources, name: str, version: str, run_id: str) -> Snapshot:
    """Return what a version learned from, if it is what the ledger has on record.

    Raises: Corrupt, it is gone or somebody changed it; NotPromotable, no training of ours made the version.
    """
    known, what = made(resources, name, version).inputs["facts"]["snapshot_sha256"], f"snapshot.json of run {run_id}"
    try:
        snapshot = Snapshot.from_json(resources.models.read_artifact(run_id, "snapshot.json"))
        found = snapshot_sha256(snapshot)
    except (FileNotFoundError, *MALFORMED) as error:
        raise Corrupt(what, "the snapshot it learned from", f"{type(error).__name__} {error}") from error
    if found != known:
        raise Corrupt(what, known, found)
    return snapshot


def tell_verdict(
    resources: Resources,
    project: Project,
    version: str,
    judgement: Judgement,
    *,
    manifest: str,
    champion: str | None,
    token: int | None = None,
) -> None:
    """Write the verdict to the ledger, where promotions look, then where people read it: on the version's page.

    `manifest`: hash of what was judged; `champion`: the version it was compared with.

    Raises: StaleToken.
    """
    resources.store.ledger.decide(
        project.name,
        kind="judge",
        subject=f"version {version}",
        reason=judgement.sentence,
        inputs={
            "version": version,
            "gates": judgement.table(),
            "manifest": manifest,
            "champion": champion,
            "anchor": judgement.anchor,
            "rows": judgement.rows,
        },
        now=resources.now(),
        token=token,
    )
    stage = {"passed": "challenger", "question": "challenger", "kept": "candidate"}.get(judgement.verdict, "refused")
    resources.models.tag(project.name, version, {"stage": stage, "verdict": judgement.verdict})
    if stage == "challenger":
        resources.models.set_alias(project.name, "challenger", version)
    resources.models.describe(project.name, version, judgement.sentence, gates=judgement.table())
    model_cards.refresh(resources, project.name, version)


def about(resources: Resources, holder: str) -> str:
    """Say who trained, with a link where it was a run of Prefect's."""
    try:
        page = f"{resources.settings.prefect_url.removesuffix('/api')}/runs/flow-run/{uuid.UUID(holder)}"
    except ValueError:
        return f"Trained by {escaped(holder)}."
    return f"Trained by [this run in Prefect]({page})."


def epochs_of(project: Project, history: dict[str, Any]) -> list[dict[str, float]]:
    """Return the epochs' numbers, the metric under the name that says what it is."""
    name = "validation_accuracy" if project.task == "classification" else "validation_mae"
    return [{name if key == "metric" else key: value for key, value in one.items()} for one in history["epochs"]]


def losses_of(history: dict[str, Any]) -> list[tuple[float, float]]:
    """Return the training and the validation loss by epoch."""
    return [(one["train_loss"], one["validation_loss"]) for one in history["epochs"]]


def flat_metrics(found: dict[str, Any]) -> dict[str, float]:
    """Return one number a metric: `accuracy`, `anchor.accuracy`, `baseline`."""
    flat = {name: numbers["value"] for name, numbers in found["judge"].items()}
    flat |= {f"anchor.{name}": numbers["value"] for name, numbers in found.get("anchor", {}).items()}
    return {**flat, "baseline": found["baseline"]}
