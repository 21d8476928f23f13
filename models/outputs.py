"""What a predictor answers. Needs numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from data.schema import Number, Rows, Series

Task = Literal["classification", "regression", "forecast", "anomaly"]


def levelled(task: str) -> bool:
    """Tell whether a task is answered by one of some levels, so that an answer is right or wrong."""
    return task in ("classification", "anomaly")


class Cutoff(NamedTuple):
    """From which probability, 0 to 1, on `level` is answered; below it the likeliest other level is."""

    level: str
    at: float


def decided(values: np.ndarray, levels: Sequence[str], cutoff: Cutoff | None = None) -> np.ndarray:
    """Return which level is answered, as its place (N,), for probabilities (N, K): the likeliest, or by the cutoff."""
    if cutoff is None or cutoff.level not in levels:
        return np.asarray(values.argmax(axis=1))
    place = tuple(levels).index(cutoff.level)
    others = values.copy()
    others[:, place] = -np.inf
    return np.where(values[:, place] >= cutoff.at, place, others.argmax(axis=1))


@dataclass(frozen=True)
class Outputs:
    """Answers for N rows: class probabilities (N, K) in the order of `levels`, or values (N, 1) without levels.

    A forecast has `channels`, and values (N, steps * channels): all channels of the first step, then of the next.
    Where items are ranked, `scores` (N,) order them.
    Of an anomaly (`anomaly`) the second of two values is the score, error / (1 + error), and the first what is left
    to 1: no probabilities, but they rank and decide as such do.
    """

    values: np.ndarray
    levels: tuple[str, ...] = ()
    cutoff: Cutoff | None = None
    channels: tuple[str, ...] = ()
    scores: np.ndarray | None = None
    anomaly: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def finite(self) -> np.ndarray:
        """Which answers are numbers, as a mask (N,)."""
        found = np.isfinite(self.values).all(axis=1)
        return np.asarray(found if self.scores is None else found & np.isfinite(self.scores))

    @property
    def codes(self) -> np.ndarray:
        """The place (N,) of the level that is answered: the likeliest, or the one the cutoff decides for."""
        return decided(self.values, self.levels, self.cutoff)

    @property
    def predictions(self) -> np.ndarray:
        """The level that is answered to each row (object array of str), its value (float64), or its forecast (…)."""
        if self.channels:
            return self.values.reshape(len(self.values), -1, len(self.channels))
        if not self.levels:
            return self.values[:, 0]
        classes: np.ndarray = np.array(self.levels, dtype=object)[self.codes]
        return classes

    @property
    def confidences(self) -> np.ndarray:
        """The probability of the level that is answered, (N,); NaN where a value was predicted."""
        if not self.levels:
            return np.full(len(self.values), np.nan)
        return np.asarray(self.values[np.arange(len(self.values)), self.codes])

    def answers(self) -> list[dict[str, Any]]:
        """Return one answer per row, in plain JSON values; a forecast as a list of steps for each channel."""
        if self.channels:
            steps = self.predictions.transpose(0, 2, 1).tolist()
            return [{"forecast": dict(zip(self.channels, one, strict=True))} for one in steps]
        if self.scores is not None:
            pairs = zip(self.values[:, 0].tolist(), self.scores.tolist(), strict=True)
            return [{"value": value, "score": score} for value, score in pairs]
        if not self.levels:
            return [{"value": value} for value in self.values[:, 0].tolist()]
        if self.anomaly:
            pairs = zip(self.values[:, 1].tolist(), self.codes.tolist(), strict=True)
            return [{"score": score, "anomaly": code == 1} for score, code in pairs]
        return [
            {
                "class": self.levels[index],
                "confidence": row[index],
                "probabilities": dict(zip(self.levels, row, strict=True)),
            }
            for index, row in zip(self.codes.tolist(), self.values.tolist(), strict=True)
        ]


def as_classes(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an answer about an anomaly in the words of an answer with classes; any other as it is."""
    if "anomaly" not in answer:
        return answer
    shares = {"false": 1 - answer["score"], "true": answer["score"]}
    said = "true" if answer["anomaly"] else "false"
    return {"class": said, "confidence": shares[said], "probabilities": shares}


def forecasts(answers: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return forecasts (N, steps, channels) and the channels, from what `Outputs.answers` gave; at least one."""
    channels = tuple(answers[0]["forecast"])
    found = np.array([[one["forecast"][channel] for channel in channels] for one in answers], dtype=np.float64)
    return found.transpose(0, 2, 1), channels


def watched(found: np.ndarray, channels: tuple[str, ...]) -> Rows:
    """Return what is watched of forecasts (N, steps, channels): what describes each channel, and no gaps."""
    column = Series(length=found.shape[1], channels=channels)
    described = column.describe("prediction", found)
    return {name: described[name] for name in watched_columns(column)}


def watched_columns(target: Series) -> dict[str, Number]:
    """Return the columns of `watched` for forecasts of a target."""
    return {name: kind for name, kind in target.described("prediction").items() if name != "prediction.gaps"}
