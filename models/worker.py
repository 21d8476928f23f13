"""A process that answers with torch itself, for a network that has no faithful ONNX export: `python -m models.worker`.

Its parent (models/torch_session.py) says on stdin which version it is; then rows come, and answers go back on stdout,
one message at a time. It reads JSON and safetensors, whose hash is checked on the bytes that are loaded, and builds
the network from code: a built-in, or the project's own factory when that is the code that trained. No pickle.
"""

import ctypes
import hashlib
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from data.errors import BadDeclaration
from models.declarations import Model
from models.encoding import EncodedSpec
from models.features import code_sha256
from models.folder import LARGEST, WEIGHTS, read_whole
from models.frames import ANSWER, CORRUPT, FAILED, READY, receive, send

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_ROWS = 16
PACKAGE = "holdfast_worker_project"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
logger = logging.getLogger(__name__)


class Unlike(Exception):
    """Something is not what the version recorded: what, the recorded hash, the one found."""


def main() -> None:
    """Build the network that the first message names, then answer until the parent is gone."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    requests, answers = own_pipes()
    end_with_parent()
    try:
        _, body = receive(requests)
        asked = orjson.loads(body)
        spec = spec_of(asked["spec"])
        network = network_of(asked, spec)
        ready = orjson.dumps({"seconds": warmed(network, spec)})
    except Unlike as error:
        send(answers, CORRUPT, orjson.dumps(error.args))
    except Exception as error:  # the factory is a stranger's code
        logger.exception("the network does not start")
        send(answers, FAILED, said(error))
    else:
        send(answers, READY, ready)
        answer_all(network, spec, requests, answers)


def own_pipes() -> tuple[int, int]:
    """Keep stdin and stdout for messages: what the network's code prints goes to stderr, and it reads nothing."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def end_with_parent() -> None:
    """Die when the thread that started us does, also in the middle of an answer; else the closed pipe ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which means the parent
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def network_of(asked: Mapping[str, Any], spec: EncodedSpec) -> "nn.Module":
    """Build the declared network and give it the version's weights.

    Raises: Unlike, and whatever the factory raises.
    """
    path = Path(asked["folder"]) / WEIGHTS
    content = read_whole(path, LARGEST[WEIGHTS])
    if (found := hashlib.sha256(content).hexdigest()) != asked["weights_sha256"]:
        raise Unlike(str(path), asked["weights_sha256"], found)
    model = declared(asked["network"], asked["project"])
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from models.networks import build

    torch.set_num_threads(asked["threads"])
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    network = build(model, spec)
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as error:
        raise Unlike(f"{path} ({first_line(error)})", "its network's weights", "others") from error
    return network.to("cpu", torch.float32).eval()


def declared(recorded: Mapping[str, Any], project: str | None) -> Model:
    """Return the declaration of a network: a built-in as recorded, or the project's own if its code is the same.

    Raises: Unlike.
    """
    if "name" in recorded:
        return Model(network=recorded["name"], options=recorded["options"])
    what, expected = f"the network's code in {project or 'the project file'}", recorded["code_sha256"]
    if project is None:
        raise Unlike(what, expected, "none")
    found = "none"
    for factory in factories(project_module(Path(project))):
        found = code_sha256(factory)
        if found == expected:
            return Model(network=factory)
    raise Unlike(what, expected, found)


def factories(module: ModuleType) -> list[Any]:
    """Return the file's functions, of which one may have made an older version's network, and last the declared one."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    ]
    declared = module.project.model.network
    return [*own, *([] if isinstance(declared, str) else [declared])]


def project_module(path: Path) -> ModuleType:
    """Import a project file under a private name, so that its folder shadows nothing of ours."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(path.parent)]
    sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.{path.stem}")


def spec_of(stored: Mapping[str, Any]) -> EncodedSpec:
    """Read a specification that came as JSON."""
    inputs = {name: (tuple(shape), kind) for name, (shape, kind) in stored["inputs"].items()}
    images = tuple(stored["images"]) if stored["images"] else None
    given = {**stored, "inputs": inputs, "cardinalities": tuple(stored["cardinalities"]), "images": images}
    return EncodedSpec(**given)


def warmed(network: "nn.Module", spec: EncodedSpec) -> float:
    """Answer a few empty rows twice; return the seconds of the second time."""
    import torch

    rows = {
        name: torch.zeros((WARM_ROWS, *shape), dtype=getattr(torch, kind))
        for name, (shape, kind) in spec.inputs.items()
    }
    answered(network, spec, rows)
    started = time.perf_counter()
    answered(network, spec, rows)
    return time.perf_counter() - started


def answered(network: "nn.Module", spec: EncodedSpec, rows: Mapping[str, "Tensor"]) -> "Tensor":
    """Return the network's outputs (N, K) float32."""
    import torch

    with torch.inference_mode():
        output: Tensor = network(*(rows[name] for name in spec.inputs))
    count = len(next(iter(rows.values())))
    if tuple(output.shape) != (count, spec.outputs):
        raise BadDeclaration(f"the network returns {tuple(output.shape)}, not {count} rows of {spec.outputs} outputs")
    return output.float().contiguous()


def answer_all(network: "nn.Module", spec: EncodedSpec, requests: int, answers: int) -> None:
    """Answer message after message; an error is an answer too."""
    from safetensors.torch import load, save

    while True:
        try:
            _, body = receive(requests)
        except EOFError:
            return
        try:
            kind, answer = ANSWER, save({"output": answered(network, spec, load(body))})
        except Exception as error:  # noqa: BLE001 (the network is a stranger's code, and its parent is told)
            kind, answer = FAILED, said(error)
        send(answers, kind, answer)


def first_line(error: Exception) -> str:
    """Return the start of an error's text."""
    return " ".join(str(error).split())[:200]


def said(error: Exception) -> bytes:
    """Return an error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500].encode(errors="replace")


if __name__ == "__main__":
    main()
