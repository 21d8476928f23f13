"""From typed rows to a network's inputs and from its outputs to answers. Needs numpy only, also when serving."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

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
from models.anomalies import Scoring, scores, scoring
from models.channels import places, steps, targets
from models.confusions import class_codes
from models.declarations import Features, Model
from models.features import features_sha256, with_derived
from models.outputs import Outputs, Task
from models.pieces import Pieces, folder_of
from models.specification import EncodedSpec, inputs_of
from models.transforms import UNSEEN, K, Scaling, code_table, codes, levels_seen, of_kind, pixels, scales_of
from models.vocabulary import Vocabulary

__all__ = ["EncodedSpec", "Encoder"]

RESERVED = ("prediction", "confidence")  # what a predictor adds to the columns it is watched by


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
        target = schema.target
        scales = scales_of({**columns, target: schema.columns[target]}, {**known, target: rows[target]}, target)
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
    def scoring(self) -> Scoring | None:
        """What makes a score of a reconstruction, where anomalies are looked for; raises as `anomalies.scoring`."""
        target = self.schema.columns[self.schema.target]
        return scoring(target, self.of(Series), self.scales) if isinstance(target, Anomaly) else None

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
        cardinalities = tuple(len(levels) + 2 for levels in self.levels.values())
        words = sum(one.places for one in self.vocabularies.values())
        inputs = inputs_of(self.columns, words, len(cardinalities))
        outputs = len(self.answers) or (math.prod(self.forecast.shape) if self.forecast else 1)
        ranked = (list(self.levels).index(self.schema.ranking.item),) if self.schema.ranking else ()
        taught = [one.shape for one in self.vocabularies.values() if isinstance(one, Pieces)]
        found = places(self.of(Series))
        if self.scoring:
            answered, outputs = tuple(place.at for place in found), len(self.scoring.reach)
        else:
            answered = targets(found, self.forecast.channels if self.forecast else ())
        return EncodedSpec(
            inputs,
            cardinalities,
            inputs["numbers"][0][0] if "numbers" in inputs else 0,
            inputs["image"][0] if "image" in inputs else None,  # type: ignore[arg-type]
            outputs + len(ranked),
            self.task,
            max(map(len, self.vocabularies.values()), default=0),
            answered,
            ranked,
            pretrained=taught[0] if taught else None,
            gaps=tuple(place.flag for place in found) if self.scoring else (),
            newest=self.scoring.newest if self.scoring else 0,
        )

    def of(self, kind: type[K]) -> dict[str, K]:
        """Return the columns of one kind that the network learns from, by name."""
        return of_kind(self.columns, kind)

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
            inputs["numbers"] = self.scaling(np.stack([np.asarray(known[name], np.float64) for name in names], axis=1))
        if self.levels:
            inputs["codes"] = np.stack([codes(table, known[name]) for name, table in self.tables.items()], axis=1)
        return inputs

    def encode_arrays(self, known: Rows) -> dict[str, np.ndarray]:
        """Return the inputs from pictures, clips, series and texts, several columns of a kind as one."""
        parts = {
            "image": [pixels(column, known[name]) / np.float32(column.high) for name, column in self.of(Image).items()],
            "audio": [spectra.log_mel(known[name], clip.rate)[:, None] for name, clip in self.of(Audio).items()],
            "series": [steps(name, one, self.scales, known[name]) for name, one in self.of(Series).items()],
            "text": [words.encode(known[name].tolist()) for name, words in self.vocabularies.items()],
        }
        joints = {"image": 1, "audio": 1, "series": 2, "text": 1}
        return {
            name: made[0] if len(made) == 1 else np.concatenate(made, axis=joints[name])
            for name, made in parts.items()
            if made
        }

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

    @cached_property
    def scaling(self) -> Scaling:
        """What standardises the numbers."""
        numbers = self.of(Number)
        means, deviations = np.array([self.scales[name] for name in numbers], dtype=np.float64).T
        return Scaling(means, deviations, [at for at, column in enumerate(numbers.values()) if column.nullable])

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
            encoded = class_codes(truth, self.answers)
            unknown = encoded == len(self.answers)
        if unknown.any():
            at = int(np.flatnonzero(unknown)[0])
            raise BadRow(f"rows[{at}].{name}", f"{rows[name][at]!r} is no label")
        return np.asarray(encoded)

    def decode(self, outputs: np.ndarray) -> Outputs:
        """Return probabilities from logits (N, K), or values in the target's unit from standardised ones.

        Of an anomaly the score, from what could not be reconstructed of each value (N, outputs).
        """
        raw = np.asarray(outputs, dtype=np.float64)
        if self.scoring:
            return Outputs(scores(self.scoring.errors(raw)), self.answers, anomaly=True)
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
