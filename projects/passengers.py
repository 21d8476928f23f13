"""How many passengers will fly in the next two years? The smallest series there is, with a trend and a season.

Data: international airline passengers in thousands, 144 months from 1949 to 1960 (Box & Jenkins 1976). A row is a
month: the 36 before it, and as its target the 24 from it on. The rule to beat repeats the last twelve months.
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

PAST, COMING = 36, 24  # months
JETS = "1957"


def windows(months: "pd.DataFrame") -> Iterator[Batch]:
    """Cut the months into rows, a month apart, and deal these out as one batch a year."""
    import pandas as pd

    values = months["passengers"].to_numpy()[:, None]
    origins = range(PAST, len(months) - COMING + 1)
    rows = pd.DataFrame(
        {
            "month": [f"{months['time'].iloc[at]:%Y-%m}" for at in origins],
            "at": [months["time"].iloc[at] for at in origins],
            "past": [values[at - PAST : at] for at in origins],
            "coming": [values[at : at + COMING] for at in origins],
        }
    )
    for start in range(0, len(rows), 12):
        batch = rows.iloc[start : start + 12]
        yield Batch(batch["month"].iloc[0], batch)


def jet_age(months: "pd.DataFrame") -> Iterator[Batch]:
    """Give the rows from the first jets on."""
    yield from (batch for batch in windows(months) if batch.name >= JETS)


project = Project(
    name="passengers",
    task="forecast",
    schema=Schema(
        columns={
            "past": Series(length=PAST, channels=("passengers",)),
            "coming": Series(length=COMING, channels=("passengers",)),
        },
        target="coming",
        key="month",
        time="at",
    ),
    source=Catalogued(name="airline_passengers", split=windows),
    changes={"jet_age": Catalogued(name="airline_passengers", split=jet_age)},
    labels=Labels(delay=timedelta(days=2 * 366)),
    model=Model(network="lstm", options={"patch": 12, "width": 16, "season": 12}),
    training=Training(epochs=25, batch_size=8, learning_rate=3e-3, patience=25, schedule="cosine"),
    evaluation=Evaluation(metric="mae", judge=0.2, anchor=0.15, season=12, baselines=("linear",)),
    # 84 rows that share most of their months: the gates say little, `time-split` says what the recipe is worth
    gates=Gates(margin=5.0, anchor_rows=5),
    monitors=Monitors(window=Window(rows=12), minimum_rows=12),
)
