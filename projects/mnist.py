"""Handwritten digits by the classic network: the first problem of every course, with all that comes after training.

Data: MNIST (LeCun, Cortes & Burges 1998, CC BY-SA 3.0): 60,000 pictures of 28 by 28 pixels to learn from and 10,000
for the official test. The pictures have no dates; here 5,000 arrive a day, the official test last, so that
`time-split` asks about just those.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Category,
    Evaluation,
    Gates,
    Image,
    Model,
    Monitors,
    Project,
    Schema,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST_DAY = "2026-01-05"
A_DAY = 5000
TEST = 10_000 / 70_000


def daily(pictures: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the pictures out, a day's a batch."""
    import pandas as pd

    dated = pictures.copy()
    dated["taken_at"] = pd.Timestamp(FIRST_DAY, tz="UTC") + pd.to_timedelta(dated.index * 86_400 / A_DAY, unit="s")
    for start in range(0, len(dated), A_DAY):
        batch = dated.iloc[start : start + A_DAY]
        yield Batch(f"{batch['taken_at'].iloc[0]:%Y-%m-%d}", batch)


project = Project(
    name="mnist",
    task="classification",
    schema=Schema(
        columns={"image": Image(height=28, width=28), "digit": Category(levels=tuple("0123456789"))},
        target="digit",
        key="key",
        time="taken_at",
    ),
    source=Catalogued(name="mnist", split=daily),
    model=Model(network="classic_cnn", options={"channels": (32, 64), "hidden": (64,)}),
    training=Training(epochs=5, batch_size=32, learning_rate=1e-3, schedule="cosine", validation=0.05),
    # each picture stands for itself: the hash of its key decides its role
    evaluation=Evaluation(metric="accuracy", judge=TEST, anchor=0.1, exchangeable=True, protocols=("time-split",)),
    gates=Gates(floors={"accuracy": 0.98}, margin=0.005, anchor_rows=1000, slices=("image.brightness",)),
    monitors=Monitors(window=Window(rows=500)),
)
