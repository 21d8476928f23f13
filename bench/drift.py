"""Our verdict beside raw Evidently and plain numpy on the same rows: seconds, memory, and whether all see what shifted.

    python bench/drift.py [--rows 100000] [--columns 30] [--rounds 3] [--preset-rows 100000] [--peers 1] [--others]

Variants take turns within a round, each in a process of its own that is forked once everything is imported and our
calibration, which is cached for a champion, is there. Seconds are of the wall and of the CPU; memory is what a variant
took on top of the rows, which all share, and the whole of it. "from the log" reads its rows from the log in a
SQLite file; the others have them in memory. Ends with status 1 where two variants disagree on what has drifted.
`--others` installs DuckDB, frouros, NannyML and whylogs into an environment of their own, since some want an older
numpy, and lets each read the same rows from Parquet (bench/drift_peers.py); what they call drifted is printed beside.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.environment import QUIET
from data.packing import pack_all
from data.schema import Category, Column, Number, Rows, Schema, length, take
from models.encoding import Encoder
from models.predictor import Predictor
from monitoring.answers import read_shortly
from monitoring.declarations import Monitors, Window
from monitoring.records import Prediction, WindowKey
from monitoring.reference import Reference, build
from monitoring.store import Store, open_store
from monitoring.verdicts import judge_data
from tasks.observing import observed

SHIFTED = {"n0"}
SAMPLED = 50_000
PSI = 0.1  # the usual threshold
NOW = datetime(2026, 11, 21, tzinfo=UTC)
WINDOW = WindowKey("bench", 1, 0, NOW, NOW + timedelta(days=365))
AT_ONCE = 20_000  # rows logged in one commit


OTHERS = Path(tempfile.gettempdir()) / "holdfast-bench-drift"
NAMED = ("duckdb", "frouros", "nannyml", "whylogs")
UNNAMED = ("numpy<2", "pyarrow<21", "ipython", "statsmodels")  # what they need and don't all say


class Cost(NamedTuple):
    """Seconds of the wall and of the CPU; memory beside the rows, and with them, in MB."""

    wall: float
    cpu: float
    extra: float
    whole: float


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
    verdict = judge_data(reference, current, Monitors(window=Window(rows=1)), WINDOW)
    assert verdict.rows == length(current)
    return {name for name, found in verdict.detail["columns"].items() if found["drifted"]}


def logged(url: str, current: Rows) -> Predictor:
    """Write rows to a log as the service does, one a second, and return the predictor that answered them."""
    columns: dict[str, Column] = {**typed(current), "truth": Category(levels=("no", "yes"))}
    schema = Schema(columns=columns, target="truth", key="key")
    sure = np.random.default_rng(1).uniform(0.5, 1.0, length(current)).tolist()
    store = open_store(url)
    for start in range(0, length(current), AT_ONCE):
        rows = take(current, np.arange(start, min(start + AT_ONCE, length(current))))
        ids = [f"{start + n:09d}" for n in range(length(rows))]
        packed = pack_all(schema, {**rows, "key": np.array(ids, dtype=object)})
        store.predictions.append(
            [answer(id_, features, sure[int(id_)]) for id_, features in zip(ids, packed, strict=True)]
        )
    store.close()
    truth = np.resize(np.array(["no", "yes"], dtype=object), length(current))
    return Predictor(Encoder.fit(schema, None, {**current, "truth": truth}), None)  # type: ignore[arg-type] (nothing is answered anew)


def answer(id_: str, features: bytes, sure: float) -> Prediction:
    at = NOW + timedelta(seconds=int(id_))
    output = {"class": "yes", "confidence": sure, "probabilities": {"no": 1 - sure, "yes": sure}}
    return Prediction(id_, "bench", 1, at, at, features, output)


def from_log(store: Store, predictor: Predictor, reference: Reference) -> set[str]:
    return ours(reference, observed(store, predictor, WINDOW, read_shortly)[0])


def plain_numpy(known: Rows, current: Rows) -> set[str]:
    """Kolmogorov-Smirnov, PSI and Wasserstein of every column, as one would write it by hand; PSI decides."""
    found = {}
    for name in known:
        before, now = known[name], current[name]
        if name[0] == "c":
            levels = sorted({*before.tolist(), *now.tolist()})
            shares = [np.array([np.count_nonzero(part == level) for level in levels]) for part in (before, now)]
        else:
            before, now = np.sort(before), np.sort(now)
            every = np.concatenate([before, now])
            cumulated = [np.searchsorted(part, every, side="right") / len(part) for part in (before, now)]
            np.abs(cumulated[0] - cumulated[1]).max()  # Kolmogorov-Smirnov
            np.abs(before - now).mean()  # Wasserstein, of as many rows
            cuts = np.quantile(before, np.arange(1, 20) / 20)
            shares = [np.bincount(np.searchsorted(cuts, part), minlength=20) for part in (before, now)]
        p, q = (np.maximum(part / part.sum(), 1e-6) for part in shares)
        found[name] = float(((q - p) * np.log(q / p)).sum())
    return {name for name, psi in found.items() if psi > PSI}


def sampled(rows: Rows) -> Rows:
    if length(rows) <= SAMPLED:
        return rows
    return take(rows, np.random.default_rng(0).choice(length(rows), SAMPLED, replace=False))


def evidently(known: Rows, current: Rows, *, preset: bool) -> set[str]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[name for name in known if name[0] == "n"],
        categorical_columns=[name for name in known if name[0] == "c"],
    )
    asked: list[Any] = [DataDriftPreset()] if preset else [ValueDrift(column=name) for name in known]
    report = Report(asked, include_tests=True).run(
        Dataset.from_pandas(pd.DataFrame(current), data_definition=definition),
        Dataset.from_pandas(pd.DataFrame(known), data_definition=definition),
    )
    failed = [test for test in report.tests_results if test.status.value == "FAIL" and test.metric_config is not None]
    columns = [test.metric_config.params.get("column") for test in failed if test.metric_config is not None]
    return {str(name) for name in columns if name is not None}


def resident(what: str) -> float:
    """Return VmRSS or its peak, VmHWM, in MB."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(what))
    return int(line.split()[1]) / 1000


def measured(work: Callable[[], set[str]]) -> tuple[Cost, set[str]]:
    """Run once in a forked process, which starts with what this one has and leaves nothing behind."""
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe(duplex=False)

    def run() -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before, wall, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
        found = work()
        cost = Cost(
            time.perf_counter() - wall, time.process_time() - cpu, resident("VmHWM") - before, resident("VmHWM")
        )
        tell.send((cost, found))

    child = context.Process(target=run)
    child.start()
    tell.close()
    answer: tuple[Cost, set[str]] = told.recv()
    child.join()
    return answer


def installed() -> str:
    """Return the Python of the others' environment, made where there is none."""
    python = OTHERS / "bin" / "python"
    if not python.exists():
        print(f"installing {', '.join(NAMED)} into {OTHERS}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(OTHERS)], check=True)
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NAMED, *UNNAMED]
        subprocess.run([str(python), *words], check=True)
    return str(python)


def others(known: Rows, current: Rows, rounds: int, unit: float) -> None:
    """Print what each other detector takes for the same rows, and what it calls drifted. `unit`: our CPU seconds."""
    import pandas as pd

    python = installed()
    with tempfile.TemporaryDirectory() as folder:
        for place, rows in (("", length(known)), ("tiny", 500)):
            (Path(folder) / place).mkdir(exist_ok=True)
            for name, part in (("known", known), ("current", current)):
                pd.DataFrame(take(part, np.arange(rows))).to_parquet(Path(folder) / place / f"{name}.parquet")
        for name in NAMED:
            told = [peer(python, name, folder) for _ in range(rounds)]
            if not all(told):
                print(f"{name:34} did not run")
                continue
            wall, cpu = (statistics.median(one[i] for one in told if one) for i in (0, 1))
            said = told[-1][2] if told[-1] else []
            print(f"{name:34} {wall:8.2f} s  CPU {cpu:8.2f} s x{cpu / unit:6.1f}  drifted: {', '.join(said) or 'none'}")


def peer(python: str, name: str, folder: str) -> tuple[float, float, list[str]] | None:
    """Run another detector once: seconds of the wall and of the CPU, and the columns that it calls drifted."""
    script = Path(__file__).parent / "drift_peers.py"
    done = subprocess.run([python, str(script), name, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return None
    wall, cpu, found = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset-rows", type=int, default=100_000, help="the preset takes a while: 0 leaves it out")
    parser.add_argument("--peers", type=int, default=1, help="0 leaves out Evidently as well, which takes a while")
    parser.add_argument("--others", action="store_true", help="DuckDB, frouros, NannyML and whylogs too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return compared(asked, f"sqlite:///{folder}/log.db")


def compared(asked: argparse.Namespace, url: str) -> int:
    generator = np.random.default_rng(0)
    known, current = world(asked.rows, asked.columns, generator), world(asked.rows, asked.columns, generator, 0.5)
    told = np.ones(asked.rows, bool)
    reference = build(
        typed(known), known, held_out=told, losses=np.zeros(asked.rows), task="classification", exchangeable=True
    )
    predictor = logged(url, current)
    few = [take(rows, np.arange(min(asked.preset_rows, asked.rows))) for rows in (known, current)]
    tiny = [take(rows, np.arange(500)) for rows in (known, current)]
    variants: dict[str, Callable[[], set[str]]] = {
        "ours": lambda: ours(reference, current),
        "ours, from the log": lambda: from_log(open_store(url), predictor, reference),
        "numpy": lambda: plain_numpy(known, current),
        "numpy, 50,000 of them": lambda: plain_numpy(sampled(known), sampled(current)),
    }
    if asked.peers:
        variants["evidently ValueDrift"] = lambda: evidently(known, current, preset=False)
        evidently(tiny[0], tiny[1], preset=True)
    if asked.peers and asked.preset_rows:
        variants[f"evidently preset, {length(few[0]):,} of them"] = lambda: evidently(*few, preset=True)
    ours(reference, current)
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    found: dict[str, set[str]] = {}
    for _ in range(asked.rounds):
        for name, work in variants.items():
            cost, found[name] = measured(work)
            costs[name].append(cost)
    print(f"{asked.rows:,} rows x {asked.columns} columns, n0 shifted by 0.5 sigma, medians of {asked.rounds}")
    medians = {name: Cost(*map(statistics.median, zip(*taken, strict=True))) for name, taken in costs.items()}
    for name, cost in medians.items():
        ratio = cost.cpu / medians["ours"].cpu
        print(
            f"{name:34} {cost.wall:8.2f} s  CPU {cost.cpu:8.2f} s x{ratio:6.1f}  "
            f"memory +{cost.extra:6.0f} MB of {cost.whole:6.0f}  drifted: {', '.join(sorted(found[name])) or 'none'}"
        )
    if asked.others:
        others(known, current, asked.rounds, medians["ours"].cpu)
    agreed = all(one == SHIFTED for one in found.values())
    print("all agree on what drifted" if agreed else f"they disagree: only {', '.join(SHIFTED)} was shifted")
    return 0 if agreed else 1


if __name__ == "__main__":
    import os

    os.environ.update(QUIET)
    sys.exit(main())
