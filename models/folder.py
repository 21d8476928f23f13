"""A version's folder on disk: which files it holds, and the proof that they are what was written.

Nothing in it is ever unpickled or imported from here: JSON, safetensors, ONNX and a YAML text that we don't read.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import orjson

from data.errors import Corrupt

WEIGHTS, PREDICTOR, NETWORK, GOLDEN, MLMODEL = (
    "weights.safetensors",
    "predictor.json",
    "network.onnx",
    "golden.json",
    "MLmodel",
)
MANIFEST = "manifest.json"
LARGEST = {WEIGHTS: 2**32, NETWORK: 2**31, PREDICTOR: 2**28, GOLDEN: 2**28, MLMODEL: 2**22}  # bytes
LIMITS = {**LARGEST, MANIFEST: 2**16}
EXPORTED, BY_TORCH = 1, 2  # formats; the second has no network.onnx, and torch answers
FILES = {EXPORTED: tuple(LARGEST), BY_TORCH: tuple(name for name in LARGEST if name != NETWORK)}
CHUNK = 2**20  # bytes
LONGEST_TABLE = 100_000_000  # bytes of a safetensors file's table, as the format bounds it


def manifest_sha256(folder: Path) -> str:
    """Return the hash by which a version is known; it covers every file through their own hashes."""
    return hashlib.sha256(read_whole(folder / MANIFEST, LIMITS[MANIFEST])).hexdigest()


def size_mb(folder: Path) -> float:
    """Return the size of a version's files in 1,000,000 bytes."""
    return sum((folder / name).stat().st_size for name in FILES[format_of(folder)]) / 1e6


def format_of(folder: Path) -> int:
    """Return the format of a folder that we write, by whether it holds an exported network."""
    return EXPORTED if (folder / NETWORK).exists() else BY_TORCH


def seal(folder: Path) -> str:
    """Write the manifest of a folder that holds a version's files, and return its hash."""
    kind = format_of(folder)
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in FILES[kind]
    }
    write_json(folder / MANIFEST, {"format": kind, "files": files})
    return manifest_sha256(folder)


def verified(folder: Path, manifest: str | None = None) -> dict[str, bytes]:
    """Return the content of every file but the weights, once all of them have proved to be what was written.

    `manifest`: the hash that is on record for the whole, where one is known. What is returned is what was
    hashed, so a change after the check can't matter.

    Raises: Corrupt for a file that is changed, missing, unknown, a link, or larger than a version's may be.
    """
    expected = read_manifest(folder, manifest)
    present = {entry.name for entry in os.scandir(folder)}
    wanted = {*expected, MANIFEST}
    if present != wanted:
        raise Corrupt(str(folder), f"its {len(wanted)} files", ", ".join(sorted(present ^ wanted))[:200])
    contents = {}
    for name in sorted(expected, key=tuple(LARGEST).index):
        path, limit = folder / name, LARGEST[name]
        size, digest = expected[name]["bytes"], expected[name]["sha256"]
        if regular_size(path, limit) != size:
            raise Corrupt(str(path), f"{size} bytes", f"{path.stat().st_size} bytes")
        if name == WEIGHTS:
            check_tensors(path, size)
            found = file_sha256(path)
        else:
            contents[name] = read_whole(path, size)
            found = hashlib.sha256(contents[name]).hexdigest()
        if found != digest:
            raise Corrupt(str(path), digest, found)
    return contents


def read_manifest(folder: Path, manifest: str | None) -> dict[str, Any]:
    """Return name -> bytes and sha256, from a manifest written exactly as `seal` writes it."""
    path = folder / MANIFEST
    content = read_whole(path, LIMITS[MANIFEST])
    found = hashlib.sha256(content).hexdigest()
    if manifest is not None and manifest != found:
        raise Corrupt(str(path), manifest, found)
    try:
        stored = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Corrupt(str(path), "JSON", str(error)) from error
    kind, files = (stored.get("format"), stored.get("files")) if isinstance(stored, dict) else (None, None)
    if (
        type(kind) is not int
        or kind not in FILES
        or not isinstance(files, dict)
        or files.keys() != set(FILES[kind])
        or not all(isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"} for entry in files.values())
        or stored != {"format": kind, "files": files}
    ):
        raise Corrupt(str(path), "a format and its files", content[:60].decode(errors="replace"))
    if content != json_bytes(stored):
        raise Corrupt(str(path), "JSON as we write it", "other spaces or order")
    return files


def regular_size(path: Path, limit: int) -> int:
    """Return a plain file's size in bytes.

    Raises: Corrupt for a link, anything else that is no plain file, or more than `limit` bytes.
    """
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise Corrupt(str(path), "a file", "nothing") from error
    if not stat.S_ISREG(found.st_mode):
        raise Corrupt(str(path), "a plain file", "a link or device" if not stat.S_ISDIR(found.st_mode) else "a folder")
    if found.st_size > limit:
        raise Corrupt(str(path), f"≤ {limit} bytes", f"{found.st_size} bytes")
    return found.st_size


def read_whole(path: Path, limit: int) -> bytes:
    """Read a plain file of at most `limit` bytes, following no link."""
    regular_size(path, limit)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit + 1)


def file_sha256(path: Path) -> str:
    """Hash a file piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def check_tensors(path: Path, size: int) -> None:
    """Refuse a file of weights that doesn't begin as safetensors do, with a table that ends where the file does.

    Nothing that serves an exported network reads its weights; whoever does later is not to find something else.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if 2 <= length <= min(size - 8, LONGEST_TABLE) else b""
    try:
        table = orjson.loads(head)
        ends = [entry["data_offsets"][1] for name, entry in table.items() if name != "__metadata__"]
        whole = 8 + length + max([0, *ends]) == size
    except (orjson.JSONDecodeError, AttributeError, LookupError, TypeError) as error:
        raise Corrupt(str(path), "safetensors", "something else") from error
    if not whole:
        raise Corrupt(str(path), "all its tensors", f"{size} bytes")


def json_bytes(value: object) -> bytes:
    """Return the one way we write a value as JSON: indented, keys in the order given, which a schema relies on."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON."""
    path.write_bytes(json_bytes(value))
