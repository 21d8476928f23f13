"""What will a transformer bear in the next four days? Six loads and the temperature of its oil, from two weeks of them.

Data: ETTh1 (Zhou et al. 2021, CC BY-ND 4.0): 17,420 hours from July 2016 to June 2018. A row is a moment: the 336 hours
before it, and as its target the 96 hours after, which are known four days later. Levels shift over the two years.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Evaluation,
    Gates,
    Labels,
    Model,
    Monitors,
    Project,
    Schema,
    Series,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

CHANNELS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
PAST, COMING = 336, 96  # hours
EVERY = 6  # hours from one row to the next
WEEKS = 4  # in a batch
SECOND_YEAR = "2017-07"


def windows(hours: "pd.DataFrame") -> Iterator[Batch]:
    """Cut the hours into rows, and deal these out as one batch every four weeks."""
    import pandas as pd

    values = hours[list(CHANNELS)].to_numpy()
    origins = range(PAST, len(hours) - COMING + 1, EVERY)
    rows = pd.DataFrame(
        {
            "moment": [f"{hours['time'].iloc[at]:%Y-%m-%dT%H}" for at in origins],
            "at": [hours["time"].iloc[at] for at in origins],
            "past": [values[at - PAST : at] for at in origins],
            "coming": [values[at : at + COMING] for at in origins],
        }
    )
    size = WEEKS * 7 * 24 // EVERY
    for start in range(0, len(rows), size):
        batch = rows.iloc[start : start + size]
        yield Batch(batch["moment"].iloc[0][:10], batch)


def second_year(hours: "pd.DataFrame") -> Iterator[Batch]:
    """Give the rows from the second summer on."""
    yield from (batch for batch in windows(hours) if batch.name >= SECOND_YEAR)


project = Project(
    name="energy",
    task="forecast",
    schema=Schema(
        columns={
            "past": Series(length=PAST, channels=CHANNELS),
            "coming": Series(length=COMING, channels=CHANNELS),
        },
        target="coming",
        key="moment",
        time="at",
    ),
    source=Catalogued(name="etth1", split=windows),
    changes={"second_year": Catalogued(name="etth1", split=second_year)},
    labels=Labels(delay=timedelta(hours=COMING)),
    model=Model(network="lstm", options={"patch": 24, "width": 64, "dropout": 0.2}),
    training=Training(epochs=8, batch_size=32, learning_rate=1e-3, patience=8, schedule="cosine"),
    evaluation=Evaluation(metric="mae", judge=0.2, anchor=0.15, season=24, baselines=("linear",)),
    gates=Gates(margin=0.1, anchor_rows=100),
    monitors=Monitors(window=Window(span=timedelta(weeks=1)), minimum_rows=20),
)
