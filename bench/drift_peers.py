"""One other detector on the rows of bench/drift.py, in an environment of its own: prints its cost and what it found.

    python bench/drift_peers.py NAME FOLDER      (bench/drift.py --others writes the folder and asks for this)

Each is used as its documentation shows it first, on all rows, with its own default for what has drifted; DuckDB, which
has none, by PSI above 0.1 as in bench/drift.py.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

PSI = 0.1
CUTS = [n / 20 for n in range(1, 20)]


def duckdb(folder: Path) -> set[str]:
    """Histograms of both tables by one scan of each Parquet file."""
    import duckdb

    base = duckdb.connect()
    base.execute("SET threads = 1")
    columns = [row[0] for row in base.execute(f"DESCRIBE SELECT * FROM '{folder}/known.parquet'").fetchall()]
    numbers = [name for name in columns if name[0] == "n"]
    wanted = ", ".join(f'quantile_cont("{name}", {CUTS})' for name in numbers)
    asked = base.execute(f"SELECT {wanted} FROM '{folder}/known.parquet'").fetchone()
    assert asked is not None
    cuts = dict(zip(numbers, asked, strict=True))
    counts = [histograms(base, folder / f"{part}.parquet", columns, cuts) for part in ("known", "current")]
    return {name for name in columns if psi(counts[0][name], counts[1][name]) > PSI}


def histograms(base: Any, path: Path, columns: list[str], cuts: dict[str, list[float]]) -> dict[str, dict[Any, int]]:
    """Count each column's bins, or its levels."""
    parts = [f'histogram("{name}", {cuts[name]})' if name in cuts else f'histogram("{name}")' for name in columns]
    found = base.execute(f"SELECT {', '.join(parts)} FROM '{path}'").fetchone()
    return dict(zip(columns, found, strict=True))


def psi(before: dict[Any, int], now: dict[Any, int]) -> float:
    bins = sorted({*before, *now}, key=str)
    p, q = (np.array([part.get(one, 0) for one in bins], float) for part in (before, now))
    p, q = np.maximum(p / p.sum(), 1e-6), np.maximum(q / q.sum(), 1e-6)
    return float(((q - p) * np.log(q / p)).sum())


def frouros(folder: Path) -> set[str]:
    """A test a column, Kolmogorov-Smirnov or chi-square, at 5 %."""
    from frouros.detectors.data_drift import ChiSquareTest, KSTest

    known, current = tables(folder)
    found = set()
    for name in known:
        detector = KSTest() if name[0] == "n" else ChiSquareTest()
        detector.fit(X=known[name].to_numpy())
        result, _ = detector.compare(X=current[name].to_numpy())
        if result.p_value < 0.05:
            found.add(str(name))
    return found


def nannyml(folder: Path) -> set[str]:
    """Jensen-Shannon of each column, on ten chunks of the known rows and one of the window."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import nannyml

    known, current = tables(folder)
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(known.columns),
        treat_as_categorical=[name for name in known.columns if name[0] == "c"],
        chunk_size=len(known) // 10,
    )
    found = calculator.fit(known).calculate(current).filter(period="analysis").to_df()
    alerts = {name: found[(name, "jensen_shannon", "alert")].mean() for name in known.columns}
    return {name for name, share in alerts.items() if share >= 0.5}


def whylogs(folder: Path) -> set[str]:
    """Sketches of both tables, compared by Hellinger's distance and its default bounds."""
    import whylogs
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    known, current = (whylogs.log(pandas=one).view() for one in tables(folder))
    scores = calculate_drift_scores(target_view=current, reference_view=known, with_thresholds=True)
    return {name for name, one in scores.items() if one and one.get("drift_category") == "DRIFT"}


def tables(folder: Path) -> tuple[Any, Any]:
    import pandas as pd

    return pd.read_parquet(folder / "known.parquet"), pd.read_parquet(folder / "current.parquet")


PEERS = {one.__name__: one for one in (duckdb, frouros, nannyml, whylogs)}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    PEERS[name](folder / "tiny")  # imports, and whatever is made once
    wall, cpu = time.perf_counter(), time.process_time()
    found = PEERS[name](folder)
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, sorted(found)]))


if __name__ == "__main__":
    main()
