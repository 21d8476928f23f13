"""Will the price of electricity in New South Wales go up? A stream whose market changes under the model.

Data: Elec2 (Harries, 1999; the MOA copy): 45,312 half-hours from 7 May 1996, six features scaled to 0..1. Until row
17,424 three columns are constant: then Victoria joins the market, and their first movement is the drift, not
bad data, so the ranges are declared rather than inferred.

The market moves with the seasons, so a model of half a year is better than one of a year. The rule to beat answers
with the last label that has arrived, which is what happened at this time yesterday.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Category,
    Evaluation,
    Gates,
    Governor,
    Labels,
    Model,
    Monitors,
    Number,
    Project,
    Schedule,
    Schema,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

WEEK = 7 * 48  # half-hours
HISTORY_WEEKS = 24
JUDGED = 0.25  # six weeks of 24: as many days as a bootstrap needs, as many windows as say how much windows differ


def weekly(stream: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the first weeks out as one batch each; what follows is traffic."""
    for week in range(HISTORY_WEEKS):
        batch = stream.iloc[week * WEEK : (week + 1) * WEEK]
        yield Batch(f"{batch['time'].iloc[0]:%Y-%m-%d}", batch)


def traffic(stream: "pd.DataFrame") -> Iterator[Batch]:
    """Give what follows those weeks."""
    yield Batch("traffic", stream.iloc[HISTORY_WEEKS * WEEK :])


share = Number(low=0.0, high=1.0)

project = Project(
    name="electricity",
    task="classification",
    schema=Schema(
        columns={
            "day": Category(levels=tuple("1234567")),
            "period": share,
            "nswprice": share,
            "nswdemand": share,
            "vicprice": share,
            "vicdemand": share,
            "transfer": share,
            "class": Category(levels=("DOWN", "UP")),
        },
        target="class",
        key="key",
        time="time",
    ),
    source=Catalogued(name="elec2", split=weekly),
    changes={"new_market": Catalogued(name="elec2", split=traffic)},
    labels=Labels(delay=timedelta(days=1)),
    model=Model(network="mlp", options={"hidden": (64, 32), "dropout": 0.1}),
    training=Training(epochs=30, batch_size=128, learning_rate=1e-3, patience=6),
    evaluation=Evaluation(metric="accuracy", judge=JUDGED, anchor=0.2),
    # 57 % of the hours are DOWN; 960 are 20 days; a quarter of each day is a slice, for a weekday has too few days
    gates=Gates(floors={"accuracy": 0.6}, margin=0.05, anchor_rows=960, slices=("period",)),
    monitors=Monitors(window=Window(span=timedelta(days=7))),
    # with 8 new weeks the newest quarter would be all of them: they would judge, and nothing new be learned
    governor=Governor(cooldown=timedelta(days=7), minimum_labels=10 * WEEK),
    schedule=Schedule(monitor=timedelta(hours=1)),
)
