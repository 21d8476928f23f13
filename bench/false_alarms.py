"""How often a window without any change is called drift, and how often half a sigma in one column is seen.

    python bench/false_alarms.py [--references 30] [--windows 100]

The interval is over references, not windows: all windows of one reference share its luck.
"""

import argparse
import math
import statistics
from datetime import UTC, datetime

import numpy as np

from data.schema import Column, Number, Rows
from monitoring.declarations import Monitors, Window
from monitoring.records import WindowKey
from monitoring.reference import build
from monitoring.verdicts import judge_data

COLUMNS: dict[str, Column] = {f"n{i}": Number() for i in range(5)}
MONITORS = Monitors(window=Window(rows=200), false_alarms=0.01)


def world(rows: int, generator: np.random.Generator, correlation: float, shift: float = 0.0) -> Rows:
    shared = generator.normal(size=rows) * math.sqrt(correlation)
    own = {name: generator.normal(size=rows) * math.sqrt(1 - correlation) for name in COLUMNS}
    return {name: shared + values + (shift if name == "n0" else 0.0) for name, values in own.items()}


def alarms(rows: int, correlation: float, windows: int, seed: int) -> tuple[float, float]:
    """Return the share of unchanged and of shifted windows called drift, for one reference of `rows` rows."""
    generator = np.random.default_rng(seed)
    everything = np.ones(rows, bool)
    known = world(rows, generator, correlation)
    reference = build(
        COLUMNS, known, held_out=everything, losses=np.zeros(rows), task="regression", exchangeable=True, seed=seed
    )
    now = datetime.now(UTC)
    key = WindowKey("bench", 1, 0, now, now)

    def share(shift: float) -> float:
        seen = [world(200, generator, correlation, shift) for _ in range(windows)]
        return sum(judge_data(reference, rows_, MONITORS, key).outcome == "drift" for rows_ in seen) / windows

    return share(0.0), share(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=int, default=30)
    parser.add_argument("--windows", type=int, default=100)
    asked = parser.parse_args()
    print(f"5 columns, windows of 200 rows, 1 % asked; {asked.references} references x {asked.windows} windows")
    for rows, correlation in ((360, 0.0), (360, 0.8), (1000, 0.0)):
        found = [alarms(rows, correlation, asked.windows, seed) for seed in range(asked.references)]
        false, power = zip(*found, strict=True)
        error = 1.96 * statistics.stdev(false) / math.sqrt(len(false))
        print(
            f"reference {rows:5} correlation {correlation:.1f}: false alarms {statistics.mean(false):6.2%} "
            f"+- {error:.2%} (worst reference {max(false):.0%}), 0.5 sigma seen {statistics.mean(power):.1%}"
        )


if __name__ == "__main__":
    main()
