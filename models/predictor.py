"""Encoder and exported network together: what answers in evaluation, batch scoring and serving.

Its process needs numpy, orjson and onnxruntime; never torch, pandas or a registry.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson

from data.errors import BadDeclaration, BadRow, Corrupt
from data.packing import unpack_rows
from data.schema import Category, Column, Number, Rows, Schema, length
from models.declarations import Features
from models.encoding import Encoder
from models.folder import (
    BY_TORCH,
    EXPORTED,
    GOLDEN,
    MLMODEL,
    NETWORK,
    PREDICTOR,
    WEIGHTS,
    json_bytes,
    manifest_sha256,
    read_manifest,
    verified,
)
from models.lists import Rated
from models.outputs import Cutoff, Outputs, Task, watched, watched_columns
from models.rowwise import RowEncoder
from models.signature import LOADER, names_our_loader
from models.torch_session import WORKING, Patience, Recipe, TorchSession

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["GOLDEN_ROWS", "Outputs", "Predictor", "manifest_sha256", "read_version"]

GOLDEN_ROWS = 16
TOLERANCE = 1e-4  # of a probability, or of a value in the target's standard deviations; float32 keeps 1e-6
EMBEDDING = "embedding"  # a second output of an exported network: what it made of a row just before it answered
CHUNK = 1024  # rows given to the network at once: bounds memory, and speed no longer grows


class Named(Protocol):
    """An input or output of a session."""

    @property
    def name(self) -> str:
        """Its name."""


class Session(Protocol):
    """What answers encoded rows: onnxruntime's session, a torch worker's, or torch in this process."""

    def get_inputs(self) -> Sequence[Named]:
        """Return what it takes, in order."""

    def get_outputs(self) -> Sequence[Named]:
        """Return what it gives; the answer is the first."""

    def run(self, names: Sequence[str] | None, given: Any) -> Sequence[Any]:
        """Return the outputs of these names for arrays by input."""


@dataclass(frozen=True)
class Predictor:
    """A version that answers. `difference`: the largest one seen between torch and what answers, at export."""

    encoder: Encoder
    session: Session
    difference: float = 0.0
    cutoff: Cutoff | None = None  # what decides between two levels, where that is not the likelier one
    rated: Rated | None = None  # what lists leave out

    @property
    def schema(self) -> Schema:
        """The schema this version was trained with, never today's."""
        return self.encoder.schema

    @property
    def task(self) -> Task:
        """Classification, regression, forecast or anomaly."""
        return self.encoder.task

    @property
    def levels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities; empty for regression."""
        return self.encoder.answers

    @property
    def monitored(self) -> dict[str, Column]:
        """The columns of `observe`."""
        columns = self.encoder.described
        if self.encoder.forecast:
            return {**columns, **watched_columns(self.encoder.forecast)}
        if not self.levels:
            return {**columns, "prediction": Number()}
        return {**columns, "prediction": Category(levels=self.levels), "confidence": Number(low=0.0, high=1.0)}

    def predict(self, rows: Rows) -> Outputs:
        """Answer rows that have the schema's feature columns, in order."""
        known = self.encoder.derive(rows)
        size = length(known)
        if not size:
            return self.decode(np.empty((0, self.encoder.spec.outputs)))
        if size <= CHUNK:
            return self.decode(self.run(known))
        starts = range(0, size, CHUNK)
        return self.decode(np.concatenate([self.run(take_slice(known, at)) for at in starts]))

    def predict_lists(self, rows: list[list[Any]]) -> Outputs:
        """Answer a few rows, each the values of the schema's features in order; not for derived features."""
        return self.decode(self.infer(self.rowwise.encode(rows)))

    def decode(self, outputs: np.ndarray) -> Outputs:
        """Return the answers that the network's own outputs (N, K) stand for."""
        found = self.encoder.decode(outputs)
        return found if self.cutoff is None else replace(found, cutoff=self.cutoff)

    def run(self, known: Rows) -> np.ndarray:
        """Return the network's own outputs (N, K) for derived rows."""
        return self.infer(self.encoder.encode_derived(known))

    def infer(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the network's own outputs (N, K) for encoded rows."""
        wanted, answers = self.names
        given = {name: inputs[name] for name in wanted}
        return np.asarray(self.session.run(answers, given)[0])

    @cached_property
    def embeds(self) -> bool:
        """Whether the network tells its embedding; torch workers and versions of earlier releases don't."""
        return EMBEDDING in [node.name for node in self.session.get_outputs()[1:]]

    def embed(self, rows: Rows) -> np.ndarray:
        """Return the network's embedding (N, D) of rows, where it `embeds`."""
        known, wanted = self.encoder.derive(rows), self.names[0]
        parts = []
        for at in range(0, max(length(known), 1), CHUNK):
            inputs = self.encoder.encode_derived(take_slice(known, at))
            parts.append(self.session.run([EMBEDDING], {name: inputs[name] for name in wanted})[0])
        return np.concatenate(parts)

    @cached_property
    def names(self) -> tuple[list[str], list[str]]:
        """The network's inputs, and its first output: asked of it once, since asking costs as much as answering."""
        return [node.name for node in self.session.get_inputs()], [self.session.get_outputs()[0].name]

    @cached_property
    def rowwise(self) -> RowEncoder:
        """Encodes lists of values."""
        return RowEncoder(self.encoder)

    def observe(self, rows: Rows, outputs: Outputs) -> Rows:
        """Return what is watched of these rows: their features, described, and the answers."""
        observed = self.encoder.describe(self.encoder.derive(rows))
        if outputs.channels:
            return {**observed, **watched(outputs.predictions, outputs.channels)}
        observed["prediction"] = outputs.predictions
        return {**observed, "confidence": outputs.confidences} if self.levels else observed


def take_slice(rows: Rows, start: int) -> Rows:
    """Return a chunk of rows without copying them."""
    return {name: values[start : start + CHUNK] for name, values in rows.items()}


def read_version(
    folder: Path,
    *,
    features: Features | None = None,
    threads: int = 1,
    manifest: str | None = None,
    project: Path | None = None,
    patience: Patience = WORKING,
) -> Predictor:
    """Open a version's folder, after every file's hash and then the golden answers have been checked.

    `features`: the project's feature code, which must be the code the version was trained with; `threads`:
    of one answer; `manifest`: the hash on record for the folder, where one is known. For a version that torch
    answers: `project`, the project's file, where the network's code must be the same too, and `patience` with its
    worker, which ends when nobody holds the predictor any more.

    Raises: Corrupt, naming the file; BadDeclaration and ServerUnavailable when a torch worker does not come up.
    """
    contents = verified(folder, manifest)
    if not names_our_loader(contents[MLMODEL]):
        raise Corrupt(str(folder / MLMODEL), LOADER, "something else")
    stored = parsed(folder / PREDICTOR, contents[PREDICTOR])
    golden = parsed(folder / GOLDEN, contents[GOLDEN])
    kind = EXPORTED if NETWORK in contents else BY_TORCH
    try:
        if stored["format"] != kind or stored.get("served_by") != (None if kind == EXPORTED else "torch"):
            raise Corrupt(str(folder), f"format {kind}", f"format {stored['format']}")
        encoder = Encoder.from_json(stored["encoder"], features)
        rows = unpack_rows(encoder.schema, [base64.b64decode(row, validate=True) for row in golden["rows"]])
        expected, difference = np.array(golden["outputs"], dtype=np.float64), float(stored["difference"])
        cutoff = cutoff_from(stored.get("cutoff"), encoder.answers)
        rated = Rated.from_json(stored["rated"]) if "rated" in stored else None
        recipe = None
        if kind == BY_TORCH:
            weights = read_manifest(folder, manifest)[WEIGHTS]["sha256"]
            recipe = Recipe(folder.absolute(), weights, dict(stored["network"]), project, encoder.spec, threads)
    except (BadDeclaration, LookupError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(str(folder), "a version's content", f"{type(error).__name__} {error}") from error
    session = TorchSession(recipe, patience) if recipe else open_session(contents[NETWORK], threads)
    predictor = Predictor(encoder, session, difference, cutoff, rated)
    check_golden(folder, predictor, rows, expected)
    return predictor


def cutoff_from(stored: Mapping[str, Any] | None, levels: Sequence[str]) -> Cutoff | None:
    """Read a cutoff as `predictor.json` keeps it; ValueError for one that decides nothing between two levels."""
    if stored is None:
        return None
    found = Cutoff(str(stored["level"]), float(stored["at"]))
    if len(levels) != 2 or found.level not in levels or not 0 <= found.at <= 1:
        raise ValueError(f"no cutoff between {', '.join(levels)}: {found}")
    return found


def check_golden(folder: Path, predictor: Predictor, rows: Rows, expected: np.ndarray) -> None:
    """Refuse a version that does not answer its golden rows as it did when it was written."""
    failures: tuple[type[Exception], ...] = (*onnxruntime_errors(), BadDeclaration, BadRow, LookupError, TypeError)
    try:
        found = predictor.predict(rows).values
    except failures as error:
        raise Corrupt(f"{folder}: golden answers", "16 answers", f"{type(error).__name__} {error}") from error
    scale = predictor.encoder.unit[1]
    if not length(rows) or found.shape != expected.shape:
        raise Corrupt(f"{folder}: golden answers", str(expected.shape), str(found.shape))
    worst = float((np.abs(found - expected) / scale).max())
    if not worst <= TOLERANCE:  # NaN is not a pass
        raise Corrupt(f"{folder}: golden answers", f"within {TOLERANCE}", f"{worst:.3g} apart")


def parsed(path: Path, content: bytes) -> Mapping[str, Any]:
    """Read a JSON object that is written as we write it."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Corrupt(str(path), "JSON", str(error)) from error
    if not isinstance(value, dict) or json_bytes(value) != content:
        raise Corrupt(str(path), "JSON as we write it", "something else")
    return value


def open_session(network: bytes, threads: int) -> "InferenceSession":
    """Open an exported network on the CPU.

    Raises: Corrupt when onnxruntime refuses it.
    """
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a core that waits is another's
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        return InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except onnxruntime_errors() as error:
        raise Corrupt(NETWORK, "an ONNX network", " ".join(str(error).split())) from error


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises; its errors share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)
