"""The page of what every shipped project came to: a pure function of what was found and of what was aimed at."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.card_words import bounded, number
from models.metrics import HIGHER_IS_BETTER

HEAD = """# What every shipped project comes to

Written by `make reference` from [reference.json](reference.json) and `bench/reference_targets.json`; it runs each
project at full size, and a row is repeated by the command that it ends with (with `HOLDFAST_DATASETS` naming a folder
of the data sets, where they can't be fetched). Intervals are of 95 %, over the rows that were asked about. Seconds are
of a whole protocol, baselines included, or of what a script says, on a machine that others used too.

"Reached" is said of the number; "not surely" where its interval reaches to the other side. "Not worse than" a baseline
means that the interval of the difference doesn't lie below nothing.

| project | protocol | metric | value | target | baselines | seconds | machine | command |
|---|---|---|---|---|---|---|---|---|
"""
SIMPLE = ("trivial", "linear", "tree", "boosted")


def page(rows: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of some rows of docs/reference.json, and name the targets that no row answers."""
    table = "".join(line + "\n" for one in rows for line in lines(one, targets))
    known = {(one["project"], one["protocol"], device) for one in rows for device in (one["device"], "")}
    wanted = [(one["project"], one["protocol"], one.get("device", "")) for one in targets]
    left = dict.fromkeys(" ".join(one).rstrip() for one in wanted if one not in known)
    return HEAD + table + (f"\nNot measured yet: {', '.join(left)}.\n" if left else "")


def lines(row: Mapping[str, Any], targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each metric that a target names, or for the one that decides; one that says why it failed."""
    seconds, ends = number(round(row["seconds"])), (row["machine"], f"`{row['command']}`")
    if "failed" in row:
        return [cells(row["project"], row["protocol"], "", f"failed: {row['failed']}", "", "", seconds, *ends)]
    own = [one for one in targets if (one["project"], one["protocol"]) == (row["project"], row["protocol"])]
    own = [one for one in own if one.get("device", row["device"]) == row["device"]]
    given = {one["metric"]: one for one in own}  # the last one holds: what a device has to itself
    return [
        cells(
            row["project"],
            row["protocol"],
            metric,
            bounded(row["metrics"].get(metric, {})),
            aimed(metric, row["metrics"].get(metric, {}), given.get(metric, {})),
            beside(row["metrics"].get(metric, {})),
            seconds,
            *ends,
        )
        for metric in given or [row["metric"]]
    ]


def cells(*values: str) -> str:
    """Return a line of the table."""
    return "| " + " | ".join(" ".join(value.replace("|", "\\|").split()) for value in values) + " |"


def beside(found: Mapping[str, Any]) -> str:
    """Return what simple models come to on the same rows."""
    names = sorted(
        (name for name, one in found.items() if isinstance(one, Mapping)),
        key=lambda name: (SIMPLE.index(name) if name in SIMPLE else len(SIMPLE), name),
    )
    return ", ".join(f"{name} {number(found[name]['value'])}" for name in names if found[name]["value"] is not None)


def aimed(metric: str, found: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """Say what was aimed at, and whether it was reached."""
    parts = []
    if "at_least" in target:
        surely = met(found.get("low"), target["at_least"])
        parts.append((f"at least {number(target['at_least'])}", met(found.get("value"), target["at_least"]), surely))
    if "at_most" in target:
        surely = met(target["at_most"], found.get("high"))
        parts.append((f"at most {number(target['at_most'])}", met(target["at_most"], found.get("value")), surely))
    if "better_than" in target:
        gain, low = gained(metric, found, target["better_than"])
        parts.append((f"better than {target['better_than']}", gain is not None and gain > 0, met(low, 0.0)))
    if "not_below" in target:
        high = found.get(target["not_below"], {}).get("high")
        parts.append((f"not worse than {target['not_below']}", met(high, 0.0), True))
    return "; ".join(f"{what}: {verdict(reached, surely)}" for what, reached, surely in parts)


def verdict(reached: bool, surely: bool | None) -> str:
    """Say whether a target was reached; `surely` is None where there is no interval."""
    return ("reached, not surely" if surely is False else "reached") if reached else "**missed**"


def met(value: float | None, bound: float | None) -> bool | None:
    """Whether one number is at least another; None where one of them is not known, which reaches nothing."""
    return None if value is None or bound is None else value >= bound


def gained(metric: str, found: Mapping[str, Any], name: str) -> tuple[float | None, float | None]:
    """Return how much better the network is than a baseline, and that number's lower bound, as far as known."""
    other = found.get(name, {})
    if "gain" in other:
        return other["gain"], other.get("low")
    if found.get("value") is None or other.get("value") is None:
        return None, None
    sign = 1.0 if HIGHER_IS_BETTER.get(metric, False) else -1.0  # a metric that only a script knows is an error
    return sign * (found["value"] - other["value"]), None
