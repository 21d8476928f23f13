"""From a trained torch network to the ONNX file that answers."""

import copy
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import BadDeclaration
from models.encoding import EncodedSpec, Encoder
from models.predictor import onnxruntime_errors, open_session

if TYPE_CHECKING:
    from torch import nn

ROWS = 7  # of the comparison; not the rows of the trace, so that a batch size baked into the file shows
OPSET = 18
LARGEST_DIFFERENCE = 1e-3  # of an output; float32 networks differ by about 1e-6
logger = logging.getLogger(__name__)


def export(network: "nn.Module", encoder: Encoder, path: Path) -> float:
    """Write `network` to `path` with a free number of rows; return its largest difference from torch on random rows.

    The TorchScript exporter is used: 0.2 s against 3 to 8 for the newer one, and the same answers.

    Raises: BadDeclaration when the network can't be exported, or answers otherwise once it is.
    """
    import torch

    spec = encoder.spec
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    generator = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated, and warns about each traced shape
        try:
            torch.onnx.export(
                network,
                tuple(torch.from_numpy(values) for values in random_inputs(spec, 2, generator).values()),
                path,
                input_names=list(spec.inputs),
                output_names=["output"],
                dynamic_axes={name: {0: "rows"} for name in (*spec.inputs, "output")},
                opset_version=OPSET,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            raise BadDeclaration(f"the network can't be exported to ONNX: {first_line(error)}") from error
    difference = largest_difference(network, path.read_bytes(), random_inputs(spec, ROWS, generator), spec)
    if not difference <= LARGEST_DIFFERENCE:
        raise BadDeclaration(
            f"the exported network differs from torch by {difference:.3g}: do answers depend on other rows?"
        )
    logger.info("exported %d bytes, largest difference from torch %.2g", path.stat().st_size, difference)
    return difference


def largest_difference(
    network: "nn.Module", exported: bytes, inputs: dict[str, np.ndarray], spec: EncodedSpec
) -> float:
    """Answer the same rows with torch and with onnxruntime, all together and the first one alone.

    Raises: BadDeclaration when the answers have another shape than (rows, outputs), or there are none.
    """
    import torch

    session = open_session(exported, threads=1)
    given = {node.name: inputs[node.name] for node in session.get_inputs()}
    try:
        found = session.run(None, given)[0]
        alone = session.run(None, {name: values[:1] for name, values in given.items()})[0]
    except onnxruntime_errors() as error:
        raise BadDeclaration(f"the exported network takes only some numbers of rows: {first_line(error)}") from error
    if found.shape != (ROWS, spec.outputs):
        raise BadDeclaration(f"the network returns {tuple(found.shape)}, not {ROWS} rows of {spec.outputs} outputs")
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(values) for values in inputs.values())).numpy()
    return float(max(np.abs(found - expected).max(), np.abs(alone - expected[:1]).max()))


def random_inputs(spec: EncodedSpec, rows: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw encoded rows as the encoder could give them."""
    inputs: dict[str, np.ndarray] = {}
    for name, (shape, _) in spec.inputs.items():
        if name == "codes":
            inputs[name] = generator.integers(0, spec.cardinalities, size=(rows, *shape), dtype=np.int64)
        elif name == "image":
            inputs[name] = generator.random((rows, *shape), dtype=np.float32)
        else:
            inputs[name] = generator.standard_normal((rows, *shape), dtype=np.float32)
    return inputs


def first_line(error: Exception) -> str:
    """Return an error's first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
