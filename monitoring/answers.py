"""What was answered to many rows, in columns, and what people said of it: how verdicts read a window of the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import orjson

from data.schema import Rows
from models.outputs import as_classes, forecasts, watched
from monitoring.records import Prediction

FEW = 1_000  # answers under which reading one by one is over before Arrow is imported


@dataclass(frozen=True, eq=False)
class Answers:
    """N answers in the order of the log.

    `predicted`: classes (N,), objects; values (N,), float64; or forecasts (N, steps, channels), float64, of the named
    `channels`. `confidence`: float64 (N,), None but for classes; both NaN where one is missing. `probabilities`:
    float64 (N, K) of the K `levels`, none where they were not read. `labels`: objects (N,), None where nobody has
    said. `ids`, `times`: objects (N,), where they were read.
    """

    predicted: np.ndarray
    confidence: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    levels: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.predicted)

    def take(self, which: np.ndarray | slice) -> "Answers":
        """Return some of the answers, by a mask, by positions or by a slice."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        taken = {name: values[which] for name, values in columns.items() if isinstance(values, np.ndarray)}
        return Answers(**taken, levels=self.levels, channels=self.channels)

    @property
    def known(self) -> np.ndarray:
        """Whether somebody has said what was true, bool (N,)."""
        if self.labels is None:
            return np.zeros(len(self), bool)
        return np.array([label is not None for label in self.labels.tolist()], dtype=bool)

    @property
    def labelled(self) -> "Answers":
        """Those of which somebody has said what was true."""
        known = self.known
        return self if known.all() else self.take(known)

    @property
    def values(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Probabilities (N, K) with their K classes, or numbers (N, P) with none; NaN where one is missing."""
        if self.confidence is None:
            return self.predicted.reshape(len(self), -1 if len(self) else 1), ()
        return np.zeros((len(self), 0)) if self.probabilities is None else self.probabilities, self.levels

    @property
    def watched(self) -> Rows:
        """What was answered, as `Predictor.observe` names it."""
        if self.channels:
            return watched(self.predicted, self.channels)
        if self.confidence is None:
            return {"prediction": self.predicted}
        return {"prediction": self.predicted, "confidence": self.confidence}


Reader = Callable[[Sequence[str]], Answers]
"""Reads logged outputs, at least one, as JSON."""


def reader_for(metric: str) -> Reader:
    """Return what reads as much of each output as a metric looks at."""
    return read_shortly if metric == "accuracy" else read_whole


def read_whole(outputs: Sequence[str]) -> Answers:
    """Read outputs with their probabilities."""
    return whole(orjson.loads(f"[{','.join(outputs)}]"))


def read_shortly(outputs: Sequence[str]) -> Answers:
    """Read outputs without their probabilities."""
    found = read_lines(outputs) if len(outputs) >= FEW else None
    return shortly(orjson.loads(f"[{','.join(outputs)}]")) if found is None else found


def read_lines(outputs: Sequence[str]) -> Answers | None:
    """Read many outputs without their probabilities; None where Arrow finds something else in them."""
    import pyarrow as pa
    from pyarrow import json

    first = orjson.loads(outputs[0])
    if "forecast" in first or "anomaly" in first:
        return None
    classes = "class" in first
    wanted = [("class", pa.string()), ("confidence", pa.float64())] if classes else [("value", pa.float64())]
    asked = json.ParseOptions(explicit_schema=pa.schema(wanted), unexpected_field_behavior="ignore")
    try:
        table = json.read_json(pa.py_buffer("\n".join(outputs).encode()), parse_options=asked)
    except pa.ArrowInvalid:
        return None
    if len(table) != len(outputs) or (classes and table.column("class").null_count):
        return None
    if not classes:
        return Answers(np.asarray(table.column("value").to_numpy(), dtype=np.float64))
    coded = table.column("class").combine_chunks().dictionary_encode()
    levels = np.array(coded.dictionary.to_pylist(), dtype=object)
    return Answers(levels[coded.indices.to_numpy()], np.asarray(table.column("confidence").to_numpy(), np.float64))


def answers_of(predictions: Sequence[Prediction]) -> Answers:
    """Return logged predictions as columns."""
    if not predictions:
        return Answers(np.empty(0, dtype=object))
    return replace(
        whole([one.output for one in predictions]),
        labels=objects([one.label for one in predictions]),
        ids=objects([one.id for one in predictions]),
        times=objects([one.row_time for one in predictions]),
    )


def shortly(outputs: Sequence[Any]) -> Answers:
    """Return outputs as columns, without their probabilities."""
    outputs = [as_classes(output) for output in outputs]
    if "forecast" in outputs[0]:
        found, channels = forecasts(outputs)
        return Answers(found, channels=channels)
    if "class" not in outputs[0]:
        return Answers(np.array([number(output.get("value")) for output in outputs]))
    classes = objects([output["class"] for output in outputs])
    return Answers(classes, np.array([number(output.get("confidence")) for output in outputs]))


def whole(outputs: Sequence[Any]) -> Answers:
    """Return outputs as columns; the levels are in the order in which they are first seen."""
    outputs = [as_classes(output) for output in outputs]
    found = shortly(outputs)
    if found.confidence is None:
        return found
    rows = [output.get("probabilities") or {} for output in outputs]
    named = ((*row, output["class"]) for row, output in zip(rows, outputs, strict=True))
    levels = tuple(dict.fromkeys(level for names in named for level in names))
    return replace(
        found, probabilities=np.array([[number(row.get(level)) for level in levels] for row in rows]), levels=levels
    )


def number(value: object) -> float:
    """Return a logged number; NaN for one that is missing."""
    return float(value) if isinstance(value, int | float) else float("nan")


def objects(values: Sequence[Any]) -> np.ndarray:
    """Return values as objects (N,), whatever they are."""
    return np.fromiter(values, dtype=object, count=len(values))


def read_labels(labels: Sequence[str | None]) -> np.ndarray:
    """Read labels as the log has them, JSON or None, as objects (N,)."""
    return objects(orjson.loads(f"[{','.join(label or 'null' for label in labels)}]"))


def join(parts: Sequence[Answers]) -> Answers:
    """Join answers that were read alike, in order; NaN where a part has no probabilities of a level."""
    if not parts:
        return Answers(np.empty(0, dtype=object))
    levels = tuple(dict.fromkeys(level for part in parts for level in part.levels))
    columns: dict[str, np.ndarray] = {}
    for one in fields(Answers):
        found = [getattr(spread(part, levels), one.name) for part in parts]
        if all(isinstance(values, np.ndarray) for values in found):
            columns[one.name] = np.concatenate(found)
    return Answers(**columns, levels=levels, channels=parts[0].channels)


def spread(answers: Answers, levels: tuple[str, ...]) -> Answers:
    """Return answers whose probabilities are those of `levels`."""
    if answers.probabilities is None or answers.levels == levels:
        return answers
    where = [answers.levels.index(level) if level in answers.levels else -1 for level in levels]
    wider = np.column_stack([answers.probabilities, np.full(len(answers), np.nan)])
    return replace(answers, probabilities=wider[:, where], levels=levels)
