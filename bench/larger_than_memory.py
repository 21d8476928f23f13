"""Take a set of rows that is larger than memory need be through every step, and print what memory each one took.

    python bench/larger_than_memory.py [--gb 2.2] [--resident 256]

Draws numbers without a pattern to compress, and a class that follows from three of them, a batch at a time; lands the
batches as `holdfast ingest` does, deals the rows out, trains, evaluates, and makes the reference that drift is judged
by. Each step is a process of its own, whose largest resident memory is printed beside what it held before its work.
`resident`: the megabytes of rows that the project lets be in memory at once. What grows with the set is what decides
about a row (its key, class, batch, role and place), some 130 bytes of it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

NUMBERS = 60
A_BATCH = 50_000  # rows
STEPS = ("ingest", "prepare", "train", "evaluate", "reference")
FILE = """
    import numpy as np
    import pandas as pd
    from projects.declaration import Batch, Category, Evaluation, Model, Number, Project, Schema, Training

    NUMBERS, A_BATCH, ROWS, RESIDENT = {numbers}, {a_batch}, {rows}, {resident}


    def drawn():
        generator = np.random.default_rng(0)
        for start in range(0, ROWS, A_BATCH):
            rows = min(A_BATCH, ROWS - start)
            values = generator.normal(size=(NUMBERS, rows))
            columns = {{f"n{{at}}": values[at] for at in range(NUMBERS)}}
            kinds = np.where(values[:3].sum(axis=0) > 0, "high", "low")
            keys = np.arange(start, start + rows)
            yield Batch(f"b{{start:09d}}", pd.DataFrame({{"key": keys, **columns, "kind": kinds}}))


    project = Project(
        name="large",
        task="classification",
        schema=Schema(
            columns={{**{{f"n{{at}}": Number() for at in range(NUMBERS)}}, "kind": Category(levels=("low", "high"))}},
            target="kind",
            key="key",
        ),
        source=drawn,
        model=Model(network="mlp"),
        training=Training(epochs=1, patience=1, batch_size=1024, validation=0.05, device="cpu", resident=RESIDENT),
        evaluation=Evaluation(exchangeable=True),
    )
"""


def peak() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def take(step: str, home: Path) -> str:
    """Take one step in a home, and say what came of it."""
    from tasks.ingestion import ingest, write_snapshot
    from tasks.pipeline import Work
    from tasks.pipeline import step as named
    from tasks.plans import ensure
    from tasks.resources import connect
    from tasks.settings import Settings

    resources = connect(Settings(home=home, projects=str(home), threads=1))
    folder = resources.artifacts("large")
    if step == "ingest":
        return ingest(resources, "large").sentence
    snapshot = resources.batches.snapshot("large")
    if step == "reference":
        from models.predictor import read_version
        from tasks.referencing import build_reference

        project = resources.project("large")
        built, _ = build_reference(resources, project, read_version(folder / "model"), snapshot, home / "scratch")
        return f"{len(built) / 1e6:.1f} MB"
    write_snapshot(folder / "snapshot.json", snapshot)
    ensure(folder)
    named(step).run(Work(resources, "large", folder, lambda _share, _what: None, "cpu"))
    if step == "prepare":
        return ", ".join(f"{role} {rows:,}" for role, rows in rows_of(folder / "prepared" / "summary.json").items())
    if step == "train":
        return f"{(folder / 'prepared' / 'train.parquet').stat().st_size / 1e9:.2f} GB learned once"
    found = json.loads((folder / "evaluation" / "metrics.json").read_text())
    return f"accuracy {found['judge']['accuracy']['value']:.3f}, linear {found['baselines']['linear']:.3f}"


def rows_of(summary: Path) -> dict[str, int]:
    """Return the rows of each role."""
    return dict(json.loads(summary.read_text())["rows"])


def alone(step: str, home: Path) -> None:
    """Take one step in this process, and print what it took."""
    import torch  # noqa: F401 (its own memory is not the rows')

    import tasks.pipeline  # noqa: F401

    before, started = peak(), time.perf_counter()
    said = take(step, home)
    seconds = time.perf_counter() - started
    print(f"{step:9s} {peak():6.0f} MB at most, {before:4.0f} before; {seconds:5.0f} s; {said}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.2)
    parser.add_argument("--resident", type=int, default=256)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        alone(options.step, options.home)
        return
    rows = int(options.gb * 1e9 / (8 * NUMBERS))
    with tempfile.TemporaryDirectory() as home:
        given = {"numbers": NUMBERS, "a_batch": A_BATCH, "rows": rows, "resident": options.resident}
        (Path(home) / "large.py").write_text(textwrap.dedent(FILE).format(**given))
        print(f"{rows:,} rows of {NUMBERS} numbers, {options.gb} GB; {options.resident} MB resident", flush=True)
        for step in STEPS:
            told = [sys.executable, __file__, f"--step={step}", f"--home={home}"]
            path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
            subprocess.run(told, check=True, env={**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    main()
