"""Real streams: drift-triggered retraining beside a calendar, prequentially (each row is answered, then learned from).

    HOLDFAST_DATASETS=… python bench/streams.py [elec2 covertype_100k outdoor_objects keystroke sea_concepts airlines]

A stream without times gets some: so many rows are a week, stated in the table. Policies are chosen on the first two
thirds of what is replayed; the last third is reported beside the whole. Nothing is copied out of the data sets.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from data.schema import Category, Column, Number, Rows
from projects.declaration import (
    Evaluation,
    Gates,
    Governor,
    Labels,
    Model,
    Monitors,
    Project,
    Schema,
    Training,
    Window,
)
from tasks.backtest_policies import named
from tasks.backtest_report import facts, sentence
from tasks.backtest_stream import stream_of
from tasks.backtesting import Result, backtest
from tasks.settings import Settings

WEEK = timedelta(days=7)
BEGIN = datetime(2001, 1, 1, tzinfo=UTC)
POLICIES = ("declared", "since-drift")
Table = tuple[dict[str, Column], Rows]  # with the target as "class"


@dataclass(frozen=True)
class Spec:
    """A stream. Counts are of rows. `changes`: where the world is known to change; `together`: rows of one entity.

    `judge` is a share that holds 20 days, or 20 entities, of the history: fewer can't say how much they differ.
    """

    name: str
    table: Callable[[Path], Table]
    week: int
    history: int
    window: int
    delay: int
    changes: tuple[int, ...] = ()
    judge: float = 0.1
    exchangeable: bool = False
    together: int = 1
    epochs: int = 12

    @property
    def step(self) -> timedelta:
        """From one row to the next."""
        return WEEK / self.week


def numbers(values: np.ndarray, truth: np.ndarray) -> Table:
    """Return a table of numbers named n0, n1, … and the classes that occur."""
    levels = tuple(str(level) for level in np.unique(truth))
    columns: dict[str, Column] = {f"n{i}": Number() for i in range(values.shape[1])}
    rows: Rows = {f"n{i}": values[:, i].astype(np.float64) for i in range(values.shape[1])}
    return {**columns, "class": Category(levels=levels)}, {**rows, "class": truth.astype(str).astype(object)}


def elec2(folder: Path) -> Table:
    given = pd.read_csv(folder / "elec2" / "elec.csv.gz")
    columns, rows = numbers(given.drop(columns=["class"]).to_numpy(), given["class"].to_numpy())
    half_hours = np.arange(len(given))
    rows["day"] = ((half_hours // 48 + 1) % 7 + 1).astype(str).astype(object)
    return {"day": Category(levels=tuple("1234567")), **columns}, rows


def covertype(folder: Path) -> Table:
    with np.load(folder / "covertype_100k" / "covertype.npz") as given:
        return numbers(given["X"], given["y"])


def outdoor(folder: Path) -> Table:
    given = pd.read_csv(folder / "outdoor_objects" / "outdoorStream.csv.gz").to_numpy()
    return numbers(given[:, :-1], given[:, -1].astype(int))


def keystroke(folder: Path) -> Table:
    values = pd.read_csv(folder / "keystroke" / "keystroke.data.gz", sep=" ", header=None).to_numpy()
    return numbers(values, pd.read_csv(folder / "keystroke" / "keystroke.labels", header=None)[0].to_numpy())


def sea(folder: Path) -> Table:
    values = pd.read_csv(folder / "sea_concepts" / "SEA_training_data.csv.gz", header=None).to_numpy()
    truth = pd.read_csv(folder / "sea_concepts" / "SEA_training_class.csv.gz", header=None)[0].to_numpy()
    return numbers(values, truth)


def airlines(folder: Path) -> Table:
    with np.load(folder / "airlines" / "airlines.npz") as given:
        values, truth = given["X"][:AIRLINES_ROWS], given["y"][:AIRLINES_ROWS]
    columns, rows = numbers(values, truth)
    for i in (0, 2, 3, 4):  # airline, from, to and day of week are codes
        codes = values[:, i].astype(int).astype(str)
        columns[f"n{i}"] = Category(levels=tuple(sorted(set(codes))), open=True)
        rows[f"n{i}"] = codes.astype(object)
    return columns, rows


AIRLINES_ROWS = 100_000
LEARNED = 10  # weeks that each training learns from, the calendar's too
SPECS = {
    spec.name: spec
    for spec in (
        # half-hours: the only one with true times
        Spec("elec2", elec2, week=336, history=30 * 336, window=168, delay=48, changes=(17_424,)),
        Spec(
            "covertype_100k",
            covertype,
            week=1_000,
            history=12_000,
            window=500,
            delay=143,
            changes=(15_120,),
            judge=0.25,
        ),
        # ten frames of one approach follow each other
        Spec(
            "outdoor_objects",
            outdoor,
            week=200,
            history=800,
            window=100,
            delay=28,
            judge=0.3,
            exchangeable=True,
            together=10,
            epochs=40,
        ),
        Spec(
            "keystroke",
            keystroke,
            week=100,
            history=400,
            window=50,
            delay=14,
            judge=0.3,
            exchangeable=True,
            epochs=40,
        ),
        Spec(
            "sea_concepts",
            sea,
            week=2_000,
            history=5_000,
            window=1_000,
            delay=286,
            changes=(12_500, 25_000, 37_500),
            judge=0.3,
            exchangeable=True,
        ),
        # a day of the week has about 500 rows
        Spec("airlines", airlines, week=3_500, history=42_000, window=1_750, delay=500, judge=0.25, epochs=6),
    )
}


def declared(spec: Spec, columns: dict[str, Column]) -> Project:
    """Declare a stream as anybody would: nothing here was tried on the last third."""
    return Project(
        name=spec.name,
        task="classification",
        schema=Schema(columns=columns, target="class", key="key", time="time", entity="group"),
        source=list,
        model=Model(network="mlp", options={"hidden": (64, 32)}),
        training=Training(
            epochs=spec.epochs,
            batch_size=128,
            learning_rate=3e-3,
            patience=3,
            rows="sliding",
            newest=min(LEARNED * spec.week, 10_000),
        ),
        labels=Labels(delay=spec.step * spec.delay),
        evaluation=Evaluation(judge=spec.judge, anchor=0.0, exchangeable=spec.exchangeable),
        gates=Gates(anchor_rows=0, baseline=False),
        monitors=Monitors(window=Window(span=spec.step * spec.window), k=2, n=3, minimum_rows=30),
        governor=Governor(promote="auto", cooldown=WEEK, minimum_labels=spec.week),
    )


def replay(spec: Spec, folder: Path, policies: tuple[str, ...]) -> Result:
    """Run one stream's backtest."""
    columns, rows = spec.table(folder)
    count = len(rows["class"])
    begin, step = np.datetime64(BEGIN.replace(tzinfo=None), "us"), np.timedelta64(round(spec.step / MICRO), "us")
    rows["time"] = begin + np.arange(count) * step
    rows["key"] = np.array([f"r{i:07d}" for i in range(count)], dtype=object)
    rows["group"] = np.array([f"g{i // spec.together:07d}" for i in range(count)], dtype=object)
    project = declared(spec, columns)
    since = BEGIN + spec.step * spec.history
    shown = [time.monotonic()]

    def progress(_share: float, what: str) -> None:
        if time.monotonic() - shown[0] > 20:
            shown[0] = time.monotonic()
            print(f"  {what}", file=sys.stderr, flush=True)

    stream = stream_of(project, rows)
    return backtest(
        Settings(threads=1), stream, Path(__file__), named(policies), since=since, week=WEEK, progress=progress
    )


MICRO = timedelta(microseconds=1)
END = 10**9  # a row that no stream has


def row_of(spec: Spec, moment: str) -> int:
    """Return the row that comes at a time of the replay."""
    return int((datetime.fromisoformat(moment) - BEGIN) / spec.step)


def told(spec: Spec, result: Result) -> str:
    """Return a stream's lines of the report."""
    found = facts(result)
    opened = [row_of(spec, one["opened"]) for one in found["incidents"]]
    lines = [
        f"{spec.name}: {found['rows']:,} rows replayed after {spec.history:,}; window {spec.window}, labels after "
        f"{spec.delay}, a week is {spec.week} rows; chosen: {result.arms[0].name}"
    ]
    lines += [
        f"  tried {one['name']}: {one['metric']} with {one['retrainings']}{one['why']}" for one in found["policies"]
    ]
    for arm in found["arms"]:
        value, last, lift, late_lift, runs, late, minutes = list(arm.values())[1:]
        lines.append(
            f"  {arm['arm']:15} {value:.3f} (last third {last:.3f}), lift {lift:+.3f} ({late_lift:+.3f}), "
            f"{runs} retrainings ({late}), {minutes} min"
        )
    ends = [*spec.changes, END][1:] if spec.changes else []
    for change, end in zip(spec.changes, ends, strict=True):
        after = [row - change for row in opened if change <= row < end]
        lines.append(f"  change at row {change}: " + (f"an incident after {after[0]} rows" if after else "no incident"))
    if spec.changes:
        lines.append(f"  incidents before the first change: {sum(row < spec.changes[0] for row in opened)}")
    kinds = ", ".join(f"{one['kind']}@{row}" for one, row in zip(found["incidents"], opened, strict=True))
    lines.append(f"  incidents: {kinds or 'none'}")
    lines.append(
        "  retrainings: " + ", ".join(f"{one['outcome']}@{row_of(spec, one['at'])}" for one in found["retrainings"])
    )
    lines.append(f"  verdicts: {found['outcomes']}")
    return "\n".join([*lines, f"  {sentence(result)}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", nargs="*", default=list(SPECS), choices=[*SPECS, []])
    parser.add_argument("--policies", default=",".join(POLICIES))
    asked = parser.parse_args()
    folder = os.environ.get("HOLDFAST_DATASETS")
    if not folder:
        sys.exit("set HOLDFAST_DATASETS to the folder with the data sets")
    for name in asked.streams or SPECS:
        began, spent = time.perf_counter(), time.process_time()
        result = replay(SPECS[name], Path(folder), tuple(asked.policies.split(",")))
        print(told(SPECS[name], result), flush=True)
        print(f"  {time.perf_counter() - began:.0f} s, {time.process_time() - spent:.0f} s of CPU\n", flush=True)


if __name__ == "__main__":
    main()
