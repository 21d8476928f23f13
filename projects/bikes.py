"""How many bikes will be rented this hour? A city that rides more each year, so what was learned grows old.

Data: the Capital Bikeshare hours of 2011 and 2012 (Fanaee-T & Gama 2013), without `casual` and `registered`, whose sum
is the answer. 2011 is learned from; 2012 is traffic. How many were rented is known a week later: so what was rented at
this hour a week ago can be told with a row, and is the rule to beat. The month is left out: within one year it stands
for how far the city has grown, and the one that comes next nobody has learned.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
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

LEARNED_YEAR, NEXT_YEAR = 2011, 2012


def monthly(hours: "pd.DataFrame", year: int = LEARNED_YEAR) -> Iterator[Batch]:
    """Deal one year out as one batch a month, each hour with what was rented a week before, where that is known."""
    import pandas as pd

    rented = hours.set_index("at")["rented"].astype(float)
    hours = hours.assign(week_ago=rented.reindex(hours["at"] - pd.Timedelta(days=7)).to_numpy())
    chosen = hours[hours["at"].dt.year == year]
    for _, batch in chosen.groupby(chosen["at"].dt.month):
        yield Batch(f"{batch['at'].iloc[0]:%Y-%m}", batch)


def numbered(first: int, last: int) -> Category:
    """One of some whole numbers, as levels."""
    return Category(levels=tuple(str(n) for n in range(first, last + 1)))


share = Number(low=0.0, high=1.0)

project = Project(
    name="bikes",
    task="regression",
    schema=Schema(
        columns={
            "hour": numbered(0, 23),
            "weekday": numbered(0, 6),
            "holiday": numbered(0, 1),
            "workday": numbered(0, 1),
            "weather": numbered(1, 4),
            "temperature": share,
            "felt_temperature": share,
            "humidity": share,
            "wind": share,
            "week_ago": Number(low=0, nullable=True),
            "rented": Number(low=0, integer=True),
        },
        target="rented",
        key="key",
        time="at",
    ),
    source=Catalogued(name="bike_sharing", split=monthly),
    changes={"next_year": Catalogued(name="bike_sharing", split=partial(monthly, year=NEXT_YEAR))},
    labels=Labels(delay=timedelta(days=7)),
    model=Model(network="mlp", options={"hidden": (128, 64), "dropout": 0.1}),
    training=Training(epochs=60, batch_size=64, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-3, patience=10),
    evaluation=Evaluation(metric="mae", judge=0.2, anchor=0.15, protocols=("rolling-6",)),
    gates=Gates(floors={"r2": 0.5}, margin=8.0, anchor_rows=300),
    monitors=Monitors(window=Window(span=timedelta(days=7))),
    governor=Governor(cooldown=timedelta(days=14), minimum_labels=24 * 14),
    schedule=Schedule(monitor=timedelta(hours=6)),
)
