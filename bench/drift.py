"""Our verdict beside raw Evidently on the same rows: seconds, and whether both see what was shifted.

    python bench/drift.py [--rows 10000] [--columns 30] [--rounds 3]

Variants take turns within a round; ratios are of the medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from data.environment import QUIET
from data.schema import Category, Column, Number, Rows
from monitoring.declarations import Monitors, Window
from monitoring.records import WindowKey
from monitoring.reference import Reference, build
from monitoring.verdicts import judge_data


def world(rows: int, columns: int, generator: np.random.Generator, shift: float = 0.0) -> Rows:
    """Two thirds numbers, one third categories; the first number is shifted by so many standard deviations."""
    made: Rows = {}
    for i in range(columns):
        if i % 3 == 2:
            made[f"c{i}"] = generator.choice(np.array(["a", "b", "c", "d"], dtype=object), rows)
        else:
            made[f"n{i}"] = generator.normal(shift if i == 0 else 0.0, 1.0, rows)
    return made


def typed(rows: Rows) -> dict[str, Column]:
    return {name: Category(levels=tuple("abcd")) if name[0] == "c" else Number() for name in rows}


def ours(reference: Reference, current: Rows) -> set[str]:
    now = datetime.now(UTC)
    verdict = judge_data(reference, current, Monitors(window=Window(rows=1)), WindowKey("bench", 1, 0, now, now))
    return {name for name, found in verdict.detail["columns"].items() if found["drifted"]}


def raw_evidently(known: Rows, current: Rows) -> set[str]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(
        numerical_columns=[name for name in known if name[0] == "n"],
        categorical_columns=[name for name in known if name[0] == "c"],
    )
    report = Report([ValueDrift(column=name) for name in known], include_tests=True)
    found = report.run(
        Dataset.from_pandas(pd.DataFrame(current), data_definition=definition),
        Dataset.from_pandas(pd.DataFrame(known), data_definition=definition),
    ).dict()
    tests = found["tests"]
    return {name for name, test in zip(known, tests, strict=True) if "FAIL" in str(test["status"]).upper()}


def timed(work: Callable[[], set[str]]) -> tuple[float, set[str]]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    generator = np.random.default_rng(0)
    known, current = world(asked.rows, asked.columns, generator), world(asked.rows, asked.columns, generator, 0.5)
    reference = build(
        typed(known),
        known,
        held_out=np.ones(asked.rows, bool),
        losses=np.zeros(asked.rows),
        task="classification",
        exchangeable=True,
    )
    variants = {"ours": lambda: ours(reference, current), "evidently": lambda: raw_evidently(known, current)}
    for work in variants.values():
        work()  # imports and our calibration, which is cached for a champion
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    found: dict[str, set[str]] = {}
    for _ in range(asked.rounds):
        for name, work in variants.items():
            took, found[name] = timed(work)
            seconds[name].append(took)
    medians = {name: statistics.median(took) for name, took in seconds.items()}
    print(f"{asked.rows} rows x {asked.columns} columns, n0 shifted by 0.5 sigma")
    for name in variants:
        ratio = medians[name] / medians["ours"]
        print(f"{name:10} {medians[name]:8.3f} s  x{ratio:6.1f}  drifted: {', '.join(sorted(found[name])) or 'none'}")


if __name__ == "__main__":
    import os

    os.environ.update(QUIET)
    main()
