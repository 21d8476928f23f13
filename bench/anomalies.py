"""The Numenta Anomaly Benchmark: an autoencoder on each of its 58 series, as they stream, beside simple detectors.

    HOLDFAST_DATASETS=… OMP_NUM_THREADS=1 python bench/anomalies.py [--choose] [--limit 4] [--json]

The network learns, without labels, from the windows in the probationary part of a file. Its error at the newest reading
counts in standard deviations of all errors before it, so that a sensor that has become noisier is not unusual for ever.
What is said already is not said again: an alarm is a score that no reading of the last 300 had. `windowed Gaussian` and
`random` are detectors of the benchmark's own table (39.6 and 11.0 there), which check the scorer; `said once` is what
that rule alone does for the first.

`DEFAULT` is what all files together choose of `GRID`, and they choose the threshold too, as for other detectors of that
table: a number that flatters. `--choose` tells the honest one beside it: half of the files choose a setting and its
threshold, the other half is scored, both ways, and again for other deals, to show how much hangs on the deal. What the
grid holds fixed (network, training, that errors before count) has seen all files. Ends with status 1 at 39.6 or below.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.nab_choice import chosen, crossed, halves
from bench.nab_score import Stream, probation, score
from data.catalogue import load
from data.schema import Anomaly, Rows, Schema, Series, take
from models.anomalies import scoring
from models.declarations import Model, Training
from models.encoding import Encoder
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import fit


class Setting(NamedTuple):
    """Readings: in a window, at its end whose error counts (None: all), and for which what was said is not repeated."""

    past: int
    newest: int | None
    quiet: int

    def __str__(self) -> str:
        """Say it as the table does."""
        return f"{self.past} readings, {f'newest {self.newest}' if self.newest else 'all'} count, {words(self.quiet)}"


DEFAULT = Setting(16, 1, 300)
GRID = tuple(itertools.starmap(Setting, itertools.product((16, 32, 64), (1, None), (0, 100, 300))))
DEALS = 20  # other ways to deal the files
MODEL = Model(network="mlp", options={"hidden": (32, 4, 32), "dropout": 0.0, "activation": "tanh"})
TRAINING = Training(epochs=40, batch_size=32, learning_rate=3e-3, patience=40, schedule="cosine", device="cpu")
GAUSSIAN, STEP = 6400, 100  # readings that the windowed Gaussian looks back at, and by which it moves on
LEAST = 1e-6  # standard deviations of a series: errors that differ by less do not differ
PUBLISHED = 39.6
PROTOCOL = "58 series as they stream, standard profile"

Found = dict[str, dict[str, list[Stream]]]  # by detector and setting, each file


def words(quiet: int) -> str:
    """Say for how long nothing is said again."""
    return f"quiet for {quiet}" if quiet else "said again and again"


def windows(values: np.ndarray, past: int) -> Rows:
    """Return the window that ends at each reading; before the first all is as it is at the first."""
    padded = np.r_[np.full(past - 1, values[0]), values]
    keys = np.array([str(at) for at in range(len(values))], dtype=object)
    cut = np.lib.stride_tricks.sliding_window_view(padded, past)[:, :, None].astype(float)
    return {"key": keys, "past": cut, "unusual": np.full(len(values), None, dtype=object)}


def errors(values: np.ndarray, past: int, newest: Sequence[int | None]) -> list[np.ndarray]:
    """Return how badly each window's newest readings are reconstructed (N,), in standard deviations of the file.

    One network answers, however many of the newest readings are asked about.
    """
    schema = Schema(
        columns={"past": Series(length=past, channels=("value",)), "unusual": Anomaly()}, target="unusual", key="key"
    )
    rows = windows(values, past)
    known = take(rows, np.arange(past - 1, max(probation(len(values)), past + 8)))
    encoder = Encoder.fit(schema, None, known)
    with tempfile.TemporaryDirectory() as folder:
        made = fit(MODEL, TRAINING, encoder, known, workdir=Path(folder), progress=lambda _: None, threads=1)
    left = Predictor(encoder, Inside(made.network, encoder.spec)).run(encoder.derive(rows))
    unit, series = encoder.scales["past.value"][1], encoder.of(Series)
    return [scoring(Anomaly(unit=unit, newest=each), series, encoder.scales).errors(left) for each in newest]


def unusual(found: np.ndarray) -> np.ndarray:
    """Return errors (N,) in standard deviations from the mean of those before each; 0 where these were all one."""
    before = np.arange(1, len(found))
    mean = np.cumsum(found)[:-1] / before
    spread = np.sqrt(np.maximum(np.cumsum(found**2)[:-1] / before - mean**2, 0))
    return np.r_[0.0, np.where(spread > LEAST, (found[1:] - mean) / np.maximum(spread, LEAST), 0.0)]


def said_once(scores: np.ndarray, quiet: int = DEFAULT.quiet) -> np.ndarray:
    """Return scores (N,), but nothing where one of the last `quiet` was as high."""
    if not quiet:
        return scores
    padded = np.r_[np.full(quiet, -np.inf), scores[:-1]]
    highest = np.lib.stride_tricks.sliding_window_view(padded, quiet).max(axis=1)
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


def autoencoder(values: np.ndarray, settings: Sequence[Setting]) -> dict[str, np.ndarray]:
    """Return by setting how unusual each reading (N,) is to a network; those that differ in `past` have another one."""
    said: dict[str, np.ndarray] = {}
    for past in dict.fromkeys(one.past for one in settings):
        own = [one for one in settings if one.past == past]
        newest = list(dict.fromkeys(one.newest for one in own))
        found = dict(zip(newest, map(unusual, errors(values, past, newest)), strict=True))
        said |= {str(one): said_once(found[one.newest], one.quiet) for one in own}
    return said


def measured(files: Sequence[tuple[str, Any]], settings: Sequence[Setting]) -> Found:
    """Return what each detector says of each file: the autoencoder in some settings, the others in all they have.

    `files`: names, and frames of a `value` and the number of a `window` a row.
    """
    found: Found = {}
    quiet = [each for each in dict.fromkeys(one.quiet for one in GRID) if each]
    for number, (name, file) in enumerate(files):
        values, where = file["value"].to_numpy(float), edges(file["window"].to_numpy())
        gaussian = windowed_gaussian(values)
        said = {
            "random": {"": random(number, values)},
            "windowed Gaussian": {"": gaussian},
            "windowed Gaussian, said once": {words(each): said_once(gaussian, each) for each in quiet},
            "autoencoder": autoencoder(values, settings),
        }
        for detector, scores in said.items():
            for setting, one in scores.items():
                found.setdefault(detector, {}).setdefault(setting, []).append(Stream(one, where))
        tell(f"{number + 1:2} {name}")
    return found


def on_all(found: Found, files: int) -> dict[str, float]:
    """Return the detectors' scores as the benchmark has them: all files chose setting and threshold."""
    best = {detector: chosen(settings, range(files)) for detector, settings in found.items()}
    for detector, one in best.items():
        tell(f"{detector:30}{one.reached:7.1f}   {one.setting}{', ' if one.setting else ''}from {one.threshold:.5g}")
    return {detector: one.reached for detector, one in best.items()}


def out_of_half(found: Found, names: Sequence[str]) -> dict[str, float]:
    """Return the detectors' scores where half of the files chose for the other half, both ways."""
    dealt, reached = halves(names), {}
    for setting, streams in found["autoencoder"].items():
        parts = [score([streams[at] for at in some])[0] for some in (range(len(names)), *dealt)]
        tell(f"   {setting:46}" + "".join(f"{one:7.1f}" for one in parts))
    for detector, settings in found.items():
        reached[detector], choices = crossed(settings, dealt)
        others = [crossed(settings, halves(names, seed))[0] for seed in range(DEALS)]
        drawn = f"{np.mean(others):.1f} ({min(others):.1f} to {max(others):.1f})"
        tell(f"{detector:30}{reached[detector]:7.1f}   {DEALS} other deals {drawn}")
        for one in choices:
            tell(f"   a half chose {one.setting or 'its threshold'}, from {one.threshold:.5g}: {one.reached:.1f} there")
    return reached


def tell(said: str) -> None:
    """Print, but not to standard output, which is for `--json`."""
    print(said, file=sys.stderr, flush=True)


def fact(protocol: str, reached: dict[str, float], seconds: float) -> dict[str, Any]:
    """Return the autoencoder's score beside the others', as `holdfast evaluate --json` has them."""
    beside = {name: {"value": one} for name, one in reached.items() if name != "autoencoder"}
    table = {"nab_score": {"value": reached["autoencoder"], **beside}}
    return {"protocol": protocol, "metric": "nab_score", "metrics": table, "seconds": seconds}


def main() -> int:
    """Measure, and print what each detector scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--choose", action="store_true", help="Also choose on one half of the files and score the other."
    )
    parser.add_argument("--limit", type=int, help="Only so many of the series, which is no score of the benchmark.")
    parser.add_argument("--json", action="store_true", help="Print what was found as JSON.")
    wanted = parser.parse_args()
    files = [(str(name), file) for name, file in load("nab").groupby("file", sort=False)][: wanted.limit]
    found = measured(files, GRID if wanted.choose else [DEFAULT])
    reached = on_all(found, len(files))
    told = [fact(f"{PROTOCOL}, setting and threshold chosen on these", reached, time.process_time())]
    if wanted.choose:
        reached = out_of_half(found, [name for name, _ in files])
        told.append(fact(f"{PROTOCOL}, setting and threshold chosen on the other half", reached, time.process_time()))
    tell(f"{time.process_time():.0f} s")
    if wanted.json:
        print(json.dumps(told))
    return int(wanted.limit is None and not reached["autoencoder"] > PUBLISHED)


if __name__ == "__main__":
    sys.exit(main())
