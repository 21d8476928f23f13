"""A tiny real home for the service: versions with networks of three nodes, and the service on a free port."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from data.environment import child_environment
from data.schema import Category, Number, Schema
from models.encoding import Encoder
from models.writing import write_version

PRICES = Schema(
    columns={
        "note": Category(levels=("a", "b"), open=True, nullable=True),
        "size": Number(low=-1000.0, high=1000.0),
        "price": Number(),
    },
    target="price",
    key="house",
    time="sold_at",
)
FRUIT = Schema(
    columns={"weight": Number(), "fruit": Category(levels=("apple", "pear"))},
    target="fruit",
    key="id",
)


class NoWeights:
    def state_dict(self) -> dict[str, Any]:
        return {}


def save_network(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], outputs: int) -> None:
    numbers = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["rows", 1])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["rows", outputs])
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [numbers], [answer], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def price_version(folder: Path, factor: float) -> str:
    """Write a version whose price is `factor` times the size."""
    save_network(
        folder / "network.onnx",
        [helper.make_node("Mul", ["numbers", "factor"], ["answer"])],
        {"factor": [[factor]]},
        outputs=1,
    )
    return finish(folder, PRICES, "size", "price", {"note": ("a", "b")})


def logarithm_version(folder: Path) -> str:
    """Write a version whose price is the logarithm of the size: NaN below 0."""
    save_network(folder / "network.onnx", [helper.make_node("Log", ["numbers"], ["answer"])], {}, outputs=1)
    return finish(folder, PRICES, "size", "price", {"note": ("a", "b")})


def fruit_version(folder: Path) -> str:
    """Write a version that takes heavy fruit for pears."""
    return classifier(folder, FRUIT, "weight")


def classifier(folder: Path, schema: Schema, number: str) -> str:
    """Write a version that answers the second of two levels where a number is above 0."""
    save_network(
        folder / "network.onnx",
        [helper.make_node("MatMul", ["numbers", "weights"], ["answer"])],
        {"weights": [[-1.0, 1.0]]},
        outputs=2,
    )
    return finish(folder, schema, number, None, {})


def finish(folder: Path, schema: Schema, number: str, target: str | None, levels: dict[str, tuple[str, ...]]) -> str:
    scales = {name: (0.0, 1.0) for name in (number, target) if name}
    encoder = Encoder(schema, {}, scales, levels)
    golden: dict[str, Any] = {schema.key: np.array(["g1", "g2"], object), number: np.array([1.0, 2.0])}
    if schema.time:
        golden[schema.time] = np.array(["2026-01-01", "2026-01-02"], "datetime64[us]")
    golden |= {name: np.array([known[0], None], object) for name, known in levels.items()}
    return write_version(folder, encoder=encoder, network=NoWeights(), golden=golden, difference=0.0)  # type: ignore[arg-type]


def point(home: Path, project: str, generation: int, manifest: str, folder: str | None = None) -> None:
    """Make a generation the one that serves, as the keeper does."""
    where = home / "generations" / project
    where.mkdir(parents=True, exist_ok=True)
    named = {
        "generation": generation,
        "version": str(100 + generation),
        "folder": folder or str(generation),
        "manifest_sha256": manifest,
    }
    half = where / "current.json.tmp"
    half.write_text(json.dumps(named))
    half.replace(where / "current.json")


def promote(home: Path, generation: int, factor: float) -> None:
    manifest = price_version(home / "generations" / "prices" / str(generation), factor)
    point(home, "prices", generation, manifest)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


SERVICE = (sys.executable, "-m", "serving")
BROKEN = """
import sys
{mutation}
from serving.__main__ import main
sys.exit(main())
"""


def broken(mutation: str) -> tuple[str, ...]:
    """Return the command of a service some of whose code is changed first."""
    return (sys.executable, "-c", BROKEN.format(mutation=mutation))


class Service:
    """The real service in a process of its own; `command` starts another in its place."""

    def __init__(self, home: Path, port: int, *, command: Sequence[str] = SERVICE, **variables: str) -> None:
        self.home, self.port = home, port
        self.store_url = variables.get("HOLDFAST_DATABASE_URL") or f"sqlite:///{home / 'holdfast.db'}"
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            "HOLDFAST_SERVICE_PORT": str(port),
            "HOLDFAST_DATABASE_URL": "",
            "HOLDFAST_PROJECTS": "",
            "HOLDFAST_EMBEDDED": "1",
            **variables,
        }
        with (home / "service.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=child_environment(home, environment), stdout=log, stderr=log)

    def wait(self) -> None:
        ready = self.home / "run" / "service.ready"
        until = time.monotonic() + 30
        while not ready.exists():
            assert self.process.poll() is None, (self.home / "service.log").read_text()
            assert time.monotonic() < until, (self.home / "service.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        (self.home / "run" / "service.ready").unlink(missing_ok=True)


@contextmanager
def serving(home: Path, *, command: Sequence[str] = SERVICE, **variables: str) -> Iterator[Service]:
    service = Service(home, free_port(), command=command, **variables)
    try:
        service.wait()
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            service.process.wait(20)


def wait_for_generation(client: httpx.Client, project: str, generation: int) -> None:
    until = time.monotonic() + 10
    while client.get(f"/readyz/{project}").json()["projects"][project]["generation"] != generation:
        assert time.monotonic() < until, client.get("/readyz").json()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    promote(home, 1, factor=2.0)
    point(home, "fruit", 1, fruit_version(home / "generations" / "fruit" / "1"))
    with serving(home) as running:
        yield running
