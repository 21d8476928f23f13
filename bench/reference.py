"""Run every shipped project at full size, and write what it came to into docs/reference.md.

    HOLDFAST_DATASETS=… python bench/reference.py [--only iris heart] [--again] [--device cuda] [--processes 2]

Each project runs by its declared protocols (`holdout` where it has none) and by the scripts of this folder that
reference_targets.json names, every command in a process of its own. What a command found is kept at once in
docs/reference.json, so that a run that was killed goes on where it was; what has been measured from the same sources on
the same kind of device is skipped, what failed is tried again. A project that fails is a row with the reason. The page
is drawn from docs/reference.json and reference_targets.json alone: `--only` without a name draws it again.
"""

import argparse
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.reference_page import page
from models.card_words import number
from models.machine import cpuinfo
from projects import discovery
from tasks.recipes import cores

CLONE = Path(__file__).parents[1]
TARGETS = Path(__file__).with_name("reference_targets.json")
FOUND, PAGE = CLONE / "docs" / "reference.json", CLONE / "docs" / "reference.md"
DIGITS = 6  # that are kept of a number


@dataclass(frozen=True)
class Job:
    """One command: the project it is about, and the files of which what it finds is a function."""

    project: str
    command: str
    sources: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """Hash of the project file, and of the script if one measures."""
        return hashlib.sha256(b"\0".join(path.read_bytes() for path in self.sources)).hexdigest()


def jobs(targets: list[dict[str, Any]]) -> list[Job]:
    """Return the commands of every shipped project, in the order of the targets; those that have none come last."""
    found, order = discovery.shipped(), list(dict.fromkeys(one["project"] for one in targets))
    names = [name for name in order if name in found] + [name for name in sorted(found) if name not in order]
    made = []
    for name in names:
        path = found[name].path
        commands = [f"holdfast evaluate {name} --protocol {protocol} --json" for protocol in protocols(name)]
        made += [Job(name, command, (path,)) for command in commands]
        for script in dict.fromkeys(one["script"] for one in targets if one["project"] == name and "script" in one):
            measuring = Path(__file__).with_name(script.split()[0])
            made.append(Job(name, f"python bench/{script} --json", (path, measuring)))
    return made


def protocols(name: str) -> tuple[str, ...]:
    """Return how a project asks to be evaluated; one that doesn't load will say so when it is run."""
    try:
        return discovery.load(name, ()).evaluation.protocols or ("holdout",)
    except discovery.BrokenProject:
        return ("holdout",)


def run(job: Job, wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Run one command and return a row for each thing that it measured, or one that says why there is none."""
    with tempfile.TemporaryDirectory(prefix="holdfast-reference-") as home:
        started = time.monotonic()
        done = subprocess.run(
            arguments(job.command, wanted.processes, home),
            cwd=CLONE,
            env={**os.environ, **({} if wanted.device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""})},
            capture_output=True,
            text=True,
            check=False,
        )
    shared = {
        "project": job.project,
        "command": job.command,
        "sources": job.sha256,
        "device": wanted.device,
        "machine": machine(wanted.device, wanted.processes),
    }
    try:
        facts = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr.strip() or done.stdout.strip() or f"it ended with {done.returncode}").splitlines()[-1]
        return [{**shared, "protocol": "", "seconds": time.monotonic() - started, "failed": said}]
    kept = ("protocol", "data", "seconds", "seconds_a_training", "trainings", "answers", "metric", "metrics", "note")
    return [{**shared, **{name: one[name] for name in kept if name in one}} for one in facts]


def arguments(command: str, processes: int, home: str) -> list[str]:
    """Return what a printed command is run as: by this Python, in a home that holds nothing."""
    first, *rest = shlex.split(command)
    if first == "python":
        return [sys.executable, *rest]
    return [sys.executable, "-m", first, *rest, "--processes", str(processes), "--home", home]


def machine(device: str, processes: int) -> str:
    """Say in words what it ran on: make, and how much of it could be used."""
    usable = cores()
    used = f"{cpuinfo().get('model name', 'CPU')}, {usable} core{'s' * (usable > 1)}"
    used += f", {processes} processes" if processes > 1 else ""
    if device != "cuda":
        return f"{used}, no GPU"
    import torch

    return f"{used}, {torch.cuda.get_device_name()}"


def keep(rows: list[dict[str, Any]]) -> None:
    """Put rows in the place of what the same command found on the same kind of device, and draw the page."""
    with FileLock(Path(tempfile.gettempdir()) / f"{hashlib.sha256(str(FOUND).encode()).hexdigest()[:16]}.lock"):
        fresh = {(one["command"], one["device"]) for one in rows}
        known = [one for one in read() if (one["command"], one["device"]) not in fresh]
        every = sorted([*known, *rounded(rows)], key=lambda one: (one["project"], one["command"], one["device"]))
        text = json.dumps(every, indent=1, sort_keys=True) + "\n"
        for path, content in ((FOUND, text), (PAGE, page(every, json.loads(TARGETS.read_text())))):
            beside = path.with_suffix(".new")
            beside.write_text(content)
            beside.replace(path)


def read() -> list[dict[str, Any]]:
    """Return what has been found so far."""
    return list(json.loads(FOUND.read_text())) if FOUND.exists() else []


def rounded(value: Any) -> Any:
    """Return JSON values with no more digits than mean something; what is no number becomes null."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < float("inf") else None
    return value


def trimmed(rows: list[dict[str, Any]], targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the metrics that decide nothing and that no target asks for."""
    for one in rows:
        asked = {each["metric"] for each in targets if each["project"] == one["project"]} | {one.get("metric")}
        if "metrics" in one:
            one["metrics"] = {name: found for name, found in one["metrics"].items() if name in asked}
    return rows


def said(one: dict[str, Any]) -> str:
    """Say a row in a line."""
    what = one.get("failed") or ", ".join(
        f"{name} {number(each['value'])}" for name, each in one["metrics"].items() if each["value"] is not None
    )
    return f"{one['project']}, {one['protocol'] or one['command']}: {what} ({one['seconds']:.0f} s)"


def main() -> int:
    """Run what has not been run yet; end with status 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="PROJECT")
    parser.add_argument("--again", action="store_true", help="Also what has been measured from these very sources.")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--processes", type=int, default=1, help="Trainings at once, where a protocol has several.")
    wanted = parser.parse_args()
    if wanted.device != "cpu":
        import torch

        there = torch.cuda.is_available()
        if wanted.device == "cuda" and not there:
            parser.error("no GPU is there")
        wanted.device = "cuda" if there else "cpu"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the command that runs is ended too
    targets, failed = json.loads(TARGETS.read_text()), False
    keep([])
    known = {(one["command"], one["device"], one["sources"]) for one in read() if "failed" not in one}
    for job in jobs(targets):
        if wanted.only is not None and job.project not in wanted.only:
            continue
        if (job.command, wanted.device, job.sha256) in known and not wanted.again:
            continue
        found = trimmed(run(job, wanted), targets)
        keep(found)
        failed |= any("failed" in one for one in found)
        print("\n".join(said(one) for one in found), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
