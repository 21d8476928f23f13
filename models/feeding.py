"""Encoded rows as batches of tensors on the training device."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data.schema import Rows, concatenate, length, take
from data.stored import Stored
from models.encoding import EncodedSpec, Encoder

Batch = tuple[dict[str, Tensor], Tensor]
"""Inputs by name, in the specification's order, and the target (B,)."""

SHARE = 0.5  # of the free memory that encoded rows may take; the network, its gradients and a copy need the rest
WINDOW = 2**26  # bytes of rows that are shuffled together where they stay in their file
PIECE = 4096  # rows encoded at a time where all at once don't fit


@dataclass(frozen=True)
class Some:
    """Rows of a file by their places (N,), ascending."""

    stored: Stored
    places: np.ndarray

    def pieces(self) -> Iterator[Rows]:
        """Read them, a row group's at a time."""
        bounds = np.searchsorted(self.places, self.stored.starts)
        for low, high in pairwise(bounds.tolist()):
            if low < high:
                yield self.stored.take(self.places[low:high])


class Feed(Protocol):
    """Rows that can be asked for by position."""

    rows: int

    def windows(self, generator: torch.Generator) -> list[Tensor]:
        """Return all positions in a random order, in parts that are in memory together: no batch has rows of two."""

    def batch(self, positions: Tensor) -> Batch:
        """Return these rows, on the device."""

    def sha256(self) -> str:
        """Hash of everything the network would see."""


class Resident:
    """All rows encoded once and kept on the device: 1.1 to 2 times as fast as a loader."""

    def __init__(self, encoder: Encoder, rows: Rows, device: torch.device) -> None:
        self.rows = length(rows)
        encoded = encoder.encode(rows)
        target = encoder.target(rows)
        self.digest = hashed([*encoded.values(), target])
        self.inputs = {name: torch.from_numpy(values).to(device) for name, values in encoded.items()}
        self.target = torch.from_numpy(target).to(device)

    def windows(self, generator: torch.Generator) -> list[Tensor]:
        """Return one window."""
        return [torch.randperm(self.rows, generator=generator)]

    def batch(self, positions: Tensor) -> Batch:
        """Pick rows."""
        positions = positions.to(self.target.device)
        inputs = {name: values.index_select(0, positions) for name, values in self.inputs.items()}
        return inputs, self.target.index_select(0, positions)

    def sha256(self) -> str:
        """Hash taken while encoding."""
        return self.digest


class Streamed:
    """Rows kept as they came (a picture is a quarter of its encoded size) and encoded batch by batch."""

    def __init__(self, encoder: Encoder, rows: Rows, device: torch.device) -> None:
        self.encoder, self.source, self.device = encoder, rows, device
        self.rows = length(rows)

    def windows(self, generator: torch.Generator) -> list[Tensor]:
        """Return one window."""
        return [torch.randperm(self.rows, generator=generator)]

    def batch(self, positions: Tensor) -> Batch:
        """Encode rows and move them."""
        return encoded(self.encoder, take(self.source, positions.numpy()), self.device)

    def sha256(self) -> str:
        """Hash piece by piece."""
        pieces = []
        for start in range(0, self.rows, PIECE):
            some = {name: values[start : start + PIECE] for name, values in self.source.items()}
            pieces.append(hashed([*self.encoder.encode(some).values(), self.encoder.target(some)]))
        return hashlib.sha256("".join(pieces).encode()).hexdigest()


class FromDisk:
    """Some rows of a Parquet file: a window of row groups is in memory, drawn anew each epoch, and shuffled.

    A window has `WINDOW` bytes, whatever the machine has free: the order of the rows decides the weights.
    """

    def __init__(self, encoder: Encoder, some: Some, device: torch.device) -> None:
        self.encoder, self.stored, self.places, self.device = encoder, some.stored, some.places, device
        self.rows = len(some.places)
        self.together = max(2, WINDOW // self.stored.group_bytes)
        self.layout = [*chunks(np.arange(self.stored.groups), self.together)]
        self.window: tuple[np.ndarray, Rows] | None = None

    def windows(self, generator: torch.Generator) -> list[Tensor]:
        """Deal the row groups into windows, and the rows of each out."""
        order = torch.randperm(self.stored.groups, generator=generator).numpy()
        self.layout = [*chunks(order, self.together)]
        bounds = np.searchsorted(self.places, self.stored.starts)
        found = []
        for groups in self.layout:
            positions = np.concatenate([np.arange(bounds[group], bounds[group + 1]) for group in groups])
            found.append(torch.from_numpy(positions)[torch.randperm(len(positions), generator=generator)])
        return found

    def batch(self, positions: Tensor) -> Batch:
        """Encode rows of one window, or, in their own order, of several."""
        at = self.places[positions.numpy()]
        of = np.searchsorted(self.stored.starts, at, side="right") - 1
        parts = []
        for groups in self.layout:
            inside = np.isin(of, groups)
            if inside.any():
                parts.append(self.some(groups, at[inside], of[inside]))
        return encoded(self.encoder, concatenate(parts), self.device)

    def some(self, groups: np.ndarray, at: np.ndarray, of: np.ndarray) -> Rows:
        """Return rows by their places `at` in the file and the groups `of` them, which are among `groups`."""
        if self.window is None or not np.array_equal(self.window[0], groups):
            self.window = None  # two at once would need twice the memory
            self.window = groups, self.stored.read(groups.tolist(), list(self.encoder.schema.columns))
        sizes = np.diff(self.stored.starts)[groups]
        offsets = np.concatenate([[0], np.cumsum(sizes)])[:-1]
        local = dict(zip(groups.tolist(), (offsets - self.stored.starts[groups]).tolist(), strict=True))
        return take(self.window[1], at + np.array([local[group] for group in of.tolist()]))

    def sha256(self) -> str:
        """Hash what the file says it holds, and which of its rows these are."""
        return hashlib.sha256(self.stored.sha256.encode() + hashed([self.places]).encode()).hexdigest()


def chunks(values: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield so many values at a time."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def encoded(encoder: Encoder, rows: Rows, device: torch.device) -> Batch:
    """Encode rows and move them."""
    inputs = {name: torch.from_numpy(values).to(device) for name, values in encoder.encode(rows).items()}
    return inputs, torch.from_numpy(encoder.target(rows)).to(device)


def feed(encoder: Encoder, rows: Rows | Some, device: torch.device, memory: int | None = None) -> Feed:
    """Keep `rows` resident when they fit into `memory` bytes (default: half of what the device has free)."""
    if isinstance(rows, Some):
        return FromDisk(encoder, rows, device)
    room = int(free_memory(device) * SHARE) if memory is None else memory
    if encoded_bytes(encoder.spec, length(rows)) <= room:
        return Resident(encoder, rows, device)
    return Streamed(encoder, rows, device)


def encoded_bytes(spec: EncodedSpec, rows: int) -> int:
    """Return the size of so many rows once encoded, target included."""
    each = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in spec.inputs.values())
    return rows * (each + 8)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def hashed(arrays: list[np.ndarray]) -> str:
    """Hash arrays with their shapes."""
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(repr((values.shape, str(values.dtype))).encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
