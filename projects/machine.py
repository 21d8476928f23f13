"""Does this machine begin to fail? Learned from how its temperature usually goes, without a single label.

Data: machine_temperature_system_failure of the Numenta Anomaly Benchmark (Lavin & Ahmad 2015; AGPL-3.0): a sensor of a
large industrial machine, every five minutes from December 2013 to February 2014. Nobody looked at the first seven
weeks; the four after them, with a fault that is hard to see and the failure that it led to, are yet to come.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from projects.declaration import (
    Anomaly,
    Batch,
    Catalogued,
    Evaluation,
    Gates,
    Governor,
    Labels,
    Model,
    Monitors,
    Project,
    Schema,
    Series,
    Threshold,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

PAST = 32  # readings, five minutes apart
EVERY = 6  # readings from one row to the next
KNOWN = "2014-01-20"  # until then nobody looked; from then on people say what they found


def windows(readings: "pd.DataFrame") -> "pd.DataFrame":
    """Cut the readings into rows; one is of a failure where its newest reading is."""
    import pandas as pd

    values, ends = readings["value"].to_numpy()[:, None], range(PAST, len(readings) + 1, EVERY)
    last = readings.iloc[[end - 1 for end in ends]]
    said = last["window"].gt(0).map({True: "true", False: "false"}).where(last["at"] >= pd.Timestamp(KNOWN, tz="UTC"))
    return pd.DataFrame(
        {
            "key": [f"reading-{end - 1:05d}" for end in ends],
            "at": last["at"].to_numpy(),
            "day": last["at"].dt.strftime("%Y-%m-%d").to_numpy(),
            "past": [values[end - PAST : end] for end in ends],
            "failing": said.astype(object).where(said.notna(), None).to_numpy(),
        }
    )


def weekly(readings: "pd.DataFrame", *, known: bool) -> Iterator[Batch]:
    """Deal out, a week a batch, the rows of which nobody said anything, or the others."""
    import pandas as pd

    rows = windows(readings)
    some = rows[rows["failing"].notna() == known]
    for week, batch in some.groupby(some["at"].dt.floor(pd.Timedelta(days=7))):
        yield Batch(f"{week:%Y-%m-%d}", batch)


project = Project(
    name="machine",
    task="anomaly",
    schema=Schema(
        columns={
            "past": Series(length=PAST, channels=("temperature",)),
            "failing": Anomaly(unit=2.0),  # degrees Fahrenheit
        },
        target="failing",
        key="key",
        entity="day",  # windows of a day share readings: whole days choose the threshold, which others didn't teach
        time="at",
    ),
    source=Catalogued(name="nab_machine", split=partial(weekly, known=False)),
    changes={"failure": Catalogued(name="nab_machine", split=partial(weekly, known=True))},
    labels=Labels(delay=timedelta(days=1)),
    # no more than four numbers for 32 readings: what they can't say was unusual
    model=Model(network="mlp", options={"hidden": (32, 4, 32), "dropout": 0.0, "activation": "tanh"}),
    training=Training(epochs=60, batch_size=32, learning_rate=3e-3, patience=60, schedule="cosine"),
    evaluation=Evaluation(
        metric="reconstruction",
        judge=0.2,
        anchor=0.15,
        threshold=Threshold(level="true", false_alarms=0.02),
        baselines=("linear",),
    ),
    gates=Gates(margin=0.2, anchor_rows=100),
    monitors=Monitors(window=Window(span=timedelta(days=2)), minimum_rows=50),
    governor=Governor(minimum_labels=48),
)
