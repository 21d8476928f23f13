"""Forecasts as the literature measures them, beside the rules to beat.

    HOLDFAST_DATASETS=… python bench/forecasting.py [energy passengers] [--horizons 96 192 336]

`energy`: ETTh1 by its usual borders (12 months to learn from, 4 of validation, 4 asked about, every hour an origin), in
standard deviations of the first 12 months; `passengers`: the last 24 months from one origin, in thousands. Ends with
status 1 where a network does not beat the rules.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

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


def errors(found: np.ndarray, truth: np.ndarray, unit: np.ndarray) -> str:
    """Say the errors of forecasts (N, T, C) in a unit a channel: MSE, MAE and RMSE."""
    apart = (found - truth) / unit
    mse = float((apart**2).mean())
    return f"MSE {mse:.3f}  MAE {np.abs(apart).mean():.3f}  RMSE {mse**0.5:.3f}"


def forecast_energy(horizons: list[int]) -> bool:
    """Measure ETTh1; return whether both networks beat repeating the last value everywhere."""
    values = load("etth1")[list(energy.CHANNELS)].to_numpy()
    unit = values[: BORDERS[0]].std(axis=0)
    beaten = True
    for coming in horizons:
        origins = range(energy.PAST, BORDERS[0] - coming + 1, LEARNED_EVERY)
        train = cut(values, origins, energy.PAST, coming)
        test = cut(values, range(BORDERS[1], BORDERS[2] - coming + 1), energy.PAST, coming)
        asked = schema(energy.PAST, coming, energy.CHANNELS)
        rule = repeated(test["past"], coming).reshape(test["coming"].shape)
        least = float((((rule - test["coming"]) / unit) ** 2).mean())
        print(f"energy {coming:4d}  repeat-last  {errors(rule, test['coming'], unit)}", flush=True)
        day = repeated(test["past"], coming, 24).reshape(test["coming"].shape)
        print(f"energy {coming:4d}  repeat-day   {errors(day, test['coming'], unit)}", flush=True)
        for name, model in (("lstm", energy.project.model), ("linear", Model(network="linear"))):
            predictor, seconds = learned(model, energy.project.training, asked, train)
            found = predictor.predict(test).predictions
            said = errors(found, test["coming"], unit)
            print(f"energy {coming:4d}  {name:11}  {said}  {seconds:.0f} s", flush=True)
            beaten &= bool((((found - test["coming"]) / unit) ** 2).mean() < least)
    return beaten


def forecast_passengers() -> bool:
    """Measure the last 24 months from one origin; return whether the LSTM beats repeating the last year."""
    values = load("airline_passengers")["passengers"].to_numpy()[:, None]
    past, coming = passengers.PAST, passengers.COMING
    end = len(values) - coming
    train = cut(values, range(past, end - coming + 1), past, coming)
    test = cut(values, range(end, end + 1), past, coming)
    asked = schema(past, coming, ("passengers",))
    rule = repeated(test["past"], coming, 12).reshape(test["coming"].shape)
    unit = np.ones(1)
    print(f"passengers  repeat-year  {errors(rule, test['coming'], unit)}")
    predictor, seconds = learned(passengers.project.model, passengers.project.training, asked, train)
    found = predictor.predict(test).predictions
    print(f"passengers  lstm         {errors(found, test['coming'], unit)}  {seconds:.0f} s")
    return bool(((found - test["coming"]) ** 2).mean() < ((rule - test["coming"]) ** 2).mean())


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["energy", "passengers"], choices=["energy", "passengers"])
    parser.add_argument("--horizons", nargs="+", type=int, default=[96, 192, 336])
    parser.add_argument("--epochs", type=int, help="Instead of the projects' own.")
    wanted = parser.parse_args()
    if wanted.epochs:
        training = dataclasses.replace(energy.project.training, epochs=wanted.epochs)
        energy.project = dataclasses.replace(energy.project, training=training)
    found = [forecast_energy(wanted.horizons)] if "energy" in wanted.names else []
    found += [forecast_passengers()] if "passengers" in wanted.names else []
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
