"""From typed rows to a network's inputs and from its outputs to answers. Needs numpy only, also when serving."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from data.descriptors import describe, described
from data.errors import BadDeclaration, BadRow, Corrupt, TooFewRows
from data.schema import (
    Anomaly,
    Audio,
    Category,
    Column,
    Id,
    Image,
    Number,
    Rows,
    Schema,
    Series,
    Text,
    column_from_json,
    column_to_json,
    length,
    schema_from_json,
)
from models import spectra
from models.declarations import Features, Model
from models.features import features_sha256, with_derived
from models.outputs import Outputs, Task
from models.pieces import Pieces, folder_of
from models.specification import EncodedSpec
from models.transforms import FAR, UNSEEN, code_table, codes, levels_seen, one_size, pixels, quantities, scale, shared
from models.vocabulary import Vocabulary

__all__ = ["EncodedSpec", "Encoder"]

RESERVED = ("prediction", "confidence")  # what a predictor adds to the columns it is watched by
K = TypeVar("K", bound=Column)


@dataclass(frozen=True)
class Encoder:
    """The transforms of a project's rows, with what they learned from the training rows.

    `scales`: mean and standard deviation of each number, of a number target, and as `series.channel` of each channel;
    `levels`: the levels of each category, and the ids, that training saw; `vocabularies`: the words of each text, or
    their pieces. A number that may be null also gives a flag, 1 where it is, and a series that may have gaps one for
    each channel.
    """

    schema: Schema
    derived: Mapping[str, Column]
    scales: Mapping[str, tuple[float, float]]
    levels: Mapping[str, tuple[str, ...]]
    code_sha256: str | None = None
    features: Features | None = field(default=None, compare=False)
    vocabularies: Mapping[str, Vocabulary | Pieces] = field(default_factory=dict)

    @classmethod
    def fit(cls, schema: Schema, features: Features | None, rows: Rows, model: Model | None = None) -> "Encoder":
        """Learn scales and levels from training rows, and words, unless the model's encoder brings its own.

        Raises: TooFewRows without any row, BadDeclaration for columns that can't be told apart or joined, and as
        `Pieces.fit`.
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
        numbers = quantities({**columns, schema.target: target}, {**known, schema.target: rows[schema.target]})
        scales = {name: scale(values) for name, values in numbers.items()}
        scales |= {f"{schema.target}.{one}": scales[name] for name, one in shared(columns, target)}
        folder, written = folder_of(model), [name for name, column in columns.items() if isinstance(column, Text)]
        texts = {name: Pieces.fit(known[name], folder) if folder else Vocabulary.fit(known[name]) for name in written}
        coded = {name: column for name, column in columns.items() if isinstance(column, Category | Id)}
        levels = {name: levels_seen(column, known[name]) for name, column in coded.items()}
        code = features_sha256(features) if features else None
        encoder = cls(schema, derived, scales, levels, code, features, texts)
        encoder.spec  # noqa: B018 (refuses images of several sizes before any training)
        return encoder

    @property
    def columns(self) -> dict[str, Column]:
        """What the network learns from: the schema's features, then the derived ones."""
        return {**self.schema.features, **self.derived}

    @property
    def task(self) -> Task:
        """The kind of answer, from the target's type."""
        if self.forecast is not None:
            return "forecast"
        target = self.schema.columns[self.schema.target]
        if isinstance(target, Anomaly):
            return "anomaly"
        return "classification" if isinstance(target, Category) else "regression"

    @property
    def forecast(self) -> Series | None:
        """The target where it is a series."""
        target = self.schema.columns[self.schema.target]
        return target if isinstance(target, Series) else None

    @cached_property
    def unit(self) -> tuple[np.ndarray, np.ndarray]:
        """What standardised values stand for: means and deviations (outputs,) of the target; 0 and 1 for classes."""
        if self.answers:
            return np.zeros(1), np.ones(1)
        names = [f"{self.schema.target}.{one}" for one in self.forecast.channels] if self.forecast else []
        pairs = np.array([self.scales[name] for name in names or [self.schema.target]])
        means, deviations = np.tile(pairs.T, self.forecast.length if self.forecast else 1)
        return means, deviations

    @cached_property
    def reach(self) -> np.ndarray:
        """How many units of an anomaly's error the standardised values (outputs,) of its series stand for.

        Raises: BadDeclaration for another number of units than of channels.
        """
        target, names = self.schema.columns[self.schema.target], self.watched
        units = np.atleast_1d(target.unit if isinstance(target, Anomaly) else 1.0)
        if len(units) not in (1, len(names)):
            raise BadDeclaration(f"Anomaly(unit=…) has {len(units)} units for {len(names)} channels")
        each = np.array([self.scales[name][1] for name in names]) / units
        return np.tile(each, one_size(self.of(Series))[0])

    @cached_property
    def counted(self) -> np.ndarray:
        """What each value's squared error (outputs,) counts in a row's: all alike, or those of the newest steps.

        Raises: BadDeclaration for more steps than a window has.
        """
        target, width = self.schema.columns[self.schema.target], len(self.watched)
        newest = target.newest if isinstance(target, Anomaly) else None
        counts = np.zeros(len(self.reach))
        if newest and newest * width > len(counts):
            raise BadDeclaration(f"Anomaly(newest={newest}): a window has {len(counts) // width} steps")
        counts[len(counts) - (newest * width if newest else len(counts)) :] = 1.0
        return np.asarray(counts / counts.sum())

    @property
    def watched(self) -> list[str]:
        """The channels, as `series.channel`, that are reconstructed where anomalies are looked for.

        Raises: BadDeclaration without any.
        """
        found = [f"{name}.{channel}" for name, column in self.of(Series).items() for channel in column.channels]
        if not found:
            raise BadDeclaration("anomalies are looked for in a Series: the schema has none beside its target")
        return found

    @property
    def answers(self) -> tuple[str, ...]:
        """The classes in the order of the network's outputs; empty for regression."""
        target = self.schema.columns[self.schema.target]
        return target.levels if isinstance(target, Category) else ()

    @property
    def spec(self) -> EncodedSpec:
        """What a network for these rows is given and must return.

        Raises: BadDeclaration for images, clips or series of several sizes, or without any feature.
        """
        columns = self.columns.values()
        numbers = sum(1 + column.nullable for column in columns if isinstance(column, Number))
        cardinalities = tuple(len(levels) + 2 for levels in self.levels.values())
        images = self.of(Image)
        shape: tuple[int, int, int] | None = None
        inputs: dict[str, tuple[tuple[int, ...], str]] = {}
        if images:
            height, width = one_size(images)
            shape = (sum(image.channels for image in images.values()), height, width)
            inputs["image"] = (shape, "float32")
        if clips := self.of(Audio):
            rates = {clip.rate for clip in clips.values()}
            if len(rates) > 1:
                raise BadDeclaration("audio columns of one project must have one rate")
            inputs["audio"] = ((len(clips), *spectra.shape(one_size(clips)[0], rates.pop())), "float32")
        if series := self.of(Series):
            channels = sum(len(one.channels) * (1 + one.nullable) for one in series.values())
            inputs["series"] = ((one_size(series)[0], channels), "float32")
        if self.vocabularies:
            inputs["text"] = ((sum(one.places for one in self.vocabularies.values()),), "int64")
        if numbers:
            inputs["numbers"] = ((numbers,), "float32")
        if cardinalities:
            inputs["codes"] = ((len(cardinalities),), "int64")
        if not inputs:
            raise BadDeclaration("the schema has no column to learn from besides its target")
        vocabulary = max(map(len, self.vocabularies.values()), default=0)
        outputs = len(self.answers) or (math.prod(self.forecast.shape) if self.forecast else 1)
        ranked = (list(self.levels).index(self.schema.ranking.item),) if self.schema.ranking else ()
        outputs = len(self.reach) if self.task == "anomaly" else outputs + len(ranked)
        taught = [one.shape for one in self.vocabularies.values() if isinstance(one, Pieces)]
        return EncodedSpec(
            inputs,
            cardinalities,
            numbers,
            shape,
            outputs,
            self.task,
            vocabulary,
            self.targets(),
            ranked,
            pretrained=taught[0] if taught else None,
            gaps=self.gaps() if self.task == "anomaly" else (),
            newest=int((self.counted > 0).sum()) if self.task == "anomaly" else 0,
        )

    def targets(self) -> tuple[int, ...]:
        """Return the places of the target's channels in the input "series"; for anomalies, of all channels."""
        if self.task == "anomaly":
            return tuple(at for at, _ in self.places())
        places: dict[str, int] = {}
        at = 0
        for column in self.of(Series).values():
            places |= {channel: at + place for place, channel in enumerate(column.channels) if channel not in places}
            at += len(column.channels) * (1 + column.nullable)
        wanted = self.forecast.channels if self.forecast else ()
        return tuple(places[channel] for channel in wanted) if set(wanted) <= places.keys() else ()

    def gaps(self) -> tuple[int, ...]:
        """Return the place of each target's flag in the input "series", -1 for a channel that can't have gaps."""
        return tuple(flag for _, flag in self.places())

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield the places of each channel and of its flag in the input "series"."""
        at = 0
        for column in self.of(Series).values():
            count = len(column.channels)
            yield from ((at + one, at + count + one if column.nullable else -1) for one in range(count))
            at += count * (1 + column.nullable)

    def of(self, kind: type[K]) -> dict[str, K]:
        """Return the columns of one kind that the network learns from, by name."""
        return {name: column for name, column in self.columns.items() if isinstance(column, kind)}

    def derive(self, rows: Rows) -> Rows:
        """Return the columns the network learns from, before encoding."""
        return with_derived(self.schema, self.features, rows)

    def encode(self, rows: Rows) -> dict[str, np.ndarray]:
        """Return the network's inputs by name, in the order of `spec.inputs`."""
        return self.encode_derived(self.derive(rows))

    def encode_derived(self, known: Rows) -> dict[str, np.ndarray]:
        """Return the network's inputs from what `derive` returned."""
        inputs = self.encode_arrays(known)
        if names := list(self.of(Number)):
            inputs["numbers"] = self.standardise(known, names)
        if self.levels:
            inputs["codes"] = np.stack([codes(table, known[name]) for name, table in self.tables.items()], axis=1)
        return inputs

    def encode_arrays(self, known: Rows) -> dict[str, np.ndarray]:
        """Return the inputs from pictures, clips, series and texts, several columns of a kind as one."""
        parts = {
            "image": [pixels(column, known[name]) / np.float32(column.high) for name, column in self.of(Image).items()],
            "audio": [spectra.log_mel(known[name], clip.rate)[:, None] for name, clip in self.of(Audio).items()],
            "series": [self.steps(name, known[name]) for name in self.of(Series)],
            "text": [words.encode(known[name].tolist()) for name, words in self.vocabularies.items()],
        }
        joints = {"image": 1, "audio": 1, "series": 2, "text": 1}
        return {
            name: made[0] if len(made) == 1 else np.concatenate(made, axis=joints[name])
            for name, made in parts.items()
            if made
        }

    def steps(self, name: str, windows: np.ndarray) -> np.ndarray:
        """Return a series (N, T, C) in standard deviations of each channel, 0 in a gap, then the flags of gaps."""
        column = self.columns[name]
        assert isinstance(column, Series)
        means, deviations = np.array([self.scales[f"{name}.{channel}"] for channel in column.channels]).T
        gaps = np.isnan(windows)
        with np.errstate(over="ignore"):
            scaled = np.clip((windows - means) / deviations, -FAR, FAR)
        scaled[gaps] = 0.0
        made = np.concatenate([scaled, gaps], axis=2) if column.nullable else scaled
        return np.asarray(made, dtype=np.float32)

    def describe(self, known: Rows) -> Rows:
        """Return what is watched of derived rows: what describes each column, and how many words or ids are new."""
        new = {f"{name}.unknown": words.unknown(known[name]) for name, words in self.vocabularies.items()}
        for name in self.of(Id):
            new[f"{name}.unknown"] = (codes(self.tables[name], known[name]) == UNSEEN).astype(np.float64)
        return {**describe(self.columns, known), **new}

    @property
    def described(self) -> dict[str, Column]:
        """The columns of `describe`."""
        new = {f"{name}.unknown": Number(low=0.0, high=1.0) for name in (*self.vocabularies, *self.of(Id))}
        return {**described(self.columns), **new}

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

    @cached_property
    def tables(self) -> dict[str, dict[str | None, int]]:
        """The code of each level and id, by column: made once, since there may be many."""
        return {name: code_table(levels) for name, levels in self.levels.items()}

    def target(self, rows: Rows) -> np.ndarray:
        """Return classes (N,) int64, or standardised values (N,) float32, of a forecast (N, outputs).

        Of an anomaly, which is learned without labels, the error (N,) that there should be: none.

        Raises: BadRow for a label that is null, has a gap or is no level.
        """
        name = self.schema.target
        truth = rows[name]
        if self.task == "anomaly":
            return np.zeros(len(truth), dtype=np.float32)
        means, deviations = self.unit
        if self.task != "classification":
            truth = truth.reshape(len(truth), math.prod(truth.shape[1:]))
            unknown = np.asarray(~np.isfinite(truth).all(axis=1))
            scaled = ((truth - means) / deviations).astype(np.float32)
            encoded = scaled[:, 0] if self.task == "regression" else scaled
        else:
            known = {level: index for index, level in enumerate(self.answers)}
            encoded = np.array([known.get(label, -1) for label in truth.tolist()], dtype=np.int64)
            unknown = encoded < 0
        if unknown.any():
            at = int(np.flatnonzero(unknown)[0])
            raise BadRow(f"rows[{at}].{name}", f"{rows[name][at]!r} is no label")
        return np.asarray(encoded)

    def decode(self, outputs: np.ndarray) -> Outputs:
        """Return probabilities from logits (N, K), or values in the target's unit from standardised ones.

        Of an anomaly the score, from what could not be reconstructed of each value (N, outputs).
        """
        raw = np.asarray(outputs, dtype=np.float64)
        if self.task == "anomaly":
            error = np.sqrt((raw * self.reach) ** 2 @ self.counted)
            return Outputs(np.column_stack([1 / (1 + error), error / (1 + error)]), self.answers, anomaly=True)
        means, deviations = self.unit
        if self.schema.ranking:
            return Outputs(raw[:, :1] * deviations + means, scores=raw[:, 1])
        if self.task != "classification":
            return Outputs(raw * deviations + means, channels=self.forecast.channels if self.forecast else ())
        weights = np.exp(raw - raw.max(axis=1, keepdims=True)) if len(raw) else raw
        return Outputs(weights / weights.sum(axis=1, keepdims=True), self.answers)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; of the project's own code only its hash."""
        return {
            "schema": self.schema.to_json(),
            "derived": {name: column_to_json(column) for name, column in self.derived.items()},
            "scales": {name: list(pair) for name, pair in self.scales.items()},
            "levels": {name: list(levels) for name, levels in self.levels.items()},
            "vocabularies": {name: words.to_json() for name, words in self.vocabularies.items()},
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
            {
                name: (Pieces if "shape" in words else Vocabulary).from_json(words)
                for name, words in stored.get("vocabularies", {}).items()
            },
        )
