"""The sentences and numbers of a card, as plain text: Markdown and HTML escape them their own way."""

import math
import re
from collections.abc import Mapping
from typing import Any

from data.wording import significant
from models.metrics import HIGHER_IS_BETTER

FACTS = {
    "snapshot": "data snapshot",
    "snapshot_rows": "rows of the snapshot",
    "code": "sources, sha256 of code.tar",
    "revision": "revision of the sources",
    "project_revision": "revision of the project file",
    "lock": "sha256 of requirements.lock",
    "seed": "seed",
    "dealt": "rows were dealt out by",
    "weights": "sha256 of the weights",
    "manifest": "sha256 of the version's manifest",
    "device": "device",
    "torch": "torch",
    "python": "Python",
    "threads": "threads",
    "instructions": "CPU instruction set",
    "cpu": "CPU",
    "cpu_flags": "hash of the CPU's flags",
    "platform": "platform",
    "packages": "sha256 of the installed packages",
    "deterministic": "deterministic settings",
    "tuning": "tuning variables",
    "snapshot_sha256": "sha256 of the snapshot",
    "start": "what it started from",
    "plan": "sha256 of plan.json",
    "rows.train": "sha256 of the training rows",
    "rows.judge": "sha256 of the judge rows",
    "rows.anchor": "sha256 of the anchor rows",
    "project": "project",
}
"""What is needed to make a version again, in people's words, in the order in which they ask."""

KEPT = dict(list(FACTS.items())[:8])
"""The part of it that a page of a few thousand characters holds."""


def ordered(found: Mapping[str, Any]) -> list[str]:
    """Return the metrics' names, the deciding one first."""
    return sorted(found.get("judge", {}), key=lambda name: (name != found.get("metric"), name))


def baselines(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the baselines that were measured, by name: trivial, linear, tree."""
    known = {**found.get("baselines", {})}
    if "baseline" in found:
        known = {"trivial": found["baseline"], **known}
    return {name: value for name, value in known.items() if value is not None}


def unshown(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the baselines that no table of their own shows: cards of earlier releases have none."""
    return {} if found.get("beside") else baselines(found)


def worst_first(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the slices, those with the worst value first; one without a number is the worst."""
    errors = not HIGHER_IS_BETTER.get(str(found.get("metric")), True)

    def place(one: Mapping[str, Any]) -> float:
        value = one.get("value")
        if not isinstance(value, int | float) or not math.isfinite(value):
            return -math.inf
        return -float(value) if errors else float(value)

    return sorted(found.get("slices", []), key=place)


def learned(training: Mapping[str, Any]) -> str:
    """Say how long it learned and what the losses came to."""
    if not training:
        return ""
    said = f"{training.get('epochs', 0)} epochs"
    if training.get("best_epoch") is not None:
        said += f" in {training.get('seconds') or 0:.0f} s; best validation loss {number(training.get('best_loss'))}"
        said += f" in epoch {training['best_epoch']}"
    if training.get("learned"):
        said += f"; learned from {training['learned']}"
    start = training.get("start") or {}
    if start.get("from", "scratch") != "scratch" or start.get("why"):
        said += f"; started from {start['from']}" + (f", for {start['why']}" if start.get("why") else "")
    return f"{said}."


def contestants(training: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the contestants it was chosen from: name, value on the earlier rows that chose, and which one trained."""
    return [
        (
            str(one.get("contestant")),
            number(one.get("value")) or str(one.get("why", "")),
            "trained" if one.get("won") else "",
        )
        for one in training.get("tournament") or []
    ]


def answers(card: Mapping[str, Any]) -> list[str]:
    """Say what answers, how fast, how large, and how far it is from the network that was trained."""
    found, said = card.get("quality", {}), []
    difference, worker = (card.get("training", {}).get(name) for name in ("difference", "worker"))
    if worker:
        said.append(served_by_torch(worker, found))
    elif difference is not None:
        said.append(f"What answers is the ONNX export; torch differs from it by {number(difference)} at most.")
    cutoff = card.get("training", {}).get("cutoff")
    if cutoff:
        said.append(
            f"It answers {cutoff['level']} from a probability of {number(cutoff['at'])} on, chosen on validation rows "
            f"by {cutoff['why']}; accuracy, precision, recall and the matrix are of these answers."
        )
    if found.get("latency_ms") is not None:
        said.append(f"95 of 100 single rows were answered within {latency(found)} where it was trained.")
    if found.get("size_mb") is not None:
        said.append(f"Its files are {size(found)}.")
    return said


def served_by_torch(why: str, found: Mapping[str, Any]) -> str:
    """Say that a torch worker answers, how fast where that was measured, and why."""
    pace = f", {latency(found)} a row" if found.get("latency_ms") is not None else ""
    return f"Served by a torch worker{pace}, instead of the ONNX export, because {why}."


def latency(found: Mapping[str, Any]) -> str:
    """Write the latency, where it was measured."""
    value = found.get("latency_ms")
    return f"{significant(value, 2)} ms" if isinstance(value, int | float) else number(value)


def size(found: Mapping[str, Any]) -> str:
    """Write the size of a version's files, where it is known."""
    value = found.get("size_mb")
    if not isinstance(value, int | float):
        return number(value)
    return f"{significant(value, 3)} MB" if value >= 0.1 else f"{significant(value * 1000, 3)} kB"


def first_line(card: Mapping[str, Any]) -> str:
    """Say what a version's page says first: its verdict, or that it serves in spite of it."""
    verdict = str((card.get("verdict") or {}).get("sentence") or "")
    now = [one for one in card.get("generations", []) if one.get("until") is None]
    if not now or not (now[-1].get("waived") or now[-1].get("rollback")):
        return verdict
    one = now[-1]
    how = "by a rollback, " if one.get("rollback") else ""
    how += f"waived: {', '.join(one['waived'])}, " if one.get("waived") else ""
    said = f"CHAMPION since {when(one['since'])} (generation {one['generation']}), {how}by {one['by']}: {one['why']}"
    return f"{said}; its verdict was {verdict}" if verdict else said


def serving(card: Mapping[str, Any]) -> list[str]:
    """Say which generations a version was, the newest first."""
    lines, sentence = [], (card.get("verdict") or {}).get("sentence")
    for one in reversed(card.get("generations", [])):
        until = f" until {when(one['until'])}" if one.get("until") else ", and serves now"
        waived = f"; waived: {', '.join(one['waived'])}" if one.get("waived") else ""
        back = ", by a rollback" if one.get("rollback") else ""
        why = "its verdict" if one["why"] == sentence else one["why"]
        since = f"Generation {one['generation']} since {when(one['since'])}"
        lines.append(f"{since}{until}{back}; by {one['by']}: {why}{waived}")
    return lines


def worth(card: Mapping[str, Any]) -> list[str]:
    """Say what its promotion or refusal turned out to be worth, once the rows logged since have settled it."""
    return [f"{one['sentence']}." for one in card.get("receipts", [])]


def origin(known: Mapping[str, Any]) -> str:
    """Say which rows are the reference, and how many."""
    rows, whose = known.get("rows", 0), known.get("origin") or "rows that it was judged to fit"
    return (
        f"{rows:,} rows: {whose}. Outputs count on the {known.get('held_out', 0):,} rows that it did not learn from; "
        f"{known.get('columns', 0)} columns are watched."
    )


def thresholds(known: Mapping[str, Any]) -> str:
    """Say how often an unchanged window is called drift."""
    found = known.get("calibration")
    if not found:
        return (
            f"At most {number(known.get('asked'))} false incidents a quarter are asked for; windows bring thresholds."
        )
    if not found.get("supported", True):
        return f"Its history is shorter than two windows of {found['rows']:,} rows: no budget can be held."
    return f"Windows of {found['rows']:,} rows: score above {number(found['threshold'])} is drift; {found['basis']}."


def when(moment: str) -> str:
    """Write an ISO time for people, in UTC."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def bounded(numbers: Mapping[str, Any]) -> str:
    """Write a metric with its bounds, as far as they are known."""
    if numbers.get("value") is None:
        return ""
    said = number(numbers["value"])
    known = numbers.get("low") is not None and numbers.get("high") is not None
    return f"{said} [{number(numbers['low'])}, {number(numbers['high'])}]" if known else said


def unnamed(gate: Mapping[str, Any]) -> str:
    """Return a gate's sentence without the gate's own name before it."""
    return str(gate.get("sentence", "")).removeprefix(f"{gate.get('gate')}: ")


def score(found: Mapping[str, Any]) -> str:
    """Write the deciding metric as one line: accuracy 0.971 [0.955, 0.982]. Empty where it was not measured."""
    numbers = found.get("judge", {}).get(found.get("metric"), {})
    return f"{found['metric']} {bounded(numbers)}" if bounded(numbers) else ""


def scored(text: str) -> dict[str, Any]:
    """Read what `score` wrote: `metric`, `value`, `low`, `high`, each None where it doesn't stand there."""
    real = r"(-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf)|nan)"
    found = re.fullmatch(rf"(\w+) {real}(?: \[{real}, {real}\])?", text)
    metric, *ends = found.groups() if found else (None,) * 4
    return {
        "metric": metric,
        **{name: None if end is None else float(end) for name, end in zip(("value", "low", "high"), ends, strict=True)},
    }


def number(value: Any) -> str:
    """Write a number for people, with the four digits that they read; what is none as it stands."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return significant(value) if math.isfinite(value) else str(value)


def cell(value: object) -> str:
    """Write a gate's number, name or interval; a dash where it has none."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(cell, value))}]"
    return "-" if value is None else number(value)


def quotable(value: object) -> str:
    """Return text that can stand between backticks."""
    return re.sub(r"[^\w.:/@+ -]", "", str(value))
