"""The one thing a project file makes, and every word it needs: `from projects.declaration import …`."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal

from data.declared import declared
from data.descriptors import described
from data.errors import BadDeclaration, nearest
from data.expectations import Expect
from data.joining import Facts, Joined
from data.schema import Anomaly, Audio, Category, Column, Id, Image, Number, Ranking, Rows, Schema, Series, Text
from data.sources import Batch, Bundled, Catalogued, Files, Query, equal_parts
from models.declarations import Evaluation, Features, Gates, Model, Threshold, Training
from models.metrics import DECIDING as METRICS
from monitoring.declarations import Governor, Labels, Monitors, Rollout, Schedule, Window

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Anomaly",
    "Audio",
    "Batch",
    "Bundled",
    "Catalogued",
    "Category",
    "Column",
    "Evaluation",
    "Expect",
    "Facts",
    "Features",
    "Files",
    "Gates",
    "Governor",
    "Id",
    "Image",
    "Joined",
    "Labels",
    "Model",
    "Monitors",
    "Number",
    "Project",
    "Query",
    "Ranking",
    "Rollout",
    "Rows",
    "Schedule",
    "Schema",
    "Series",
    "Source",
    "Text",
    "Threshold",
    "Training",
    "Window",
    "equal_parts",
]

TARGETS = {"classification": "Category", "regression": "Number", "forecast": "Series", "anomaly": "Anomaly"}
Source = Callable[[], "pd.DataFrame | Iterable[Batch]"]
"""Anything that, called, gives a frame or dated batches: a plain function, or one of the classes above."""


@declared
class Project:
    """A use case: which data, which model, what must hold. A project file binds one to the name `project`.

    `source` gives rows with their labels, to learn from; `scoring` rows without, for `score/<project>` to answer.
    There a key names one answer for ever: rows that are asked about again each day need a key for the row and the day,
    or none at all.

    `changes`: what the world has in store, by name: labelled rows that come after, or that could be held back from the
    source's, as another hospital's or next year's. `holdfast replay` sends them, `holdfast backtest` plays them and
    `holdfast ingest --without` keeps them out of what is learned from.
    """

    name: str
    task: Literal["classification", "regression", "forecast", "anomaly"]
    schema: Schema
    source: Source
    model: Model
    features: Features | None = None
    expectations: tuple[Expect, ...] = ()
    labels: Labels = Labels()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    gates: Gates = Gates()
    monitors: Monitors = Monitors()
    governor: Governor = Governor()
    rollout: Rollout = Rollout()
    schedule: Schedule = Schedule()
    scoring: Source | None = None
    changes: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", self.name):
            raise BadDeclaration(f"name {self.name!r}: a lower-case letter, then letters, digits or _, 40 at most")
        if self.task not in METRICS:
            raise BadDeclaration(f"no task {self.task!r}; {nearest(self.task, METRICS)}")
        kind = type(self.schema.columns[self.schema.target]).__name__
        wanted = TARGETS[self.task]
        if kind != wanted:
            raise BadDeclaration(f"{self.task} needs {wanted} as target; {self.schema.target!r} is {kind}")
        if (metric := self.evaluation.metric) not in METRICS[self.task]:
            raise BadDeclaration(f"{self.task} has no metric {metric!r}; {nearest(metric, METRICS[self.task])}")
        if self.evaluation.threshold is not None:
            self.check_threshold(self.evaluation.threshold)
        if self.evaluation.anchor_days is not None and self.schema.time is None:
            raise BadDeclaration("Evaluation(anchor_days=…) needs a time column in the schema")
        known = described({**self.schema.features, **(self.features.columns if self.features else {})})
        for name in self.gates.slices:
            if name not in known:
                raise BadDeclaration(f"no column {name!r} to slice by; {nearest(name, known)}")
        if self.monitors.window.span is not None and self.schema.time is None and self.labels.delay.total_seconds():
            raise BadDeclaration("a label delay with windows of time needs a time column in the schema")

    def of_schema(self, schema: Schema) -> "Project":
        """Return the project as a version of another schema knows it: without what only today's columns can say."""
        known = described({**schema.features, **(self.features.columns if self.features else {})})
        slices = tuple(name for name in self.gates.slices if name in known)
        aging = self.evaluation if schema.time else replace(self.evaluation, anchor_days=None)
        return replace(self, schema=schema, gates=replace(self.gates, slices=slices), evaluation=aging)

    def check_threshold(self, threshold: Threshold) -> None:
        """Refuse a threshold of other levels than the target's two, or one that anomalies can't be held to.

        Raises: BadDeclaration.
        """
        target = self.schema.columns[self.schema.target]
        if not (isinstance(target, Category) and len(target.levels) == 2 and threshold.level in target.levels):
            raise BadDeclaration(f"{threshold} needs a target of two levels, one of them {threshold.level!r}")
        if self.task == "anomaly" and (threshold.level != "true" or threshold.false_alarms is None):
            raise BadDeclaration("anomalies are learned without labels: Threshold(level='true', false_alarms=…) only")
