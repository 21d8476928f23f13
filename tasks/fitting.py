"""From prepared rows to a version folder: fit, export, write."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.schema import Rows, concatenate
from data.stored import Stored
from models.declarations import Device, Training
from models.encoding import Encoder
from models.lists import Rated
from models.outputs import Cutoff
from models.predictor import Predictor
from models.thresholds import choose
from models.torch_session import Inside
from models.training import Epoch, split
from models.training import fit as fit_network
from models.writing import make_version
from projects.declaration import Project
from projects.discovery import file_of
from tasks.plans import applied, read
from tasks.preparation import START
from tasks.role_files import ROLES, most_held, read_role, stored_role
from tasks.snapshot_rows import BATCH

if TYPE_CHECKING:
    from torch import nn


def fit(
    project: Project,
    folder: Path,
    *,
    device: Device,
    progress: Callable[[float, str], None],
    threads: int | None = None,
) -> str:
    """Train on `prepared/` in `folder`; write `model/` (the version folder) and `history.json`.

    Resumes from the last epoch when a killed run left one in `folder`. `threads`: of the CPU, where a size of
    batches should not decide. Returns the SHA-256 of the manifest.
    """
    project = applied(project, read(folder))
    encoder = Encoder.from_json(
        json.loads((folder / "prepared" / "encoder.json").read_text()), features=project.features
    )
    train = to_learn(project, folder)
    training = project.training if device == "auto" else dataclasses.replace(project.training, device=device)

    def tell(epoch: Epoch) -> None:
        loss = f"loss {epoch.train_loss:.3f}, validation {epoch.validation_loss:.3f}"
        progress(epoch.number / epoch.epochs, f"epoch {epoch.number} of {epoch.epochs}: {loss}")

    work, start = folder / ".training", folder / "prepared" / START
    weights = start if start.exists() else None
    trained = fit_network(
        project.model, training, encoder, train, workdir=work, progress=tell, threads=threads, start=weights
    )
    target = folder / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    network, file = trained.network, file_of(project)
    cutoff = cutoff_of(project, training, encoder, network, train)
    made = make_version(
        target,
        model=project.model,
        network=network,
        encoder=encoder,
        rows=train.read([0]) if isinstance(train, Stored) else train,
        project=file,
        cutoff=cutoff,
        rated=rated_in(project, encoder, folder),
    )
    history = [dataclasses.asdict(epoch) for epoch in trained.history]
    found = {
        "epochs": history,
        "difference": made.difference,
        "worker": made.worker,
        "parameters": parameters(dataclasses.replace(project, training=training)),
        "machine": trained.machine,
        "cutoff": None if cutoff is None else {**cutoff._asdict(), "why": str(project.evaluation.threshold)},
        **learned_from(folder, trained.unlike),
    }
    (folder / "history.json").write_text(json.dumps(found, indent=1))
    shutil.rmtree(work, ignore_errors=True)
    progress(1.0, "left to a torch worker" if made.worker else "exported")
    return made.manifest


def to_learn(project: Project, folder: Path) -> Rows | Stored:
    """Return the rows that train; those that are more than may be in memory at once stay in their file."""
    stored = stored_role(folder, project.schema, "train")
    if stored.rows > most_held(project):
        return stored
    return {name: values for name, values in read_role(folder, project.schema, "train").items() if name != BATCH}


def rated_in(project: Project, encoder: Encoder, folder: Path) -> Rated | None:
    """Return what the rows of all roles say was rated, where items are ranked: lists leave out the newest too."""
    if project.schema.ranking is None:
        return None
    return Rated.of(encoder, concatenate([read_role(folder, project.schema, role) for role in ROLES]))


def cutoff_of(
    project: Project, training: Training, encoder: Encoder, network: "nn.Module", train: Rows | Stored
) -> Cutoff | None:
    """Return what decides between two levels, chosen on the validation rows; None where the likelier one is answered.

    Raises: BadDeclaration, TooFewRows.
    """
    threshold = project.evaluation.threshold
    if threshold is None:
        return None
    predictor, target = Predictor(encoder, Inside(network, encoder.spec)), project.schema.target
    if not isinstance(train, Stored):
        _, held = split(encoder, train, training)
        return choose(threshold, predictor.predict(held), held[target])
    _, some = split(encoder, train, training)
    found = [(predictor.predict(piece), piece[target]) for piece in some.pieces()]
    answers = dataclasses.replace(found[0][0], values=np.concatenate([one.values for one, _ in found]))
    return choose(threshold, answers, np.concatenate([truth for _, truth in found]))


def learned_from(folder: Path, unlike: str) -> dict[str, Any]:
    """Say which rows it learned from, what it started from, and which contestants it was chosen from."""
    summary = json.loads((folder / "prepared" / "summary.json").read_text())
    start = {"from": "scratch", "why": unlike} if unlike else summary.get("start")
    return {"learned": summary.get("learned"), "start": start, "tournament": list(read(folder).tournament)}


def parameters(project: Project) -> dict[str, str]:
    """Return what the project file says of its model and training, as the registry's parameters."""
    network = project.model.network
    said: dict[str, Any] = {"network": network if isinstance(network, str) else network.__name__}
    said |= {f"model.{key}": value for key, value in project.model.options.items()}
    said |= {f"training.{key}": value for key, value in vars(project.training).items() if plain(key, value)}
    return {key: str(value) for key, value in said.items()}


def plain(key: str, value: object) -> bool:
    """Tell whether a setting is a parameter: not code, nor the contestants among whom another was chosen."""
    return not callable(value) and key != "tournament"
