"""How many cycles has this jet engine left? Its life in the readings of its last 30 flights.

Data: NASA's C-MAPSS FD001 (Saxena, Goebel, Simon & Eklund 2008): 100 simulated engines are learned from, from some
state of wear until they fail; the 100 of the official test, cut off somewhere before their end, are traffic. As in the
literature nobody is asked to tell a life beyond 125 cycles (Heimes 2008): wear does not show so early.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Evaluation,
    Gates,
    Model,
    Monitors,
    Number,
    Project,
    Schema,
    Series,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

# the sensors that tell anything here: the others hardly ever leave one value
SENSORS = ("T24", "T30", "T50", "P30", "Nf", "Nc", "Ps30", "phi", "NRf", "NRc", "BPR", "htBleed", "W31", "W32")
PAST = 30  # cycles
LONGEST = 125.0  # cycles
EVERY = 2  # cycles from one row of an engine to the next
TOGETHER = 10  # engines in a batch


def windows(cycles: "pd.DataFrame", every: int = EVERY) -> "pd.DataFrame":
    """Cut each engine's cycles into rows, the last cycle always the end of one."""
    import pandas as pd

    parts = []
    for engine, life in cycles.groupby("engine", sort=True):
        readings, ends = life[list(SENSORS)].to_numpy(), range(len(life), PAST - 1, -every)
        parts.append(
            pd.DataFrame(
                {
                    "key": [f"{engine}-{life['cycle'].iloc[end - 1]:03.0f}" for end in ends],
                    "engine": engine,
                    "past": [readings[end - PAST : end] for end in ends],
                    "remaining": [min(life["remaining"].iloc[end - 1], LONGEST) for end in ends],
                }
            )[::-1]
        )
    return pd.concat(parts, ignore_index=True)


def fleets(cycles: "pd.DataFrame", part: str = "train") -> Iterator[Batch]:
    """Deal out the engines that are learned from, or those of the test, ten a batch."""
    known = cycles[cycles["part"] == part]
    engines = sorted(known["engine"].unique())
    for start in range(0, len(engines), TOGETHER):
        some = engines[start : start + TOGETHER]
        yield Batch(some[0], windows(known[known["engine"].isin(some)]))


project = Project(
    name="engines",
    task="regression",
    schema=Schema(
        columns={
            "past": Series(length=PAST, channels=SENSORS),
            "remaining": Number(low=0, high=LONGEST),
        },
        target="remaining",
        key="key",
        entity="engine",
    ),
    source=Catalogued(name="cmapss_fd001", split=fleets),
    changes={"test": Catalogued(name="cmapss_fd001", split=partial(fleets, part="test"))},
    model=Model(network="lstm", options={"width": 48, "hidden": (32,), "dropout": 0.2}),
    training=Training(epochs=20, batch_size=64, learning_rate=2e-3, patience=6, schedule="cosine", clip=1.0),
    # no row of an engine judges what another one of it taught
    evaluation=Evaluation(metric="rmse", judge=0.2, anchor=0.15, exchangeable=True, protocols=("5-fold",)),
    gates=Gates(floors={"rmse": 22.0}, margin=3.0),
    monitors=Monitors(window=Window(rows=300)),
)
