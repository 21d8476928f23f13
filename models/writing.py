"""From a trained network to a version's folder: exported where that is faithful, else left to a torch worker."""

import base64
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import BadDeclaration, Corrupt, TooFewRows
from data.packing import pack_all
from data.schema import Rows, length, take
from models.declarations import Model
from models.encoding import Encoder
from models.exporting import NotExportable, export
from models.features import code_sha256
from models.folder import (
    EXPORTED,
    GOLDEN,
    MLMODEL,
    NETWORK,
    PREDICTOR,
    WEIGHTS,
    format_of,
    seal,
    write_json,
)
from models.lists import Rated
from models.outputs import Cutoff
from models.predictor import GOLDEN_ROWS, Predictor, Session, open_session, read_version
from models.signature import mlmodel_text
from models.torch_session import Inside

if TYPE_CHECKING:
    from torch import nn

REAL_ROWS = 256  # that an export is held against, beside random ones
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A version's folder. `difference`: of ONNX from torch; `worker`: why torch answers instead, else empty."""

    manifest: str
    difference: float | None
    worker: str


def make_version(
    folder: Path,
    *,
    model: Model,
    network: "nn.Module",
    encoder: Encoder,
    rows: Rows,
    project: Path | None,
    cutoff: Cutoff | None = None,
    rated: Rated | None = None,
) -> Made:
    """Write an empty folder full: `network` exported, or with the word that a torch worker has to answer.

    `rows`: some that it learned from; `project`: the project's file, where the code of its own network is; `cutoff`:
    what decides between two levels; `rated`: what lists leave out.

    Raises: BadDeclaration for a network that doesn't answer row by row; as `write_version`.
    """
    some = encoder.encode(take(rows, np.arange(min(REAL_ROWS, length(rows)))))
    difference, worker = None, ""
    try:
        difference = export(network, encoder, folder / NETWORK, some)
    except NotExportable as error:
        worker = str(error)
        logger.warning("a torch worker will serve this network, slower: %s", worker)
    manifest = write_version(
        folder,
        encoder=encoder,
        network=network,
        golden=rows,
        difference=difference or 0.0,
        model=model,
        project=project,
        cutoff=cutoff,
        rated=rated,
    )
    return Made(manifest, difference, worker)


def write_version(
    folder: Path,
    *,
    encoder: Encoder,
    network: "nn.Module",
    golden: Rows,
    difference: float,
    model: Model | None = None,
    project: Path | None = None,
    cutoff: Cutoff | None = None,
    rated: Rated | None = None,
) -> str:
    """Complete a folder to a version, and return its manifest's hash.

    With an exported `network.onnx` in it, that answers; without, torch does, and `model` says how the network is
    built again: by the code in `project`, the project's file, unless it is a built-in.
    `golden`: rows, of which the first 16 are kept with their answers; `difference`: what `export` returned.

    Raises: Corrupt when a weight or an answer is not finite; TooFewRows without a golden row.
    """
    from safetensors.numpy import save

    tensors = network.state_dict().items()
    weights = {name: np.asarray(tensor.detach().cpu().numpy(), order="C") for name, tensor in tensors}
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise Corrupt(f"weight {name}", "finite numbers", "NaN or infinity")
    if not length(golden):
        raise TooFewRows("golden rows of a version", 0, 1)
    kind = format_of(folder)
    stored: dict[str, Any] = {"format": kind, "encoder": encoder.to_json(), "difference": difference}
    session: Session
    if kind == EXPORTED:
        session = open_session((folder / NETWORK).read_bytes(), threads=1)
    else:
        if model is None:
            raise BadDeclaration("a version without network.onnx needs the declaration of its network")
        stored |= {"served_by": "torch", "network": declaration(model)}
        session = Inside(network, encoder.spec)
    if cutoff is not None:
        stored["cutoff"] = cutoff._asdict()
    if rated is not None:
        stored["rated"] = rated.to_json()
    predictor = Predictor(encoder, session, difference, cutoff)
    (folder / WEIGHTS).write_bytes(save(weights))
    write_json(folder / PREDICTOR, stored)
    write_json(folder / GOLDEN, golden_answers(predictor, take(golden, np.arange(min(GOLDEN_ROWS, length(golden))))))
    (folder / MLMODEL).write_text(mlmodel_text(encoder.schema))
    manifest = seal(folder)
    read_version(folder, features=encoder.features, manifest=manifest, project=project)
    return manifest


def declaration(model: Model) -> dict[str, Any]:
    """Return what a torch worker builds a network from: a built-in with its options, or the hash of a factory."""
    if isinstance(model.network, str):
        return {"name": model.network, "options": dict(model.options)}
    return {"code_sha256": code_sha256(model.network)}


def golden_answers(predictor: Predictor, rows: Rows) -> dict[str, Any]:
    """Return rows as the prediction log would keep them, with the answers that belong to them."""
    packed = [base64.b64encode(row).decode() for row in pack_all(predictor.schema, rows)]
    return {"rows": packed, "outputs": predictor.predict(rows).values.tolist()}
