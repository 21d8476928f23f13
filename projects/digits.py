"""Handwritten digits from cameras: images that stay right when the cameras change.

Data: the UCI Optical Recognition of Handwritten Digits test set that scikit-learn bundles (Alpaydin & Kaynak,
1998, CC BY 4.0): 1,797 pictures of 8 by 8 pixels, 0 to 16.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from projects.declaration import (
    Batch,
    Bundled,
    Category,
    Evaluation,
    Gates,
    Governor,
    Image,
    Labels,
    Model,
    Monitors,
    Project,
    Schedule,
    Schema,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

HISTORY = 1197  # pictures that arrive as batches; the other 600 are what the cameras see later
BATCHES = 7
FIRST_DAY = "2026-01-05"
OTHER = 0.6  # of the most that other cameras can differ by
DEAD = 5  # labels that were lost, and as many pictures cut short, in one batch


def daily(pictures: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the history out as one batch a day; in the fourth, some rows arrive damaged."""
    import pandas as pd

    history = pictures.iloc[:HISTORY].copy()
    history["id"] = [f"bundled-{i:04d}" for i in range(HISTORY)]
    history["source"] = history["id"]
    size = -(-HISTORY // BATCHES)
    for number in range(BATCHES):
        batch = history.iloc[number * size : (number + 1) * size].copy()
        day = pd.Timestamp(FIRST_DAY, tz="UTC") + pd.Timedelta(days=number)
        batch["taken_at"] = [day + pd.Timedelta(seconds=60 * i) for i in range(len(batch))]
        yield Batch(f"{day:%Y-%m-%d}", damaged(batch) if number == 3 else batch)


def other_cameras(pictures: "pd.DataFrame") -> Iterator[Batch]:
    """Give the rest of the pictures as another fleet of cameras takes them, ten minutes apart."""
    import numpy as np
    import pandas as pd

    from data.injection import new_cameras

    rest = pictures.iloc[HISTORY:]
    images = np.stack(list(rest["image"])).astype(np.uint8)
    changed = new_cameras(images, OTHER, np.random.default_rng(0), 16)
    names = [f"scene-{i:04d}" for i in range(len(rest))]
    day = pd.Timestamp(FIRST_DAY, tz="UTC") + pd.Timedelta(days=BATCHES)
    at = [day + pd.Timedelta(minutes=10 * i) for i in range(len(rest))]
    yield Batch("other-cameras", rest.assign(id=names, source=names, taken_at=at, image=list(changed)))


def damaged(batch: "pd.DataFrame") -> "pd.DataFrame":
    """Break some rows as a bad link does: impossible labels and pictures cut short."""
    digits, images = list(batch["digit"]), list(batch["image"])
    digits[:DEAD] = ["?"] * DEAD
    images[DEAD : 2 * DEAD] = [image[:3] for image in images[DEAD : 2 * DEAD]]
    return batch.assign(digit=digits, image=images)


def shifted(images: Any, generator: Any) -> Any:
    """Move each picture by up to a pixel both ways: a digit stays the digit it is."""
    import torch

    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    across, down = torch.randint(0, 3, (2,), generator=generator).tolist()
    return padded[:, :, down : down + images.shape[2], across : across + images.shape[3]]


project = Project(
    name="digits",
    task="classification",
    schema=Schema(
        columns={
            "image": Image(height=8, width=8, high=16),
            "digit": Category(levels=tuple("0123456789")),
        },
        target="digit",
        key="id",
        time="taken_at",
        entity="source",
    ),
    source=Bundled(name="digits", split=daily),
    changes={"other_cameras": Bundled(name="digits", split=other_cameras)},
    labels=Labels(delay=timedelta(seconds=2)),
    model=Model(network="cnn", options={"channels": (32, 64), "hidden": (64,), "dropout": 0.25}),
    training=Training(epochs=40, batch_size=64, learning_rate=2e-3, patience=10, augment=shifted),
    evaluation=Evaluation(metric="accuracy", judge=0.2, anchor=0.27, exchangeable=True),
    gates=Gates(floors={"accuracy": 0.75}, margin=0.05, anchor_rows=300, slices=("image.brightness",)),
    monitors=Monitors(window=Window(rows=200), k=2, n=3),
    # people train it again and again to see it done
    governor=Governor(promote="auto", cooldown=timedelta(seconds=30), minimum_labels=100, per_day=50, per_week=200),
    schedule=Schedule(monitor=timedelta(minutes=5)),
)
