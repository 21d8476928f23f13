"""Which card payment is a fraud? Rare events, judged by how surely the first alarms are right.

Data: all 492 frauds and 1,230 honest payments of two days in September 2013 (Dal Pozzolo et al. 2015); so the share of
frauds is not that of the world. The hash of a payment's key decides its role; `time-split` learns from the first 70 %
of the two days and asks about the rest. Classes weigh alike in training, which moves probabilities: ranks decide.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Category,
    Evaluation,
    Gates,
    Governor,
    Model,
    Monitors,
    Number,
    Project,
    Schema,
    Threshold,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

HOURS = 12


def half_days(payments: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the payments out as one batch for each half day."""
    import pandas as pd

    for half, batch in payments.groupby(payments["at"].dt.floor(pd.Timedelta(hours=HOURS))):
        yield Batch(f"{half:%Y-%m-%dT%H}", batch)


def second_day(payments: "pd.DataFrame") -> Iterator[Batch]:
    """Give the payments of the second day."""
    day = payments["at"].dt.floor("D")
    yield from half_days(payments[day > day.iloc[0]])


component = Number(low=-200, high=200)

project = Project(
    name="fraud",
    task="classification",
    schema=Schema(
        columns={
            **{f"v{n}": component for n in range(1, 29)},
            "amount": Number(low=0),
            "kind": Category(levels=("honest", "fraud")),
        },
        target="kind",
        key="key",
        time="at",
    ),
    source=Catalogued(name="card_fraud", split=half_days),
    changes={"second_day": Catalogued(name="card_fraud", split=second_day)},
    model=Model(network="mlp", options={"hidden": (64, 32), "dropout": 0.3, "activation": "tanh"}),
    training=Training(
        epochs=60, batch_size=64, optimizer="adamw", learning_rate=2e-3, weight_decay=0.02, patience=12, balanced=True
    ),
    evaluation=Evaluation(
        metric="average_precision",
        judge=0.3,
        anchor=0.1,
        exchangeable=True,
        threshold=Threshold(level="fraud", precision=0.95),
        baselines=("linear", "tree", "boosted"),
        protocols=("time-split",),
    ),
    gates=Gates(floors={"average_precision": 0.85, "roc_auc": 0.93}, margin=0.05, anchor_rows=60),
    monitors=Monitors(window=Window(rows=200)),
    governor=Governor(minimum_labels=200),
)
