"""How many false incidents a quarter the thresholds let through, and which changes they show.

    python bench/false_alarms.py [--references 40] [--seasonal 12]

Each reference is followed for a whole quarter of labelled windows, through the functions that judge in production; an
incident of any kind counts. The interval is over references, not windows: all windows of one reference share its luck.
Nineteen numbers, a source, and the answer of a champion whose errors depend on the truth; its reference's newest
quarter was held out. Windows are judged as soon as they are over, all rows labelled.
"""

import argparse
import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from data.schema import Category, Column, Number, Rows
from monitoring.answers import Answers
from monitoring.binning import count
from monitoring.budget import QUARTER
from monitoring.calibration import Calibration, calibration_for
from monitoring.concept import LONGEST
from monitoring.declarations import Governor, Monitors, Window
from monitoring.evidence import INFORMATIVE, Setting
from monitoring.governor import Circumstances
from monitoring.incidents import effects
from monitoring.records import Check, Incident, Verdict, WindowKey
from monitoring.reference import Reference, build, losses_of
from monitoring.statistics import SMALL, components, effect, score
from monitoring.verdicts import Around, judge_data, judge_performance

NUMBERS = [f"n{i}" for i in range(19)]
CLASSES = np.array(["a", "b", "c", "d"], dtype=object)
WIDTH = 22  # drawn: the numbers, the source, the truth, and what the champion mistakes
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
SHIFTS = (0.25, 0.5, 1.0)  # standard deviations of one number
MOVED = 0.2  # of the answers, from other classes to the first
WORSE = (0.5, 1.0)  # times the increase of the loss that was announced as seen
HELD_OUT = 0.25
World = Callable[[int, np.random.Generator], np.ndarray]
Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Case:
    """A world, how many of its rows are the reference, and how windows are cut and judged."""

    name: str
    world: World
    known: int
    rows: int
    monitors: Monitors
    step: timedelta
    exchangeable: bool = True
    task: Task = "classification"

    @property
    def windows(self) -> int:
        """Windows of a quarter."""
        return round(QUARTER / (self.rows * self.step))

    @property
    def columns(self) -> dict[str, Column]:
        """What is watched."""
        answer = Number() if self.task == "regression" else Category(levels=tuple(CLASSES))
        return {**dict.fromkeys(NUMBERS, Number()), "source": Category(levels=tuple(CLASSES)), "prediction": answer}

    def start(self, window: int) -> datetime:
        """When a window begins."""
        return BEGIN + (self.known + window * self.rows) * self.step


def independent(rows: int, rng: np.random.Generator, correlation: float = 0.0) -> np.ndarray:
    """Rows that know nothing of each other, columns that share a part of their variance."""
    shared = rng.normal(size=(rows, 1)) * math.sqrt(correlation)
    return shared + rng.normal(size=(rows, WIDTH)) * math.sqrt(1 - correlation)


def seasonal(rows: int, rng: np.random.Generator, a_day: int, memory: float) -> np.ndarray:
    """Rows with a daily cycle, other weekends, and noise of which half hangs together from row to row: an AR(1)."""
    at = np.arange(rows)[:, None]
    cycles = np.sin(2 * np.pi * at / a_day) + 0.7 * ((at // a_day) % 7 >= 5)
    return cycles + 0.7 * remembered(rng.normal, rows, memory) + 0.7 * rng.normal(size=(rows, WIDTH))


def commuting(rows: int, rng: np.random.Generator, a_day: int) -> np.ndarray:
    """Rows of a world that no threshold was tuned on: two peaks on working days, a hump at weekends.

    Each column has its own height of them; noise is wider at the peaks, has heavy tails (Student's t, 5) and three
    memories: of an hour, three hours, and nine.
    """
    at = np.arange(rows)[:, None]
    hour, working = 24 * (at % a_day) / a_day, (at // a_day) % 7 < 5
    peaks = np.exp(-(((hour - 8) / 1.5) ** 2)) + np.exp(-(((hour - 17.5) / 2) ** 2))
    level = np.where(working, peaks, 0.7 * np.exp(-(((hour - 14) / 4) ** 2)))

    def heavy(size: tuple[int, int]) -> np.ndarray:
        return rng.standard_t(5, size) / math.sqrt(5 / 3)

    noise = sum(remembered(heavy, rows, math.exp(-24 / a_day / hours)) for hours in (1, 3, 9)) / math.sqrt(3)
    return rng.uniform(0.5, 2, WIDTH) * level + noise * (0.6 + 0.6 * level)


def remembered(draw: Callable[..., np.ndarray], rows: int, memory: float) -> np.ndarray:
    """Return noise of unit variance whose neighbours are correlated by `memory`."""
    from scipy.signal import lfilter

    warm = int(20 / (1 - memory))
    drawn = draw(size=(rows + warm, WIDTH))
    return np.asarray(lfilter([math.sqrt(1 - memory**2)], [1, -memory], drawn, axis=0)[warm:])


def named(values: np.ndarray, task: Task) -> Rows:
    """Give the columns their names. The champion errs by the truth: near a border of classes, on far-out values."""
    truth, mistaken = values[:, 20], values[:, 21]
    seen = truth + (0.2 * mistaken if task == "classification" else 0.3 * mistaken * (1 + np.abs(truth)))
    rows: Rows = {name: values[:, index] for index, name in enumerate(NUMBERS)}
    rows["source"] = levels(values[:, 19])
    if task == "regression":
        return {**rows, "prediction": seen, "truth": truth}
    return {**rows, "prediction": levels(seen), "truth": levels(truth)}


def levels(values: np.ndarray) -> np.ndarray:
    """Return one of four classes for each value."""
    return CLASSES[np.digitize(values, (-0.7, 0.0, 0.7))]


def part(rows: Rows, first: int, last: int) -> Rows:
    """Take rows from `first` up to `last`."""
    return {name: values[first:last] for name, values in rows.items()}


def losses(rows: Rows, task: Task) -> np.ndarray:
    """Return how wrong the champion is."""
    return losses_of(rows["truth"], rows["prediction"], task)


@dataclass
class Book:
    """The incidents of one project, as the store keeps them."""

    monitors: Monitors
    opened: int = 0
    open_ones: list[Incident] = field(default_factory=list)
    recent: dict[Check, deque[Verdict]] = field(default_factory=dict)

    def take(self, verdict: Verdict) -> None:
        """Let a verdict have its effects."""
        before = [one for of in self.recent.values() for one in of]
        met = Setting(self.monitors, Governor(retrain="off"), Circumstances(BEGIN), before, self.open_ones, (), BEGIN)
        found = effects(verdict, met)
        gone = {number for number, _ in found.closed}
        self.open_ones = [one for one in self.open_ones if one.id not in gone]
        new = found.opened
        if new and not any(one.kind in (new.kind, *new.beside) for one in self.open_ones):
            self.opened += 1
            self.open_ones.append(Incident(self.opened, "bench", new.kind, 1, BEGIN, new.reason, new.detail))
        if verdict.outcome in INFORMATIVE:
            self.recent.setdefault(verdict.check, deque(maxlen=self.monitors.n)).append(verdict)


@dataclass(frozen=True)
class Quarter:
    """What one reference's quarter showed.

    `incidents` and `alarms` (shares of windows): of drift, of performance, and of both; the last of the alarms is a
    rise of errors over many windows (ADWIN's). `sigma`, `share`, `loss`: announced as seen; `seen`: how often changes
    opened an incident within N windows, of SHIFTS, MOVED, and WORSE.
    """

    incidents: tuple[int, int, int]
    alarms: tuple[float, float, float]
    supported: float
    sigma: float
    share: float
    loss: float
    seen: tuple[float, ...]


@dataclass(frozen=True)
class Life:
    """A reference and the windows of the quarter after it."""

    case: Case
    reference: Reference
    windows: list[Rows]
    errors: np.ndarray  # (windows, rows)

    def data(self, index: int) -> Verdict:
        """Judge a window's rows."""
        return judge_data(self.reference, self.windows[index], self.case.monitors, self.key(index))

    def performance(self, index: int, rows: Rows, before: np.ndarray, data: Verdict | None = None) -> Verdict:
        """Judge a window's answers, which are those of `rows`, after the losses `before`."""
        sure = None if self.case.task == "regression" else np.ones(self.case.rows)
        answers = Answers(rows["prediction"], sure, labels=rows["truth"].astype(object))
        around = Around(slices={"source": rows["source"]}, losses=before[-LONGEST:])
        return judge_performance(self.reference, answers, self.case.monitors, self.key(index), data, around)

    def key(self, index: int) -> WindowKey:
        """Return a window's key."""
        return WindowKey("bench", 1, index, self.case.start(index), self.case.start(index + 1))


def live(case: Case, seed: int) -> Life:
    """Make one reference, and the quarter after it."""
    rng = np.random.default_rng([case.known, case.rows, seed])
    stream = named(case.world(case.known + case.windows * case.rows, rng), case.task)
    known, held_out = part(stream, 0, case.known), np.arange(case.known) >= (1 - HELD_OUT) * case.known
    reference = build(
        case.columns,
        known,
        held_out=held_out,
        losses=losses(known, case.task)[held_out],
        task=case.task,
        exchangeable=case.exchangeable,
        seed=seed,
        times=np.datetime64(BEGIN.replace(tzinfo=None), "us") + np.arange(case.known) * np.timedelta64(case.step),
        rows_a_quarter=QUARTER / case.step,
    )
    windows = [
        part(stream, *(case.known + (index + end) * case.rows for end in (0, 1))) for index in range(case.windows)
    ]
    return Life(case, reference, windows, np.array([losses(window, case.task) for window in windows]))


def follow(case: Case, seed: int) -> Quarter:
    """Judge a quarter of windows after one reference, and then the same with changes put into them."""
    life = live(case, seed)
    drift, performance, both = books = [Book(case.monitors) for _ in range(3)]
    announced, alarmed = [], np.zeros(3)
    for index, window in enumerate(life.windows):
        data = life.data(index)
        answers = life.performance(index, window, life.errors[:index].ravel(), data)
        for book, verdicts in ((drift, [data]), (performance, [answers]), (both, [data, answers])):
            for verdict in verdicts:
                book.take(verdict)
        alarmed += [data.outcome == "drift", answers.outcome == "degraded", "concept" in answers.detail]
        announced.append(answers.detail.get("detectable", math.inf))
    rules = calibration_for(life.reference, case.rows, case.monitors, case.start(0))
    sizes = {name: found.size or math.inf for name, found in rules.detectable.items()}
    seen = [drift_power(life, change) for change in changes(life.reference)]
    loss = statistics.median(announced)
    seen += [loss_power(life, times * loss, np.random.default_rng(seed)) for times in WORSE]
    return Quarter(
        tuple(book.opened for book in books),
        tuple(alarmed / case.windows),
        rules.budget.supported,
        statistics.median(sizes[name] for name in NUMBERS),
        sizes["prediction"],
        loss,
        tuple(seen),
    )


def changes(reference: Reference) -> list[Callable[[Rows], Rows]]:
    """Return shifts of one number, each by a share of its spread, and a shift of the answers."""
    spread = reference.moments["n7"][1]

    def shifted(size: float) -> Callable[[Rows], Rows]:
        return lambda rows: {**rows, "n7": rows["n7"] + size * spread}

    def moved(rows: Rows) -> Rows:
        answers = rows["prediction"].copy()
        answers[:: round(1 / MOVED)] = CLASSES[0] if reference.task == "classification" else answers.min()
        return {**rows, "prediction": answers}

    return [*map(shifted, SHIFTS), moved]


def places(case: Case) -> range:
    """Return windows in which a change may begin."""
    return range(0, case.windows - case.monitors.n, max(case.windows // 8, case.monitors.n))


def drift_power(life: Life, change: Callable[[Rows], Rows]) -> float:
    """Return in which share of places a change that begins there opens an incident within N windows."""
    case, opened = life.case, []
    for place in places(case):
        seen = []
        for index in range(place, place + case.monitors.n):
            rules = calibration_for(life.reference, case.rows, case.monitors, case.start(index))
            seen.append(alarms(life.reference, rules, change(life.windows[index])))
        opened.append(sum(seen) >= case.monitors.k)
    return statistics.mean(opened)


def alarms(reference: Reference, found: Calibration, window: Rows) -> bool:
    """Tell whether any column changed, as `judge_data` does, without its words."""
    for name in reference.watched:
        binning, before = reference.binnings[name], found.known[name]
        now = count(binning, window[name])
        size = float(effect(before, now, binning.ordered))
        if size >= SMALL and found.drifted(
            name, float(score(components(before, now, binning.ordered), found.nulls[name])), size
        ):
            return True
    return False


def loss_power(life: Life, more: float, rng: np.random.Generator) -> float:
    """Return the same for answers whose mean loss is higher by `more`."""
    case, usual, opened = life.case, float(life.errors.mean()), []
    if not math.isfinite(more):
        return 0.0
    for place in places(case):
        before, seen = life.errors[:place].ravel(), 0
        for index in range(place, place + case.monitors.n):
            rows = worse(life.windows[index], case.task, usual, more, rng)
            seen += life.performance(index, rows, before).outcome in ("degraded", "fault")
            before = np.concatenate([before, losses(rows, case.task)])
        opened.append(seen >= case.monitors.k)
    return statistics.mean(opened)


def worse(rows: Rows, task: Task, usual: float, more: float, rng: np.random.Generator) -> Rows:
    """Return answers whose mean loss, usually `usual`, is higher by `more`: more wrong ones, or all off by more."""
    truth = rows["truth"]
    if task == "regression":
        return {**rows, "prediction": truth + (rows["prediction"] - truth) * (1 + more / usual)}
    wrong = rng.random(len(truth)) < more / (1 - usual)
    others = CLASSES[(np.searchsorted(CLASSES.astype(str), truth.astype(str)) + 1) % len(CLASSES)]
    return {**rows, "prediction": np.where(wrong & (rows["prediction"] == truth), others, rows["prediction"])}


def cases() -> list[tuple[Case, bool]]:
    """Return the cases, and whether each is seasonal."""
    day, hour = timedelta(days=1), timedelta(hours=1)
    daily, hourly = Monitors(window=Window(span=day)), Monitors(window=Window(span=hour))
    sizes = ((360, 200), (1000, 50), (1000, 200), (5000, 200), (5000, 1000))
    plain = [Case("independent, daily", independent, known, rows, daily, day / rows) for known, rows in sizes]
    usual = plain[2]
    plain += [
        replace(usual, name="  numbers answered", task="regression"),
        replace(usual, name="  columns correlated 0.8", world=lambda rows, rng: independent(rows, rng, 0.8)),
        replace(usual, name="  1 of 1 windows", monitors=replace(daily, k=1, n=1)),
        Case("independent, hourly", independent, 5000, 60, hourly, hour / 60),
    ]
    in_time = [
        Case(f"seasonal, daily, {days} days", quarter_hours, days * 96, 96, daily, day / 96, exchangeable=False)
        for days in (28, 56, 112)
    ]
    usual = in_time[1]
    in_time += [
        replace(usual, name="  numbers answered", task="regression"),
        replace(usual, name="  declared exchangeable", exchangeable=True),
        replace(usual, name="  noise of 8 hours", world=lambda rows, rng: seasonal(rows, rng, 96, 0.97)),
    ]
    in_time += [
        Case(f"seasonal, hourly, {days} days", minutes, days * 1440, 60, hourly, hour / 60, exchangeable=False)
        for days in (28, 56)
    ]
    other = replace(usual, name="commuting, daily, 56 days", world=lambda rows, rng: commuting(rows, rng, 96))
    in_time += [other, replace(other, name="  numbers answered ", task="regression")]
    in_time += [replace(other, name="  declared exchangeable ", exchangeable=True)]
    in_time += [
        replace(in_time[7], name="commuting, hourly, 56 days", world=lambda rows, rng: commuting(rows, rng, 1440))
    ]
    return [(case, False) for case in plain] + [(case, True) for case in in_time]


def quarter_hours(rows: int, rng: np.random.Generator) -> np.ndarray:
    """A row each quarter of an hour; noise is remembered for about two and a half hours."""
    return seasonal(rows, rng, 96, 0.9)


def minutes(rows: int, rng: np.random.Generator) -> np.ndarray:
    """A row a minute; noise is remembered for about ten minutes."""
    return seasonal(rows, rng, 1440, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=40, help="of rows that are independent")
    parser.add_argument("--seasonal", type=int, default=12, help="references of rows that are not")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    asked = parser.parse_args()
    print("1 false incident a quarter asked, by 2 of 3 windows unless said; 21 columns; power within 3 windows")
    sizes = ", ".join(f"{size:g}" for size in SHIFTS)
    print(
        f"{'':25} reference  rows  n  stated | false incidents: drift   performance          both (worst) | windows"
        f" alarming: drift, performance, ADWIN | announced: seen at {sizes} sigma"
        f" | announced: seen at {MOVED:.0%} of answers moved | announced loss: seen at half of it, at it"
    )
    for case, in_time in cases():
        if asked.only in case.name:
            many = asked.seasonal if in_time else asked.references
            print(line(case, [follow(case, seed) for seed in range(many)]), flush=True)


def line(case: Case, found: list[Quarter]) -> str:
    """Return a case's line of the table."""
    opened = [[one.incidents[book] for one in found] for book in range(3)]
    alarmed = [statistics.mean(one.alarms[check] for one in found) for check in range(3)]
    seen = [f"{statistics.mean(one.seen[i] for one in found):4.0%}" for i in range(len(found[0].seen))]
    sigma, share, loss = (statistics.median(getattr(one, what) for one in found) for what in ("sigma", "share", "loss"))
    stated = statistics.mean(one.supported for one in found)
    return (
        f"{case.name:25} {case.known:8} {case.rows:6} {len(found):3} {stated:6.2f}"
        f" | {'  '.join(map(mean, opened))} ({max(opened[2])}) | {' '.join(f'{one:7.2%}' for one in alarmed)}"
        f" | {sigma:.2f}: {' '.join(seen[:3])} | {share:.0%}: {seen[3]} | {loss:.3f}: {' '.join(seen[4:])}"
    )


def mean(opened: list[int]) -> str:
    """Return a mean over references and its interval; none seen in R of them leaves up to 3 / R."""
    error = max(1.96 * statistics.stdev(opened) / math.sqrt(len(opened)), 3 / len(opened) if not any(opened) else 0)
    return f"{statistics.mean(opened):5.2f} +- {error:4.2f}"


if __name__ == "__main__":
    main()
