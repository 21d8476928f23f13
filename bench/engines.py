"""Remaining life on the official test of C-MAPSS FD001: 100 engines, each asked once, at its last known cycle.

    HOLDFAST_DATASETS=… OMP_NUM_THREADS=1 python bench/engines.py [--seeds 1] [--json]

The project's own network learns from the 100 engines of the training set with the project's own settings; the rules
beside it from the same rows. RMSE in cycles, with the truth as it is (lives up to 145) and cut at 125, as the
network learned it; the literature has both. Ends with status 1 where the network misses 18 or does not beat the mean.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.batches import coerce
from data.catalogue import load
from data.schema import Rows, take
from models.baselines import constant
from models.encoding import Encoder
from models.exporting import export
from models.learners import learned_answers
from models.predictor import Predictor, open_session
from models.training import fit
from projects.engines import LONGEST, project, windows

WANTED = 18.0  # cycles


def official() -> tuple[Rows, Rows, np.ndarray]:
    """Return the rows that are learned from, the last row of each engine of the test, and its life as it is."""
    cycles = load("cmapss_fd001")
    parts = dict(list(cycles.groupby("part")))
    train, _ = coerce(windows(parts["train"]), project.schema)
    test, _ = coerce(windows(parts["test"]), project.schema)
    last = np.append(test["engine"][1:] != test["engine"][:-1], True)
    return train, take(test, last), parts["test"].groupby("engine")["remaining"].min().to_numpy()


def rmse(answers: np.ndarray, truth: np.ndarray) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(((answers - truth) ** 2).mean()))


def learned(train: Rows, asked: Rows, seed: int) -> np.ndarray:
    """Train, export and ask the network."""
    encoder = Encoder.fit(project.schema, project.features, train)
    training = dataclasses.replace(project.training, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        found = fit(project.model, training, encoder, train, workdir=Path(folder), progress=lambda _: None)
        export(found.network, encoder, Path(folder) / "network.onnx")
        session = open_session((Path(folder) / "network.onnx").read_bytes(), 1)
    return Predictor(encoder, session).predict(asked).predictions


def fact(name: str, table: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """Return a network's errors beside those of the rules, as `holdfast evaluate --json` has them."""
    rules = {rule.split()[0]: {"value": found[0]} for rule, found in table.items() if not rule.startswith("lstm")}
    whole, short, seconds = table[name]
    both = {"rmse": {"value": whole, **rules}, "rmse, lives cut at 125": {"value": short}}
    return {"protocol": f"the official test, {name}", "metric": "rmse", "metrics": both, "seconds": seconds}


def main() -> None:
    """Learn, ask, and print a line for each."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=1)
    asked.add_argument("--json", action="store_true", help="Print what was found as JSON.")
    wanted = asked.parse_args()
    train, test, life = official()
    encoder, cut = Encoder.fit(project.schema, project.features, train), np.minimum(life, LONGEST)
    answers = {"trivial (mean)": (constant(train["remaining"], len(life))[:, 0], 0.0)}
    for name, simple in learned_answers(("linear", "tree"), encoder, train, test, seed=0).items():
        answers[name] = (simple.values[:, 0], simple.seconds)
    networks = []
    for seed in range(wanted.seeds):
        started = time.perf_counter()
        networks.append(f"lstm, seed {seed}")
        answers[networks[-1]] = (learned(train, test, seed), time.perf_counter() - started)
    table = {name: (rmse(found, life), rmse(found, cut), seconds) for name, (found, seconds) in answers.items()}
    if wanted.json:
        print(json.dumps([fact(name, table) for name in networks]))
    else:
        print(f"{len(train['key']):,} windows of 100 engines learned from, 100 engines asked")
        print(f"{'':16}{'RMSE':>8}{'cut at 125':>12}{'seconds':>9}")
        for name, (whole, short, seconds) in table.items():
            print(f"{name:16}{whole:8.2f}{short:12.2f}{seconds:9.1f}")
    trivial = rmse(answers["trivial (mean)"][0], life)
    sys.exit(any(not rmse(answers[name][0], life) <= min(WANTED, trivial) for name in networks))


if __name__ == "__main__":
    main()
