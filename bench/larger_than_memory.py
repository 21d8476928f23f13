"""Learn from a set of rows that stays in its Parquet file, and print the largest memory that making and learning took.

    python bench/larger_than_memory.py [--gb 2.2] [--epochs 1]

Makes numbers without a pattern to compress, and a class that follows from three of them; writes them piece by piece,
proves the file, and trains a small network from it, each in a process of its own whose largest resident memory is
printed beside what it held before its work. Only the places of the rows grow with the set: 16 bytes a row.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.schema import Category, Number, Rows, Schema
from data.stored import Stored, write_pieces

NUMBERS = 60
PIECE = 50_000  # rows
SCHEMA = Schema(
    columns={**{f"n{at}": Number() for at in range(NUMBERS)}, "kind": Category(levels=("low", "high"))},
    target="kind",
    key="key",
)


def pieces(count: int) -> Iterator[Rows]:
    """Draw the rows, the same each time."""
    generator = np.random.default_rng(0)
    for start in range(0, count, PIECE):
        rows = min(PIECE, count - start)
        values = generator.normal(size=(NUMBERS, rows))
        keys = np.array([str(at) for at in range(start, start + rows)], dtype=object)
        kinds = np.where(values[:3].sum(axis=0) > 0, "high", "low").astype(object)
        yield {"key": keys, **{f"n{at}": values[at] for at in range(NUMBERS)}, "kind": kinds}


def peak() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def make(path: Path, count: int) -> str:
    """Write the file."""
    write_pieces(path, pieces(count), count, SCHEMA)
    return f"{path.stat().st_size / 1e9:.2f} GB in {Stored(path, SCHEMA).groups} row groups"


def check(path: Path) -> str:
    """Prove the file."""
    Stored(path, SCHEMA).check()
    return "is what was written"


def learn(path: Path, epochs: int) -> str:
    """Train from the file."""
    from models.declarations import Model, Training
    from models.encoding import Encoder
    from models.training import fit

    stored = Stored(path, SCHEMA)
    encoder = Encoder.fit(SCHEMA, None, stored.read([0, stored.groups - 1]))
    training = Training(epochs=epochs, patience=epochs, batch_size=1024, validation=0.05, device="cpu")
    model, seen = Model(network="mlp"), []
    with tempfile.TemporaryDirectory() as folder:
        fit(model, training, encoder, stored, workdir=Path(folder), progress=seen.append, threads=1)
    return f"accuracy {seen[-1].metric:.3f} after {epochs} epochs of {seen[-1].seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--step", choices=("make", "check", "learn"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    count = int(options.gb * 1e9 / (8 * NUMBERS))
    if options.step:
        if options.step == "learn":
            import torch  # noqa: F401 (its own memory is not the rows')

            import models.training  # noqa: F401
        before, started = peak(), time.perf_counter()
        steps = {"make": (make, count), "check": (check,), "learn": (learn, options.epochs)}
        function, *given = steps[options.step]
        said = function(options.path, *given)  # type: ignore[operator]
        seconds = time.perf_counter() - started
        print(f"{options.step:6s} {peak():6.0f} MB at most, {before:4.0f} before; {seconds:5.0f} s; {said}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        print(f"{count:,} rows of {NUMBERS} numbers, {options.gb} GB", flush=True)
        for step in ("make", "check", "learn"):
            told = [f"--gb={options.gb}", f"--epochs={options.epochs}", f"--path={path}", f"--step={step}"]
            subprocess.run([sys.executable, __file__, *told], check=True)


if __name__ == "__main__":
    main()
