"""A version on trial beside the champion, compared on what both have answered so far.

An interval is looked at again and again while rows come in, so its ends are those of 1 % each, not of 5 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np

from data.packing import unpack_rows
from models.comparison import Sample, gain, sample
from models.metrics import CONFUSED, HIGHER_IS_BETTER, bounds, value
from models.outputs import as_classes, forecasts
from models.resampling import Interval
from monitoring.records import Truth
from monitoring.store.trials import Trial
from monitoring.tally import Side, Tally
from tasks.observing import logged_schema, truth_of
from tasks.resources import Resources

LATEST = 5_000  # labelled rows that are looked at
AGREEING = 1_000  # rows for the share that agrees
TAIL = 0.01
NOTICED = 0.002  # seconds; a version slower by less than this is behind in nothing that matters
SPREAD = 0.05  # two numbers agree within this share of the standard deviation of the champion's

Output = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """Labelled answers of one version, N of them."""

    outputs: Sequence[Output]
    truth: np.ndarray
    blocks: np.ndarray  # the rows' entities

    @property
    def values(self) -> np.ndarray:
        """Probabilities (N, K) in the order of `levels`, or numbers (N, 1), of a forecast (N, steps * channels)."""
        if not self.levels:
            return numbers(self.outputs)
        return np.array([[one["probabilities"].get(level, 0.0) for level in self.levels] for one in self.outputs])

    def valued(self, metric: str) -> np.ndarray:
        """Return what the metric is of: probabilities or numbers, or what was answered where only that counts."""
        if not self.levels or not (metric == "accuracy" or metric in CONFUSED):
            return self.values
        return np.array([[float(one["class"] == level) for level in self.levels] for one in self.outputs])

    @property
    def levels(self) -> tuple[str, ...]:
        """The classes, none for a number."""
        return tuple(self.outputs[0].get("probabilities", ())) if self.outputs else ()


@dataclass(frozen=True)
class Realised:
    """The project's metric on labelled rows. `gain` is above 0 where the version on trial is better."""

    metric: str
    champion: float
    challenger: float
    gain: float
    low: float
    high: float
    rows: int  # of the version that has fewer


def compare(resources: Resources, trial: Trial) -> dict[str, Any]:
    """Return what both did so far in plain JSON values; `behind` says in words where the margins are passed."""
    tally, margins = Tally.from_json(trial.measured), trial.margins
    times, agreed, realised = tally.latencies(), agreement(resources, trial), metric(resources, trial)
    found: dict[str, Any] = {
        "rows": {"champion": tally.champion.rows, "challenger": tally.challenger.rows},
        "failed": {"champion": tally.champion.failed, "challenger": tally.challenger.failed},
        "dropped": tally.dropped,
        "p95_ms": None,
        "agreement": agreed,
        "metric": None if realised is None else asdict(realised),
    }
    if times is not None:
        found["p95_ms"] = {"champion": 1e3 * times[0], "challenger": 1e3 * times[1], "calls": times[2]}
    said = [errors_behind(tally.champion, tally.challenger, margins), metric_behind(realised, margins)]
    if times is not None and min(tally.champion.rows, tally.challenger.rows) >= margins["minimum_rows"]:
        said.append(latency_behind(times[0], times[1], margins))
    return {**found, "behind": [one for one in said if one]}


def errors_behind(champion: Side, challenger: Side, margins: Mapping[str, Any]) -> str:
    """Say that it is shown to fail more rows than the margin allows; however few there were, if that shows it."""
    from scipy.stats import beta

    failed, rows = challenger.failed, challenger.rows
    if not failed:
        return ""
    usual = champion.failed / champion.rows if champion.rows else 0.0
    least = float(beta.ppf(TAIL, failed, rows - failed + 1))  # Clopper and Pearson's
    if not least > usual + margins["error_margin"]:
        return ""
    return f"it failed {failed} of {rows} rows, the champion {usual:.2%}; the margin is {margins['error_margin']:.2%}"


def latency_behind(usual: float, its: float, margins: Mapping[str, Any]) -> str:
    """Say that it takes longer than the margin allows."""
    if its <= margins["latency_margin"] * usual or its - usual <= NOTICED:
        return ""
    return (
        f"95 of 100 answers take it {1e3 * its:.1f} ms, the champion {1e3 * usual:.1f} ms; "
        f"the margin is {margins['latency_margin']:g} times"
    )


def metric_behind(found: Realised | None, margins: Mapping[str, Any]) -> str:
    """Say that its metric is shown to be worse by more than the margin."""
    if found is None or found.rows < margins["minimum_rows"]:
        return ""
    if not (isfinite(found.high) and found.high < -margins["metric_margin"]):
        return ""
    return (
        f"{found.metric} {found.challenger:.4g} against the champion's {found.champion:.4g} on {found.rows} labelled "
        f"rows: worse by {-found.gain:.4g} [{-found.high:.4g}, {-found.low:.4g}]; "
        f"the margin is {margins['metric_margin']:g}"
    )


def agreement(resources: Resources, trial: Trial) -> float | None:
    """Return the share, 0 to 1, of the newest answers in which both gave the same class, or nearly the same numbers."""
    pairs = resources.store.shadows.pairs(trial, AGREEING) if trial.mode == "shadow" else []
    if not pairs:
        return None
    for what in ("class", "anomaly"):
        if what in pairs[0].champion:
            return float(np.mean([one.champion[what] == one.challenger[what] for one in pairs]))
    usual, its = (numbers([getattr(one, who) for one in pairs]) for who in ("champion", "challenger"))
    return float(np.mean(np.abs(its - usual) <= SPREAD * usual.std(axis=0)))


def numbers(outputs: Sequence[Output]) -> np.ndarray:
    """Return predicted numbers (N, 1), or forecasts (N, steps * channels)."""
    if "forecast" in outputs[0]:
        return forecasts(outputs)[0].reshape(len(outputs), -1)
    return np.array([[one["value"]] for one in outputs], dtype=float)


def metric(resources: Resources, trial: Trial) -> Realised | None:
    """Return the project's metric on the newest rows whose labels have come: in the shadow the same rows for both."""
    name = str(trial.margins["metric"])
    champion, challenger = both(resources, trial)
    if not len(champion.outputs) or not len(challenger.outputs):
        return None
    paired = trial.mode == "shadow"
    usual = scored(name, champion, challenger.levels)
    its = scored(name, challenger, champion.levels)
    if paired:
        rows = sample(
            name,
            challenger.truth,
            challenger.blocks,
            candidate=challenger.valued(name),
            champion=champion.valued(name),
            levels=challenger.levels,
            champion_levels=champion.levels,
        )
        assert rows.champion is not None
        found = gain(name, rows, rows.champion, TAIL)
    else:
        found = apart(name, its, usual)
    before, now = (value(name, one.candidate) for one in (usual, its))
    return Realised(name, before, now, found.estimate, found.low, found.high, min(usual.rows, its.rows))


def scored(name: str, one: Answered, others: tuple[str, ...]) -> Sample:
    """Return the parts of a version's metric; `others`: classes that only the other version knows."""
    return sample(name, one.truth, one.blocks, candidate=one.valued(name), levels=one.levels, known=others)


def apart(name: str, its: Sample, usual: Sample) -> Interval:
    """Bound the difference of a metric on rows of two groups, the better the higher.

    Source: Zou & Donner 2008, Construction of confidence limits about effect measures, Statistics in Medicine 27.
    """
    one, other = (bounds(name, group.candidate, group.blocks, TAIL) for group in (its, usual))
    if not HIGHER_IS_BETTER[name]:
        one, other = other, one
    middle = one.estimate - other.estimate
    low = middle - sqrt((one.estimate - one.low) ** 2 + (other.high - other.estimate) ** 2)
    high = middle + sqrt((one.high - one.estimate) ** 2 + (other.estimate - other.low) ** 2)
    return Interval(middle, low, high, one.rows + other.rows, one.blocks + other.blocks)


def both(resources: Resources, trial: Trial) -> tuple[Answered, Answered]:
    """Return the newest labelled answers, the champion's first."""
    if trial.mode == "shadow":
        pairs = resources.store.shadows.pairs(trial, LATEST, labelled=True)
        packed, said = [one.features for one in pairs], [one.label for one in pairs]
        return (
            answers(resources, trial, [one.champion for one in pairs], packed, said),
            answers(resources, trial, [one.challenger for one in pairs], packed, said),
        )
    log = resources.store.predictions
    usual, its = (
        log.newest(trial.project, trial.generation, trial=number, since=trial.started_at, limit=LATEST)
        for number in (0, trial.id)
    )
    first, second = (
        answers(
            resources,
            trial,
            [one.output for one in some],
            [one.features for one in some],
            [one.label for one in some],
        )
        for some in (usual, its)
    )
    return first, second


def answers(
    resources: Resources, trial: Trial, outputs: list[Output], packed: list[bytes], said: Sequence[Truth | None]
) -> Answered:
    """Return answers with their labels and entities."""
    if not outputs:
        return Answered([], np.empty(0), np.empty(0))
    schema = logged_schema(resources, trial.project, trial.generation)
    rows = unpack_rows(schema, packed)
    known = [as_classes(output) for output in outputs]
    return Answered(known, truth_of(schema, said), rows[schema.entity_column])
