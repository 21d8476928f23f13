"""Forecasts as the literature measures them, beside the rules to beat.

    HOLDFAST_DATASETS=… python bench/forecasting.py [energy passengers] [--horizons 96 192 336] [--json]

`energy`: ETTh1 by its usual borders (12 months to learn from, 4 of validation, 4 asked about, every hour an origin), in
standard deviations of the first 12 months; `passengers`: the last 24 months from one origin, in thousands. Ends with
status 1 where a network does not beat the rules.
"""

import argparse
import dataclasses
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.catalogue import load
from data.schema import Rows, Schema, Series
from models.baselines import repeated
from models.declarations import Model, Training
from models.encoding import Encoder
from models.exporting import export
from models.predictor import Predictor, open_session
from models.training import fit
from projects import energy, passengers

THREADS = int(os.environ.get("OMP_NUM_THREADS", "0")) or None
MONTH = 30 * 24  # hours, as the literature counts
BORDERS = (12 * MONTH, 16 * MONTH, 20 * MONTH)
LEARNED_EVERY = 3  # hours between the windows that are learned from: their neighbours say nearly the same


def schema(past: int, coming: int, channels: tuple[str, ...]) -> Schema:
    """Return a project's schema at another horizon."""
    columns = {"past": Series(length=past, channels=channels), "coming": Series(length=coming, channels=channels)}
    return Schema(columns=columns, target="coming", key="key")


def cut(values: np.ndarray, origins: range, past: int, coming: int) -> Rows:
    """Return the windows (N, T, C) around some moments."""
    return {
        "key": np.array([str(at) for at in origins], dtype=object),
        "past": np.stack([values[at - past : at] for at in origins]),
        "coming": np.stack([values[at : at + coming] for at in origins]),
    }


def learned(model: Model, training: Training, asked: Schema, train: Rows) -> tuple[Predictor, float]:
    """Train, export and open a network; return it and the seconds it learned."""
    encoder = Encoder.fit(asked, None, train)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        found = fit(model, training, encoder, train, workdir=Path(folder), progress=lambda _: None, threads=THREADS)
        seconds = time.perf_counter() - started
        difference = export(found.network, encoder, Path(folder) / "network.onnx")
        return Predictor(encoder, open_session((Path(folder) / "network.onnx").read_bytes(), 1), difference), seconds


def errors(found: np.ndarray, truth: np.ndarray, unit: np.ndarray) -> dict[str, float]:
    """Return the errors of forecasts (N, T, C) in a unit a channel."""
    apart = (found - truth) / unit
    mse = float((apart**2).mean())
    return {"mse": mse, "mae": float(np.abs(apart).mean()), "rmse": mse**0.5}


def say(name: str, model: str, found: dict[str, float], seconds: float | None = None) -> None:
    """Print what a model came to; not to standard output, which is for `--json`."""
    said = "  ".join(f"{metric.upper()} {value:.3f}" for metric, value in found.items())
    pace = f"  {seconds:.0f} s" if seconds is not None else ""
    print(f"{name:15}  {model:11}  {said}{pace}", file=sys.stderr, flush=True)


def fact(protocol: str, metric: str, ours: dict[str, float], rules: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return a network's errors beside those of the rules, as `holdfast evaluate --json` has them."""
    table = {
        each: {"value": value, **{rule: {"value": found[each]} for rule, found in rules.items()}}
        for each, value in ours.items()
    }
    return {"protocol": protocol, "metric": metric, "metrics": table, "seconds": seconds}


def forecast_energy(horizons: list[int]) -> list[dict[str, Any]]:
    """Measure ETTh1: both networks at each horizon."""
    values = load("etth1")[list(energy.CHANNELS)].to_numpy()
    unit = values[: BORDERS[0]].std(axis=0)
    told = []
    for coming in horizons:
        origins = range(energy.PAST, BORDERS[0] - coming + 1, LEARNED_EVERY)
        train = cut(values, origins, energy.PAST, coming)
        test = cut(values, range(BORDERS[1], BORDERS[2] - coming + 1), energy.PAST, coming)
        asked = schema(energy.PAST, coming, energy.CHANNELS)
        rules = {}
        for name, season in (("repeat-last", 1), ("repeat-day", 24)):
            found = repeated(test["past"], coming, season).reshape(test["coming"].shape)
            rules[name] = errors(found, test["coming"], unit)
            say(f"energy {coming}", name, rules[name])
        for name, model in (("lstm", energy.project.model), ("linear", Model(network="linear"))):
            predictor, seconds = learned(model, energy.project.training, asked, train)
            ours = errors(predictor.predict(test).predictions, test["coming"], unit)
            say(f"energy {coming}", name, ours, seconds)
            told.append(fact(f"{coming} hours, {name}", "mse", ours, rules, seconds))
    return told


def forecast_passengers() -> list[dict[str, Any]]:
    """Measure the last 24 months from one origin."""
    values = load("airline_passengers")["passengers"].to_numpy()[:, None]
    past, coming = passengers.PAST, passengers.COMING
    end = len(values) - coming
    train = cut(values, range(past, end - coming + 1), past, coming)
    test = cut(values, range(end, end + 1), past, coming)
    unit = np.ones(1)
    rule = errors(repeated(test["past"], coming, 12).reshape(test["coming"].shape), test["coming"], unit)
    say("passengers", "repeat-year", rule)
    asked = schema(past, coming, ("passengers",))
    predictor, seconds = learned(passengers.project.model, passengers.project.training, asked, train)
    ours = errors(predictor.predict(test).predictions, test["coming"], unit)
    say("passengers", "lstm", ours, seconds)
    return [fact(f"the last {coming} months from one origin", "rmse", ours, {"repeat-year": rule}, seconds)]


def choose_passengers() -> None:
    """Try settings on what was known when the last 24 months began, from two earlier origins; then ask the best once.

    Each setting's error is the mean over three seeds, the best's over five.
    """
    values = load("airline_passengers")["passengers"].to_numpy()[:, None]
    past, coming = passengers.PAST, passengers.COMING
    end, asked = len(values) - coming, schema(past, coming, ("passengers",))

    def error(model: Model, training: Training, origin: int, seeds: range) -> float:
        train = cut(values, range(past, origin - coming + 1), past, coming)
        test = cut(values, range(origin, origin + 1), past, coming)
        found = []
        for seed in seeds:
            predictor, _ = learned(model, dataclasses.replace(training, seed=seed), asked, train)
            found.append(errors(predictor.predict(test).predictions, test["coming"], np.ones(1))["rmse"])
        return float(np.mean(found))

    tried = []
    for patch, width, season, epochs, rate in itertools.product((1, 12), (8, 16, 32), (1, 12), (25, 60), (3e-3, 1e-2)):
        model = Model(network="lstm", options={"patch": patch, "width": width, "season": season})
        given = {"epochs": epochs, "patience": epochs, "learning_rate": rate}
        training = dataclasses.replace(passengers.project.training, **given)
        before = float(np.mean([error(model, training, origin, range(3)) for origin in (end - 30, end - coming)]))
        tried.append((before, model, training))
        say("passengers", f"{patch} {width} {season} {epochs} {rate:g}", {"rmse": before})
    before, model, training = min(tried, key=lambda one: one[0])
    print(f"chosen by {before:.1f}: {dict(model.options)}, {training.epochs} epochs at {training.learning_rate:g}")
    print(f"the last {coming} months: RMSE {error(model, training, end, range(5)):.1f}, mean of five seeds")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["energy", "passengers"], choices=["energy", "passengers"])
    parser.add_argument("--horizons", nargs="+", type=int, default=[96, 192, 336])
    parser.add_argument("--epochs", type=int, help="Instead of the projects' own.")
    parser.add_argument("--choose", action="store_true", help="Choose passengers' settings by earlier years.")
    parser.add_argument("--json", action="store_true", help="Print what was found as JSON.")
    wanted = parser.parse_args()
    if wanted.choose:
        choose_passengers()
        return 0
    if wanted.epochs:
        training = dataclasses.replace(energy.project.training, epochs=wanted.epochs)
        energy.project = dataclasses.replace(energy.project, training=training)
    told = forecast_energy(wanted.horizons) if "energy" in wanted.names else []
    told += forecast_passengers() if "passengers" in wanted.names else []
    if wanted.json:
        print(json.dumps(told))
    return 0 if all(beaten(one) for one in told) else 1


def beaten(one: dict[str, Any]) -> bool:
    """Whether a network is better than the first rule beside it, by what decides."""
    decides = one["metrics"][one["metric"]]
    rule = next(each for each in decides.values() if isinstance(each, dict))
    return bool(decides["value"] < rule["value"])


if __name__ == "__main__":
    sys.exit(main())
