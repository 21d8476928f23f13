"""A speaker nobody has heard: is he noticed before anybody labels what he says, and what does retraining give?

    HOLDFAST_DATASETS=… python bench/new_speaker.py [--new george] [--epochs 12] [--json]

A version learns from the other five speakers of `spoken`; windows of what they say, and then of what the new one says,
are held against its reference as a monitor would. Then half of the new one's takes are learned too, and the rest
asked about. Ends with status 1 where a known window is flagged, the new speaker is not, or the rest is answered
below 0.90.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.batches import coerce
from data.schema import Rows, concatenate, length, take
from data.sources import fetch
from models.encoding import Encoder
from models.predictor import Predictor, read_version
from models.training import fit
from models.writing import make_version
from monitoring import projections, reference
from monitoring.records import WindowKey
from monitoring.verdicts import judge_data
from projects.spoken import project
from tasks.observing import embedded

WANTED = 0.90
THREADS = int(os.environ.get("OMP_NUM_THREADS", "0")) or None
WINDOW = 200
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def clips() -> tuple[Rows, np.ndarray, np.ndarray]:
    """Return every clip, who speaks, and the take."""
    rows = concatenate(
        [coerce(batch.frame.reset_index(drop=True), project.schema)[0] for batch in fetch(project.source)]
    )
    named = [key.split("_") for key in rows["key"].tolist()]
    return rows, np.array([one[1] for one in named]), np.array([int(one[2]) for one in named])


def version(rows: Rows, epochs: int, folder: Path) -> Predictor:
    """Train the project's recipe on rows, and open the version as the service would."""
    encoder = Encoder.fit(project.schema, None, rows)
    training = dataclasses.replace(project.training, epochs=epochs)
    trained = fit(
        project.model, training, encoder, rows, workdir=folder / "work", progress=lambda _: None, threads=THREADS
    )
    target = folder / "model"
    target.mkdir()
    make_version(target, model=project.model, network=trained.network, encoder=encoder, rows=rows, project=None)
    return read_version(target)


def accuracy(predictor: Predictor, rows: Rows) -> float:
    """Return the share of clips that are answered right."""
    return float((predictor.predict(rows).predictions == rows["digit"]).mean())


def watched(predictor: Predictor, known: Rows, windows: list[Rows]) -> list[tuple[str, str]]:
    """Return what a monitor says of each window: the outcome, and why. `known`: clips that training did not see."""
    held_out = np.ones(length(known), bool)
    projection = projections.fit(predictor.embed(known), held_out)

    def seen(rows: Rows) -> Rows:
        return {**predictor.observe(rows, predictor.predict(rows)), **embedded(predictor, rows, projection)}

    built = reference.build(
        {**predictor.monitored, **(projection.columns if projection else {})},
        seen(known),
        held_out=held_out,
        losses=(predictor.predict(known).predictions != known["digit"]).astype(float),
        task=project.task,
        exchangeable=True,
        projection=projection,
    )
    found = [judge_data(built, seen(rows), project.monitors, WindowKey("spoken", 1, 0, NOW, NOW)) for rows in windows]
    return [(one.outcome, one.reason) for one in found]


def main() -> int:
    """Tell the story in numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--new", default="george")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", action="store_true", help="Print what was found as JSON.")
    wanted, started = parser.parse_args(), time.monotonic()
    rows, speaker, take_number = clips()
    order = np.random.default_rng(0).permutation(len(speaker))
    old, new = order[speaker[order] != wanted.new], order[speaker[order] == wanted.new]
    learned, kept = old[: len(old) // 2], old[len(old) // 2 :]
    with tempfile.TemporaryDirectory() as folder:
        first = version(take(rows, learned), wanted.epochs, Path(folder))
        windows = [kept[-WINDOW:], *(new[at : at + WINDOW] for at in (0, WINDOW))]
        said = watched(first, take(rows, kept[:-WINDOW]), [take(rows, which) for which in windows])
        for name, (outcome, why) in zip(["five known", wanted.new, wanted.new], said, strict=True):
            print(f"{name:>12}: {outcome}: {why}", file=sys.stderr, flush=True)
        known, unknown = (accuracy(first, take(rows, which)) for which in (kept, new))
        print(f"known speakers {known:.3f}, {wanted.new} {unknown:.3f}", file=sys.stderr)
    half = new[take_number[new] >= 25]
    rest = new[take_number[new] < 25]
    with tempfile.TemporaryDirectory() as folder:
        second = version(take(rows, np.concatenate([learned, half])), wanted.epochs, Path(folder))
    reached = accuracy(second, take(rows, rest))
    still = accuracy(second, take(rows, kept))
    print(f"with half of his takes: {wanted.new} {reached:.3f}, known {still:.3f}", file=sys.stderr)
    flagged = said[0][0] == "ok" and said[1][0] == said[2][0] == "drift"
    if wanted.json:
        values = {"value": reached, "before": {"value": unknown}}
        told = {"metric": "accuracy", "metrics": {"accuracy": values}, "seconds": time.monotonic() - started}
        was = "flagged" if flagged else "not flagged"
        print(json.dumps([{"protocol": f"{wanted.new}, {was}; half of his takes learned", **told}]))
    return 0 if flagged and reached >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
