"""From a trained torch network to the ONNX file that answers, if that answers as the network does."""

import copy
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import BadDeclaration, Corrupt, HoldfastError
from models.encoding import EncodedSpec, Encoder
from models.predictor import EMBEDDING, TOLERANCE, onnxruntime_errors, open_session

if TYPE_CHECKING:
    from torch import nn

Inputs = dict[str, np.ndarray]
ROWS = 7  # of the comparison; not the rows of the trace, so that a batch size baked into the file shows
OPSET = 18
ANSWER = "output"
EPSILON = TOLERANCE
"""How far an export may be from torch: of a probability, or of a value in the target's standard deviations (above
one, in parts of the value). Golden answers are held to the same: less is one and the same answer. float32 keeps 1e-6.
"""
logger = logging.getLogger(__name__)


class NotExportable(HoldfastError):
    """A network has no ONNX form that answers as it does; the message goes on after "because"."""


def export(network: "nn.Module", encoder: Encoder, path: Path, rows: Inputs | None = None) -> float:
    """Write `network` to `path` with a free number of rows; return its largest difference from torch.

    Compared on random rows, and on `rows`, encoded. The TorchScript exporter is used: 0.2 s against 3 to 8 for the
    newer one, and the same answers.

    Raises: BadDeclaration when the network itself doesn't answer row by row; NotExportable, and then there is no file.
    """
    import torch

    generator = np.random.default_rng(0)
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    traced = random_inputs(encoder.spec, 2, generator)
    given = [random_inputs(encoder.spec, ROWS, generator), *([rows] if rows else [])]
    expected = [torch_answers(network, encoder, inputs) for inputs in given]
    try:
        difference = written(network, encoder, traced, path, given, expected)
    except NotExportable:
        path.unlink(missing_ok=True)
        raise
    logger.info("exported %d bytes, largest difference from torch %.2g", path.stat().st_size, difference)
    return difference


def torch_answers(network: "nn.Module", encoder: Encoder, inputs: Inputs) -> np.ndarray:
    """Return the network's own answers, once it has given them twice, and the first row's alone too.

    Raises: BadDeclaration.
    """
    import torch

    def asked(count: int | None) -> np.ndarray:
        try:
            with torch.inference_mode():
                answer = network(*(torch.from_numpy(values[:count]) for values in inputs.values()))
            return np.asarray(answer.numpy())
        except Exception as error:  # the network is a stranger's code
            raise BadDeclaration(f"the network takes only some numbers of rows: {first_line(error)}") from error

    rows = len(next(iter(inputs.values())))
    found = asked(None)
    if found.shape != (rows, encoder.spec.outputs):
        raise BadDeclaration(f"the network returns {found.shape}, not {rows} rows of {encoder.spec.outputs} outputs")
    answers = answered(encoder, found)
    if not apart(answered(encoder, asked(None)), answers) <= EPSILON:
        raise BadDeclaration("the network answers the same rows otherwise each time: is there chance in its forward?")
    if not (far := apart(answered(encoder, asked(1)), answers[:1])) <= EPSILON:
        raise BadDeclaration(f"the network answers a row alone {far:.2g} otherwise: do answers depend on other rows?")
    return answers


def written(
    network: "nn.Module", encoder: Encoder, traced: Inputs, path: Path, given: list[Inputs], expected: list[np.ndarray]
) -> float:
    """Write the network, with its embedding where it has one, and return its largest difference from torch.

    Raises: NotExportable when it has no faithful form, with its embedding or without.
    """
    import torch

    from models.embedding import Telling, head_of

    rows = tuple(torch.from_numpy(values) for values in traced.values())
    own = copy.deepcopy(network)  # what the caller has is not hooked
    if (head := head_of(own, rows)) is not None:
        try:
            write(Telling(own, head), encoder.spec, traced, path, [ANSWER, EMBEDDING])
            return compared(path.read_bytes(), encoder, given, expected)
        except NotExportable as error:
            logger.info("exported without its embedding: %s", error)
    write(network, encoder.spec, traced, path, [ANSWER])
    return compared(path.read_bytes(), encoder, given, expected)


def write(network: "nn.Module", spec: EncodedSpec, traced: Inputs, path: Path, outputs: list[str]) -> None:
    """Have the exporter trace the network, which gives these outputs.

    Raises: NotExportable.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated, and warns about each traced shape
        try:
            torch.onnx.export(
                network,
                tuple(torch.from_numpy(values) for values in traced.values()),
                path,
                input_names=list(spec.inputs),
                output_names=outputs,
                dynamic_axes={name: {0: "rows"} for name in (*spec.inputs, *outputs)},
                opset_version=OPSET,
                dynamo=False,
            )
        except Exception as error:  # it runs a stranger's network, and each operator's symbolic function
            raise NotExportable(f"the ONNX exporter refuses it: {first_line(error)}") from error


def compared(exported: bytes, encoder: Encoder, given: list[Inputs], expected: list[np.ndarray]) -> float:
    """Return the largest difference of an export from torch.

    Raises: NotExportable when that is more than `EPSILON`.
    """
    pairs = zip(given, expected, strict=True)
    difference = max(largest_difference(exported, encoder, inputs, answers) for inputs, answers in pairs)
    if not difference <= EPSILON:
        raise NotExportable(f"its export differs from torch by {difference:.2g}, and {EPSILON:g} is allowed")
    return difference


def largest_difference(exported: bytes, encoder: Encoder, inputs: Inputs, expected: np.ndarray) -> float:
    """Answer the same rows with onnxruntime, all together and the first one alone, and compare with torch.

    Raises: NotExportable when there are no such answers.
    """
    try:
        session = open_session(exported, threads=1)
        given = {node.name: inputs[node.name] for node in session.get_inputs()}
        found = session.run(None, given)[0]
        alone = session.run(None, {name: values[:1] for name, values in given.items()})[0]
    except Corrupt as error:
        raise NotExportable(f"onnxruntime does not open its export: {first_line(error)}") from error
    except onnxruntime_errors() as error:
        raise NotExportable(f"its export takes only some numbers of rows: {first_line(error)}") from error
    if len(found) != len(expected):
        raise NotExportable(f"its export gives {found.shape[0]} answers to {len(expected)} rows")
    return max(apart(answered(encoder, found), expected), apart(answered(encoder, alone), expected[:1]))


def answered(encoder: Encoder, outputs: np.ndarray) -> np.ndarray:
    """Return probabilities, or standardised values."""
    outputs = np.asarray(outputs, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return encoder.decode(outputs).values if encoder.answers else outputs


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, in parts of the value where that is above one; NaN is like NaN."""
    alike = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        far = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.where(alike, 0.0, far).max())


def random_inputs(spec: EncodedSpec, rows: int, generator: np.random.Generator) -> Inputs:
    """Draw encoded rows as the encoder could give them."""
    inputs: Inputs = {}
    for name, (shape, _) in spec.inputs.items():
        if name == "codes":
            inputs[name] = generator.integers(0, spec.cardinalities, size=(rows, *shape), dtype=np.int64)
        elif name == "text":
            inputs[name] = generator.integers(0, spec.vocabulary, size=(rows, *shape), dtype=np.int64)
        elif name == "image":
            inputs[name] = generator.random((rows, *shape), dtype=np.float32)
        else:
            inputs[name] = generator.standard_normal((rows, *shape), dtype=np.float32)
    return inputs


def first_line(error: Exception) -> str:
    """Return an error's first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
