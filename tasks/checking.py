"""A dry run of a project on a few rows: every step once, nothing kept, the failing line of the file named."""

import dataclasses
import itertools
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data.batches import canonical, coerce
from data.errors import BrokenProject, HoldfastError, TooFewRows
from data.schema import Rows, concatenate, length, take
from data.sources import fetch
from data.validation import validate
from models.encoding import Encoder
from models.predictor import Predictor, read_version
from models.training import fit
from models.writing import make_version
from monitoring import calibration, reference, verdicts
from projects.declaration import Project
from projects.discovery import explain, failing_line, file_of
from tasks.reports import Report
from tasks.resources import Resources

logger = logging.getLogger(__name__)

ROWS = 200


class StepFailed(HoldfastError):
    """One step of the dry run failed; the message names the step and the line of the project file."""


def check(resources: Resources, name: str, *, on_step: Callable[[str, str, float], None] | None = None) -> Report:
    """Fetch, validate, train one epoch, export, predict and check drift on at most 200 rows.

    `on_step` is told each step's name, what it found, and its seconds, as it ends.

    Raises: StepFailed, naming the step and the line of the project file that failed.
    """
    project = resources.project(name)
    file = resources.project_file(name)
    done: list[dict[str, Any]] = []

    def run(step: str, function: Callable[[], tuple[Any, str]]) -> Any:
        started = time.perf_counter()
        try:
            value, said = function()
        except BrokenProject:
            raise
        except Exception as error:  # a project's own code may raise anything; its line is what the user needs
            raise StepFailed(f"{name}: {step} failed at {failing_line(error, file)}: {explain(error)}") from error
        seconds = time.perf_counter() - started
        done.append({"step": step, "found": said, "seconds": round(seconds, 2)})
        if on_step:
            on_step(step, said, seconds)
        return value

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = run("fetch", lambda: some_rows(project))
        good = run("validate", lambda: fit_rows(project, rows))
        predictor = run("train", lambda: tiny_version(project, good, folder))
        answers = run("predict", lambda: predicted(predictor, good))
        run("drift", lambda: drift_checked(project, predictor, good, answers))
    total = sum(step["seconds"] for step in done)
    return Report(f"{name} is ready: {len(done)} steps on {length(good)} rows in {total:.0f} s", table=done)


def some_rows(project: Project) -> tuple[Rows, str]:
    """Take batches from the source until there are enough rows, and type them."""
    parts: list[Rows] = []
    misfits: list[str] = []
    for batch in itertools.islice(fetch(project.source), 20):
        rows, bad = coerce(batch.frame.reset_index(drop=True), project.schema)
        parts.append(rows)
        misfits += [f"{batch.name} row {position}: {why}" for position, why in bad]
        if sum(map(length, parts)) >= ROWS:
            break
    if not parts or not sum(map(length, parts)):
        why = f"; the first: {misfits[0]}" if misfits else ""
        raise TooFewRows(f"rows that fit the schema of {project.name}{why}", 0, 1)
    rows = canonical(concatenate(parts), project.schema)
    some = take(rows, np.linspace(0, length(rows) - 1, min(ROWS, length(rows))).astype(int))
    return some, f"{length(some)} rows" + (f", {len(misfits)} misfits ({misfits[0]})" if misfits else "")


def fit_rows(project: Project, rows: Rows) -> tuple[Rows, str]:
    """Keep the rows that meet every expectation."""
    validation = validate(rows, project.schema, project.expectations)
    if validation.refused:
        raise TooFewRows(f"good rows: {validation.refused}", int(validation.good.sum()), 1)
    bad = int((~validation.good).sum())
    first = next(iter(validation.reasons.values()), [""])[0]
    return take(rows, validation.good), f"{len(validation.results)} expectations, {bad} bad rows {first}".strip()


def tiny_version(project: Project, rows: Rows, folder: Path) -> tuple[Predictor, str]:
    """Train one epoch on the CPU, export and read the version back as the service would."""
    encoder = Encoder.fit(project.schema, project.features, rows, project.model)
    training = dataclasses.replace(project.training, epochs=1, device="cpu", devices=1, precision="32-true")
    trained = fit(project.model, training, encoder, rows, workdir=folder / "work", progress=lambda _: None)
    target = folder / "model"
    target.mkdir()
    network, file = trained.network, file_of(project)
    made = make_version(target, model=project.model, network=network, encoder=encoder, rows=rows, project=file)
    answers = f"a torch worker answers: {made.worker}" if made.worker else f"ONNX within {made.difference:.1e}"
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return read_version(target, features=project.features, project=file), f"{parameters:,} parameters, {answers}"


def predicted(predictor: Predictor, rows: Rows) -> tuple[Any, str]:
    """Answer every row."""
    outputs = predictor.predict(rows)
    return outputs, f"first answer {outputs.answers()[0]}"[:120]


def drift_checked(project: Project, predictor: Predictor, rows: Rows, outputs: Any) -> tuple[None, str]:
    """Compare one half of the rows with the other, as a monitor would."""
    observed = predictor.observe(rows, outputs)
    half = length(observed) // 2
    known = take(observed, np.arange(half))
    found = verdicts.smoke(known, take(observed, np.arange(half, 2 * half)), predictor.monitored, project.monitors)
    return None, found


__all__ = ["StepFailed", "calibration", "check", "reference"]
