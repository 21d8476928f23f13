"""What is on the photograph? Ten kinds of things in colour, by a small residual network that is shown them changed.

Data: CIFAR-10 (Krizhevsky 2009), a copy whose pictures were kept as JPEG: 50,000 of 32 by 32 pixels to learn from and
10,000 for the official test. They have no dates; here 5,000 arrive a day, the official test last, so that `time-split`
asks about just those.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
    import numpy as np
    import pandas as pd

THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FIRST_DAY = "2026-01-05"
A_DAY = 5000
TEST = 10_000 / 60_000


def daily(pictures: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the pictures out, a day's a batch, each kind of thing in turn; they are unpacked as they come."""
    import pandas as pd

    place = pictures.groupby(["split", "label"], sort=False).cumcount()
    late = pictures["split"] == "test"
    mixed = pictures.assign(place=place, late=late).sort_values(["late", "place", "label"], ignore_index=True)
    mixed["taken_at"] = pd.Timestamp(FIRST_DAY, tz="UTC") + pd.to_timedelta(mixed.index * 86_400 / A_DAY, unit="s")
    for start in range(0, len(mixed), A_DAY):
        batch = mixed.iloc[start : start + A_DAY]
        images: list[Any] = [unpacked(file) for file in batch["jpeg"]]
        yield Batch(f"{batch['taken_at'].iloc[0]:%Y-%m-%d}", batch.assign(image=images))


def unpacked(file: bytes) -> "np.ndarray":
    """Return a JPEG's pixels (32, 32, 3)."""
    import numpy as np
    from PIL import Image as Pictures

    with Pictures.open(io.BytesIO(file), formats=["JPEG"]) as picture:
        return np.asarray(picture.convert("RGB"))


project = Project(
    name="cifar",
    task="classification",
    schema=Schema(
        columns={"image": Image(height=32, width=32, channels=3), "label": Category(levels=THINGS)},
        target="label",
        key="key",
        time="taken_at",
    ),
    source=Catalogued(name="cifar10", split=daily),
    model=Model(network="resnet", options={"channels": (16, 32, 64, 128)}),
    training=Training(
        epochs=12,
        patience=12,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        schedule="cosine",
        warmup=2.0,
        precision="bf16-mixed",
        augment={"crop": 3, "flip": 0.5},
        validation=0.04,
    ),
    # each picture stands for itself: the hash of its key decides its role
    evaluation=Evaluation(metric="accuracy", judge=TEST, anchor=0.1, exchangeable=True, protocols=("time-split",)),
    gates=Gates(floors={"accuracy": 0.75}, margin=0.02, anchor_rows=1000, slices=("image.brightness",)),
    monitors=Monitors(window=Window(rows=500)),
)
