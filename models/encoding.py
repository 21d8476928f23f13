"""From typed rows to a network's inputs and from its outputs to answers. Needs numpy only, also when serving."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from data.errors import BadDeclaration, BadRow, Corrupt, TooFewRows
from data.schema import Category, Column, Image, Number, Rows, Schema, column_from_json, length, schema_from_json
from models.declarations import Features
from models.features import features_sha256, with_derived
from models.outputs import Outputs

NULL, UNSEEN = 0, 1  # codes of every category, before those of its levels
RESERVED = ("prediction", "confidence")  # what a predictor adds to the columns it is watched by
FAR = 1e6  # standard deviations; keeps a monstrous number finite in float32
ROUNDING = 1e-12  # of the mean: less spread is the rounding of a constant, and would blow up its first movement


@dataclass(frozen=True)
class EncodedSpec:
    """What a network is given and what it must return.

    Its `forward` takes the tensors of `inputs` (name -> shape of one row, dtype), in that order: "image"
    (N, C, H, W) float32 in 0..1, "numbers" (N, F) float32 standardised, "codes" (N, C) int64, each only where
    the schema has such columns. It returns (N, outputs): logits, or one standardised value.
    """

    inputs: dict[str, tuple[tuple[int, ...], str]]
    cardinalities: tuple[int, ...]
    numbers: int
    images: tuple[int, int, int] | None
    outputs: int
    task: Literal["classification", "regression"]


@dataclass(frozen=True)
class Encoder:
    """The transforms of a project's rows, with what they learned from the training rows.

    `scales`: mean and standard deviation of each number, and of a number target; `levels`: the levels of each
    category that training saw. A number that may be null also gives a flag, 1 where it is.
    """

    schema: Schema
    derived: Mapping[str, Column]
    scales: Mapping[str, tuple[float, float]]
    levels: Mapping[str, tuple[str, ...]]
    code_sha256: str | None = None
    features: Features | None = field(default=None, compare=False)

    @classmethod
    def fit(cls, schema: Schema, features: Features | None, rows: Rows) -> "Encoder":
        """Learn scales and levels from training rows.

        Raises: TooFewRows without any row, BadDeclaration for columns that can't be told apart or joined.
        """
        if not length(rows):
            raise TooFewRows("fitting an encoder", 0, 1)
        derived = dict(features.columns) if features else {}
        for name in (*schema.columns, *derived):
            if name in RESERVED or (name in derived and name in schema.names):
                raise BadDeclaration(f"a column can't be named {name!r}: the name is taken")
        known = with_derived(schema, features, rows)
        columns: dict[str, Column] = {**schema.features, **derived}
        target = schema.columns[schema.target]
        numbers = {name: known[name] for name, column in columns.items() if isinstance(column, Number)}
        if isinstance(target, Number):
            numbers[schema.target] = rows[schema.target]
        scales = {name: scale(values) for name, values in numbers.items()}
        levels = {
            name: levels_seen(column, known[name]) for name, column in columns.items() if isinstance(column, Category)
        }
        encoder = cls(schema, derived, scales, levels, features_sha256(features) if features else None, features)
        encoder.spec  # noqa: B018 (refuses images of several sizes before any training)
        return encoder

    @property
    def columns(self) -> dict[str, Column]:
        """What the network learns from: the schema's features, then the derived ones."""
        return {**self.schema.features, **self.derived}

    @property
    def task(self) -> Literal["classification", "regression"]:
        """The kind of answer, from the target's type."""
        return "classification" if isinstance(self.schema.columns[self.schema.target], Category) else "regression"

    @property
    def answers(self) -> tuple[str, ...]:
        """The classes in the order of the network's outputs; empty for regression."""
        target = self.schema.columns[self.schema.target]
        return target.levels if isinstance(target, Category) else ()

    @property
    def spec(self) -> EncodedSpec:
        """What a network for these rows is given and must return.

        Raises: BadDeclaration for images of several sizes, or without any feature.
        """
        columns = self.columns.values()
        images = [column for column in columns if isinstance(column, Image)]
        numbers = sum(1 + column.nullable for column in columns if isinstance(column, Number))
        cardinalities = tuple(len(levels) + 2 for levels in self.levels.values())
        if len({(image.height, image.width) for image in images}) > 1:
            raise BadDeclaration("image columns of one project must have one height and width")
        shape = (sum(image.channels for image in images), images[0].height, images[0].width) if images else None
        inputs: dict[str, tuple[tuple[int, ...], str]] = {}
        if shape:
            inputs["image"] = (shape, "float32")
        if numbers:
            inputs["numbers"] = ((numbers,), "float32")
        if cardinalities:
            inputs["codes"] = ((len(cardinalities),), "int64")
        if not inputs:
            raise BadDeclaration("the schema has no column to learn from besides its target")
        return EncodedSpec(inputs, cardinalities, numbers, shape, len(self.answers) or 1, self.task)

    def derive(self, rows: Rows) -> Rows:
        """Return the columns the network learns from, before encoding."""
        return with_derived(self.schema, self.features, rows)

    def encode(self, rows: Rows) -> dict[str, np.ndarray]:
        """Return the network's inputs by name, in the order of `spec.inputs`."""
        return self.encode_derived(self.derive(rows))

    def encode_derived(self, known: Rows) -> dict[str, np.ndarray]:
        """Return the network's inputs from what `derive` returned."""
        columns = self.columns
        images = [
            pixels(column, known[name]) / np.float32(column.high)
            for name, column in columns.items()
            if isinstance(column, Image)
        ]
        numbers = [name for name, column in columns.items() if isinstance(column, Number)]
        inputs = {}
        if images:
            inputs["image"] = images[0] if len(images) == 1 else np.concatenate(images, axis=1)
        if numbers:
            inputs["numbers"] = self.standardise(known, numbers)
        if self.levels:
            inputs["codes"] = np.stack([codes(levels, known[name]) for name, levels in self.levels.items()], axis=1)
        return inputs

    def standardise(self, known: Rows, names: list[str]) -> np.ndarray:
        """Return numbers (N, F) in standard deviations from their mean, 0 where null, then the flags of nulls."""
        return self.scaled(np.stack([np.asarray(known[name], dtype=np.float64) for name in names], axis=1))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Standardise every number column at once: (N, F) float64, NaN where null."""
        means, deviations, flagged = self.moments
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            scaled = (values - means) / deviations
        np.minimum(np.maximum(scaled, -FAR, out=scaled), FAR, out=scaled)
        if missing.any():
            scaled[missing] = 0.0
        if not flagged:
            return np.asarray(scaled, dtype=np.float32)
        return np.concatenate([scaled, missing[:, flagged]], axis=1, dtype=np.float32)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Means and deviations of the number columns in their order, and the places of those that may be null."""
        names = [name for name, column in self.columns.items() if isinstance(column, Number)]
        means, deviations = np.array([self.scales[name] for name in names], dtype=np.float64).T
        return means, deviations, [at for at, name in enumerate(names) if self.columns[name].nullable]  # type: ignore[union-attr]

    def target(self, rows: Rows) -> np.ndarray:
        """Return classes (N,) int64, or standardised values (N,) float32.

        Raises: BadRow for a label that is null or no level.
        """
        name = self.schema.target
        truth = rows[name]
        if self.task == "regression":
            mean, deviation = self.scales[name]
            unknown = ~np.isfinite(truth)
            encoded = ((truth - mean) / deviation).astype(np.float32)
        else:
            known = {level: index for index, level in enumerate(self.answers)}
            encoded = np.array([known.get(label, -1) for label in truth.tolist()], dtype=np.int64)
            unknown = encoded < 0
        if unknown.any():
            at = int(np.flatnonzero(unknown)[0])
            raise BadRow(f"rows[{at}].{name}", f"{truth[at]!r} is no label")
        return encoded

    def decode(self, outputs: np.ndarray) -> Outputs:
        """Return probabilities from logits (N, K), or values in the target's unit from standardised ones (N, 1)."""
        raw = np.asarray(outputs, dtype=np.float64)
        if self.task == "regression":
            mean, deviation = self.scales[self.schema.target]
            return Outputs(raw * deviation + mean)
        weights = np.exp(raw - raw.max(axis=1, keepdims=True)) if len(raw) else raw
        return Outputs(weights / weights.sum(axis=1, keepdims=True), self.answers)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; of the project's own code only its hash."""
        return {
            "schema": self.schema.to_json(),
            "derived": {name: column_to_json(column) for name, column in self.derived.items()},
            "scales": {name: list(pair) for name, pair in self.scales.items()},
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "features_sha256": self.code_sha256,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], features: Features | None = None) -> "Encoder":
        """Read what `to_json` wrote; `features` is the project's code today.

        Raises: Corrupt when that code is not the code this encoder was fitted with.
        """
        expected = stored["features_sha256"]
        found = features_sha256(features) if features else None
        if expected is not None and expected != found:
            raise Corrupt("the feature code", expected, found or "none")
        return cls(
            schema_from_json(stored["schema"]),
            {name: column_from_json(column) for name, column in stored["derived"].items()},
            {name: (pair[0], pair[1]) for name, pair in stored["scales"].items()},
            {name: tuple(levels) for name, levels in stored["levels"].items()},
            expected,
            features if expected is not None else None,
        )


def scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the finite values; 1 for the latter where it would be nothing."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(known.mean()), float(known.std())
    if not np.isfinite([mean, deviation]).all():
        return float(np.sort(known)[len(known) // 2]), float(np.abs(known).max())  # a mean of two may overflow
    return mean, deviation if deviation > ROUNDING * abs(mean) else 1.0


def levels_seen(column: Category, values: np.ndarray) -> tuple[str, ...]:
    """Return the declared levels that occur, in declared order."""
    seen = set(values.tolist())
    return tuple(level for level in column.levels if level in seen)


def pixels(column: Image, pictures: np.ndarray) -> np.ndarray:
    """Return pictures (N, H, W) or (N, H, W, C) as float32 (N, C, H, W), not yet scaled."""
    shaped = pictures.reshape(len(pictures), column.height, column.width, column.channels)
    return np.ascontiguousarray(shaped.transpose(0, 3, 1, 2), dtype=np.float32)


def codes(levels: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    """Return each value's code (N,) int64: null and unseen levels have codes of their own."""
    known = code_table(levels)
    return np.array([known.get(value, UNSEEN) for value in values.tolist()], dtype=np.int64)


def code_table(levels: tuple[str, ...]) -> dict[str | None, int]:
    """Return the code of each level and of null; whatever is missing here is unseen."""
    return {None: NULL, **{level: index + 2 for index, level in enumerate(levels)}}


def column_to_json(column: Column) -> dict[str, Any]:
    """Return a column as `column_from_json` reads it."""
    return {"type": type(column).__name__, **asdict(column)}
