"""What a version was, against what its own sources make of its data now: the first thing that differs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.folder import NETWORK, PREDICTOR, WEIGHTS, read_manifest
from models.sameness import Apart, apart
from tasks import provenance
from tasks.cleanroom import CleanRoom
from tasks.resources import Resources

Outcome = Literal["intact", "identical", "equivalent", "different", "erased"]
MACHINE = {
    "lock": "lock",
    "packages": "installed packages",
    "python": "Python",
    "torch": "torch",
    "device": "device",
    "threads": "threads",
    "instructions": "CPU instruction set",
    "cpu": "CPU",
    "cpu_flags": "CPU flags",
    "platform": "platform",
    "deterministic": "deterministic settings",
    "tuning": "tuning variables",
}
"""Facts that may change the last bits of weights, in people's words."""


class Parted(Exception):
    """The first thing that is not what was recorded; caught by `tasks.verifying`."""


@dataclass
class Case:
    """One version under examination, and what has been found of it so far."""

    resources: Resources
    project: str
    version: str
    run: str
    facts: Mapping[str, str]
    inputs: Mapping[str, Any]
    folder: Path
    quality: Mapping[str, Any] = field(default_factory=dict)  # its card's, once that has proved to be the one on record
    checks: list[dict[str, str]] = field(default_factory=list)
    differs: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    def found(self, what: str, said: str) -> None:
        """Note that something is what was recorded."""
        self.checks.append({"checked": what, "found": said})


def compared(case: Case, room: CleanRoom, threads: int | None) -> tuple[Outcome, str]:
    """Compare what was made again with what is on record, in the order in which it was made.

    Raises: Parted.
    """
    recorded, remade = case.folder / "version", room.artifacts / "model"
    history = json.loads((room.artifacts / "history.json").read_text())
    case.differs = differences(case.facts, {**provenance.environment(), **history["machine"]})
    unlike_parameters(case, history["parameters"])
    unlike_rows(case, room.artifacts)
    encoders = encoder_of(recorded) == encoder_of(remade)
    weights = apart(recorded / WEIGHTS, remade / WEIGHTS)
    files = changed_files(recorded, remade)
    excuse = named(case.differs)
    if not files:
        case.found("training", f"again, to the same bytes: weights {case.facts['weights'][:12]}")
        return "identical", f"was trained again to the same bytes, weights sha256 {case.facts['weights'][:12]}" + (
            f", though with other {excuse}" if excuse else ""
        )
    first = "the encoder" if not encoders else weights.first if weights else f"{files[0]}, though the weights are equal"
    if not excuse:
        raise Parted(f"was trained again, on the same kind of machine, and differs: {first}")
    return excused(case, room, first, excuse, weights, threads)


def excused(
    case: Case, room: CleanRoom, first: str, excuse: str, weights: Apart | None, threads: int | None
) -> tuple[Outcome, str]:
    """Measure what another machine made of it: equivalent while the metric is within the bounds on record.

    Raises: Parted.
    """
    room.run(("evaluate",), lambda _share, _what: None, threads)
    quality = case.quality
    here = json.loads((room.artifacts / "evaluation" / "metrics.json").read_text())["judge"]
    known = quality["judge"]
    case.metrics = {name: [float(known[name]["value"]), float(here[name]["value"])] for name in known if name in here}
    metric = quality["metric"]
    if weights is not None:
        case.weights = {"largest": weights.largest, "relative": weights.relative}
    size = (
        f"weights differ by up to {weights.largest:.2g}, {weights.relative:.2g} of their length" if weights else first
    )
    was, now = case.metrics[metric]
    said = f"{size}; {metric} {was:.4g} on record, {now:.4g} here"
    low, high = (float(known[metric].get(bound, was)) for bound in ("low", "high"))
    if not low <= now <= high:
        raise Parted(
            f"was trained again with other {excuse}, which does not explain it: {first}; {said}, "
            f"outside [{low:.4g}, {high:.4g}]"
        )
    case.found("training", f"again, within the bounds of {metric}")
    return "equivalent", f"was trained again with other {excuse}: {said}, within [{low:.4g}, {high:.4g}]"


def differences(recorded: Mapping[str, str], here: Mapping[str, str]) -> dict[str, list[str]]:
    """Return where this machine is another than the one on record."""
    return {
        name: [recorded.get(name, "unknown"), here.get(name, "unknown")]
        for name in MACHINE
        if recorded.get(name) != here.get(name)
    }


def named(differs: Mapping[str, list[str]]) -> str:
    """Say where two machines differ, recorded against here; hashes are cut."""
    return ", ".join(
        f"{MACHINE[name]} ({was[:40] or 'none'} on record, {now[:40] or 'none'} here)"
        for name, (was, now) in differs.items()
    )


def unlike_parameters(case: Case, here: Mapping[str, str]) -> None:
    """Raise Parted at the first parameter that the archived project file now gives otherwise; the device apart."""
    recorded = case.inputs["parameters"]
    for name in sorted(recorded.keys() | here.keys()):
        if name != "training.device" and recorded.get(name) != here.get(name):
            raise Parted(f"has another parameter {name}: {recorded.get(name)} on record, {here.get(name)} here")
    case.found("parameters", f"{len(recorded)} parameters, seed {case.facts['seed']}")


def unlike_rows(case: Case, made: Path) -> None:
    """Raise Parted at the first role whose rows are others than those on record."""
    here = json.loads((made / "prepared" / "summary.json").read_text())["sha256"]
    for role, sha256 in here.items():
        if case.facts[f"rows.{role}"] != sha256:
            raise Parted(
                f"has other {role} rows: sha256 {case.facts[f'rows.{role}'][:12]} on record, {sha256[:12]} here"
            )
    case.found("rows", ", ".join(f"{role} {sha256[:12]}" for role, sha256 in here.items()))


def encoder_of(folder: Path) -> Any:
    """Return the fitted encoder of a version, as JSON."""
    return json.loads((folder / PREDICTOR).read_text())["encoder"]


def changed_files(recorded: Path, remade: Path) -> list[str]:
    """Return the files of a version that were made otherwise, what answers first."""
    one, other = read_manifest(recorded, None), read_manifest(remade, None)
    names = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    return sorted(names, key=lambda name: (name != NETWORK, name))
