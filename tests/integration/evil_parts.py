"""Artifacts that somebody made to run code, to read what isn't theirs, or to fill memory and disk.

Each takes a sound version's folder and the canary's path, which its code would make if anything ran it.
"""

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from serving_parts import save_network

from models.folder import GOLDEN, LARGEST, MANIFEST, MLMODEL, NETWORK, PREDICTOR, WEIGHTS, json_bytes

Evil = Callable[[Path, Path], None]


class Bomb:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Bomb(canary))


def script(canary: Path) -> str:
    return f"import os\nos.mkdir({str(canary)!r})\n"


def zipped(**members: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def replaced(name: str, content: Callable[[Path], bytes]) -> Evil:
    return lambda folder, canary: write(folder / name, content(canary))


def write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def changed(name: str, change: Callable[[dict[str, Any], Path], None]) -> Evil:
    def act(folder: Path, canary: Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value, canary)
        text = json_bytes(value) if name != MLMODEL else (json.dumps(value, indent=1) + "\n").encode()
        write(folder / name, text)

    return act


def added(name: str | bytes, content: Callable[[Path], str], mode: int = 0o644) -> Evil:
    def act(folder: Path, canary: Path) -> None:
        path = os.path.join(os.fsencode(folder), os.fsencode(name))  # noqa: PTH118 (a name that is no text)
        Path(os.fsdecode(path)).write_text(content(canary))
        os.chmod(path, mode)  # noqa: PTH101

    return act


def linked(folder: Path, canary: Path) -> None:
    outside = folder.parent / "outside.onnx"
    (folder / NETWORK).replace(outside)
    (folder / NETWORK).symlink_to(outside)


def hard_linked(folder: Path, canary: Path) -> None:
    outside = folder.parent / "outside.pickle"
    outside.write_bytes(pickled(canary))
    (folder / WEIGHTS).unlink()
    os.link(outside, folder / WEIGHTS)


def sparse(name: str) -> Evil:
    def act(folder: Path, canary: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(LARGEST[name] + 1)

    return act


def queue(folder: Path, canary: Path) -> None:
    (folder / GOLDEN).unlink()
    os.mkfifo(folder / GOLDEN)


def loader(folder: Path, canary: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "evil_loader.py").write_text(script(canary))
    names_loader(folder, canary)


def set_loader(said: dict[str, Any], canary: Path) -> None:
    said["flavors"]["python_function"] = {"loader_module": "evil_loader", "code": "code"}


names_loader = changed(MLMODEL, set_loader)


def yaml_tag(folder: Path, canary: Path) -> None:
    (folder / MLMODEL).write_text(f"flavors: !!python/object/apply:os.mkdir ['{canary}']\n")


def outside_data(location: str) -> Evil:
    def act(folder: Path, canary: Path) -> None:
        weights = TensorProto(name="factor", data_type=TensorProto.FLOAT, dims=[1, 1])
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)
        network_with(folder, [helper.make_node("Mul", ["numbers", "factor"], ["answer"])], [weights])

    return act


def custom_operator(domain: str) -> Evil:
    def act(folder: Path, canary: Path) -> None:
        node = helper.make_node("PyOp", ["numbers"], ["answer"], domain=domain, module="os", name="mkdir")
        network_with(folder, [node], [], domain)

    return act


def network_with(
    folder: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto], domain: str | None = None
) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1]) for name in ("numbers", "answer")]
    graph = helper.make_graph(nodes, "evil", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    (folder / NETWORK).write_bytes(model.SerializeToString())


def library_in_metadata(folder: Path, canary: Path) -> None:
    """Ask onnxruntime, in the network's own metadata, to load a library."""
    save_network(folder / NETWORK, [helper.make_node("Neg", ["numbers"], ["answer"])], {}, outputs=1)
    network = onnx.load(folder / NETWORK)
    config = {"session_options": {"session.custom_ops_library": str(canary)}}
    network.metadata_props.add(key="ort_config", value=json.dumps(config))
    onnx.save(network, folder / NETWORK)


def by_torch(network: dict[str, Any]) -> Evil:
    """Have a torch worker build a network of the attacker's choice."""

    def act(folder: Path, canary: Path) -> None:
        (folder / NETWORK).unlink()
        changed(PREDICTOR, lambda said, _: said.update(format=2, served_by="torch", network=network))(folder, canary)

    return act


def objects(said: dict[str, Any], canary: Path) -> None:
    said["encoder"] |= {"__class__": "os.system", "__reduce__": ["os.mkdir", [str(canary)]]}
    said["encoder"]["schema"] = {"py/object": "os.mkdir", "py/reduce": [str(canary)]}


def column_type(said: dict[str, Any], canary: Path) -> None:
    for column in said["encoder"]["schema"]["columns"].values():
        column["type"] = "os.mkdir"


EVIL: dict[str, Evil] = {
    "pickle_as_weights": replaced(WEIGHTS, pickled),
    "gzipped_pickle_as_weights": replaced(WEIGHTS, lambda canary: gzip.compress(pickled(canary))),
    "torch_archive_as_weights": replaced(WEIGHTS, lambda canary: zipped(**{"archive/data.pkl": pickled(canary)})),
    "pickle_as_network": replaced(NETWORK, pickled),
    "pt2_with_pickled_constants": replaced(
        NETWORK,
        lambda canary: zipped(**{"pt2/data/constants/model_constants_config.json": b"{}", "c.pkl": pickled(canary)}),
    ),
    "zip_slip": replaced(NETWORK, lambda canary: zipped(**{f"../../../../../..{canary}": b"out"})),
    "symbolic_link": linked,
    "hard_link": hard_linked,
    "huge_sparse_weights": sparse(WEIGHTS),
    "huge_sparse_predictor": sparse(PREDICTOR),
    "queue_as_golden": queue,
    "zip_bomb_as_golden": replaced(GOLDEN, lambda _: gzip.compress(b"[" * 50_000_000, 1)),
    "nested_golden": replaced(GOLDEN, lambda _: b'{"rows":' + b"[" * 2_000_000),
    "nested_predictor": replaced(PREDICTOR, lambda _: b'{"a":' * 500_000),
    "loader_module": loader,
    "loader_module_alone": names_loader,
    "yaml_tag": yaml_tag,
    "requirement_with_url": added("requirements.txt", lambda _: "evil @ http://127.0.0.1:1/evil.tar.gz\n"),
    "sitecustomize": added("sitecustomize.py", script),
    "setuid_program": added("helper", lambda canary: f"#!/bin/sh\nmkdir {canary}\n", 0o4755),
    "name_in_cyrillic": added("netwоrk.onnx", script),  # noqa: RUF001
    "name_that_is_no_text": added(b"\xff\xfe.py", script),
    "name_with_a_newline": added("a\nERROR root: all is well", script),
    "name_with_markup": added("<img src=x onerror=alert(1)>", script),
    "objects_in_the_predictor": changed(PREDICTOR, objects),
    "column_of_a_class": changed(PREDICTOR, column_type),
    "features_of_a_stranger": changed(PREDICTOR, lambda said, _: said["encoder"].update(features_sha256="f" * 64)),
    "torch_network_of_a_module": by_torch({"name": "os:mkdir", "options": {}}),
    "torch_network_without_code": by_torch({"code_sha256": "f" * 64}),
    "external_data_above": outside_data("../../../../../../etc/passwd"),
    "external_data_absolute": outside_data("/etc/passwd"),
    "custom_operator": custom_operator("evil"),
    "python_operator": custom_operator("ai.onnx.contrib"),
    "library_in_metadata": library_in_metadata,
}


def seal_by_force(folder: Path) -> str:
    """Write a manifest that vouches for whatever is there, as its maker can; huge files and queues by a false hash."""
    from models.folder import FILES, file_sha256, format_of, manifest_sha256, write_json

    kind = format_of(folder)
    files = {}
    for name in FILES[kind]:
        found = (folder / name).stat()
        readable = (folder / name).is_file() and found.st_size < 2**24
        files[name] = {"bytes": found.st_size, "sha256": file_sha256(folder / name) if readable else "0" * 64}
    write_json(folder / MANIFEST, {"format": kind, "files": files})
    return manifest_sha256(folder)
