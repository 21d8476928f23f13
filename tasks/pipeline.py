"""The one table of reproducible steps, and `dvc.yaml` rendered from it.

A flow runs the steps in process; `dvc repro evaluate@<project>` runs the same functions through
`python -m tasks.pipeline STEP PROJECT`. Effects that reproduce nothing (fetch, push, register, promote,
alert) are no steps.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.errors import HoldfastError
from models.declarations import Device
from tasks import evaluation, fitting, plans, preparation
from tasks.ingestion import write_atomically
from tasks.resources import Resources, connect
from tasks.settings import CLONE

Progress = Callable[[float, str], None]
"""Told how far a step is, 0 to 1, and what it does, in a few words."""


@dataclass(frozen=True)
class Work:
    """What a step is given: the project's name, the folder with its inputs and outputs, and whom to tell."""

    resources: Resources
    name: str
    folder: Path
    progress: Progress
    device: Device = "auto"


@dataclass(frozen=True)
class Step:
    """A pure function from named artifacts to named artifacts, all below one project's folder."""

    name: str
    run: Callable[[Work], object]
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    code: tuple[str, ...]  # files and rooms of the clone: a change there makes the step stale


def prepare(work: Work) -> dict[str, int]:
    """Deal out the rows, with the weights at hand that the training starts from."""
    project = work.resources.project(work.name)
    plans.furnish(work.resources, work.name, plans.read(work.folder), work.folder)
    return preparation.prepare(project, work.resources.batches, work.folder, work.progress)


STEPS = (
    Step(
        "prepare",
        prepare,
        needs=("snapshot.json", plans.PLAN),
        makes=("prepared",),
        code=(
            "tasks/preparation.py",
            "tasks/snapshot_rows.py",
            "tasks/role_files.py",
            "tasks/choosing.py",
            "tasks/plans.py",
            "models/encoding.py",
            "models/features.py",
            "models/pieces.py",
            "models/transforms.py",
            "models/vocabulary.py",
            "data",
        ),
    ),
    Step(
        "train",
        lambda work: fitting.fit(
            work.resources.project(work.name),
            work.folder,
            device=work.device,
            progress=work.progress,
            threads=work.resources.settings.threads,
        ),
        needs=(plans.PLAN, "prepared"),
        makes=("model", "history.json"),
        code=("tasks/fitting.py", "tasks/role_files.py", "tasks/plans.py", "models", "data"),
    ),
    Step(
        "evaluate",
        lambda work: evaluation.evaluate(work.resources.project(work.name), work.folder),
        needs=("prepared", "model"),
        makes=("evaluation",),
        code=("tasks/evaluation.py", "tasks/role_files.py", "models", "data"),
    ),
)


def step(name: str) -> Step:
    """Return the step of this name."""
    return next(step for step in STEPS if step.name == name)


def render(project_files: dict[str, Path], root: Path) -> str:
    """Return the text of `dvc.yaml` in `root`: each step once a project, addressed as `step@project`."""
    inside = root == CLONE
    python = ".venv/bin/python" if inside else sys.executable

    def named(path: Path) -> str:
        return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

    lines = ["# Written by `make docs` from tasks/pipeline.py; a test holds it true.", "stages:"]
    for each in STEPS:
        lines += [f"  {each.name}:", "    foreach:"]
        lines += [f"      {name}: {named(path)}" for name, path in sorted(project_files.items())]
        lines += ["    do:", f"      cmd: {python} -m tasks.pipeline {each.name} ${{key}}", "      deps:"]
        lines += [f"      - artifacts/${{key}}/{need}" for need in each.needs]
        lines += ["      - ${item}", *(f"      - {named(path)}" for path in sources(each))]
        lines += ["      outs:", *(f"      - artifacts/${{key}}/{made}" for made in each.makes)]
    return "\n".join(lines) + "\n"


def sources(step_: Step) -> list[Path]:
    """Return the files of the clone that a step's outputs follow from; a room's caches are none of them."""
    found: list[Path] = []
    for name in step_.code:
        path = CLONE / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def ensure_workspace(resources: Resources) -> None:
    """Make the workspace of this home, with a `dvc.yaml` for its projects; the clone has a tracked one."""
    root = resources.settings.workspace
    if root == CLONE:
        return
    root.mkdir(parents=True, exist_ok=True)
    loaded, _ = resources.projects()
    text = render({name: resources.project_file(name) for name in loaded}, root)
    if not (root / "dvc.yaml").exists() or (root / "dvc.yaml").read_text() != text:
        write_atomically(root / "dvc.yaml", text)
    resources.workspace.ensure(text)


def main() -> None:
    """Run one step of one project in the workspace, as `dvc repro` does."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pipeline", description=__doc__)
    parser.add_argument("step", choices=[each.name for each in STEPS])
    parser.add_argument("project")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    resources = connect()
    folder = resources.artifacts(asked.project)
    if not (folder / "snapshot.json").exists():
        sys.exit(f"no snapshot of {asked.project} in {folder}: run `holdfast ingest {asked.project}` first")
    plans.ensure(folder)

    def tell(share: float, what: str) -> None:
        sys.stderr.write(f"\r{asked.step} {share:4.0%} {what:<60}" + ("\n" if share >= 1 else ""))

    try:
        step(asked.step).run(Work(resources, asked.project, folder, tell, resources.settings.device))
    except HoldfastError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
