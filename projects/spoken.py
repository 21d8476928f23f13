"""Which digit was said? Clips of six people; what changes is who speaks.

Data: the Free Spoken Digit Dataset (Jackson et al., CC BY-SA 4.0): 3,000 clips, 50 takes of each digit by each of six
speakers, mono, 8,000 samples a second. Its official test are the takes 0 to 4. The clips have no dates; here the takes
arrive from the last to the first, ten an hour, so that `time-split` asks about just those.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from projects.declaration import (
    Audio,
    Batch,
    Catalogued,
    Category,
    Evaluation,
    Gates,
    Model,
    Monitors,
    Project,
    Schema,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST_HOUR = "2026-01-05"
NEW, NEW_HOUR = "george", "2026-02-02"
AN_HOUR = 10
TAKES = 5  # in a batch
SECONDS = 2.3  # the longest clip has 2.28; half of them end before 0.42


def in_takes(clips: "pd.DataFrame", first: str = FIRST_HOUR) -> Iterator[Batch]:
    """Deal the clips out, five takes a batch, the last take first, from an hour on."""
    import pandas as pd

    dated = clips.sort_values(["take", "key"], ascending=[False, True], ignore_index=True)
    minutes = [at * 60 // AN_HOUR for at in range(len(dated))]
    dated["said_at"] = pd.Timestamp(first, tz="UTC") + pd.to_timedelta(minutes, unit="min")
    for last in range(int(dated["take"].max()), -1, -TAKES):
        batch = dated[(dated["take"] <= last) & (dated["take"] > last - TAKES)]
        yield Batch(f"takes-{99 - last:02d}", batch)


def new_speaker(clips: "pd.DataFrame") -> Iterator[Batch]:
    """Deal out what one of the six says, as if he came after all the others."""
    yield from in_takes(clips[clips["speaker"] == NEW], NEW_HOUR)


project = Project(
    name="spoken",
    task="classification",
    schema=Schema(
        columns={
            "clip": Audio(rate=8000, seconds=SECONDS),
            "digit": Category(levels=tuple("0123456789")),
        },
        target="digit",
        key="key",
        time="said_at",
    ),
    source=Catalogued(name="spoken_digits", split=in_takes),
    changes={"new_speaker": Catalogued(name="spoken_digits", split=new_speaker)},
    model=Model(network="cnn", options={"channels": (16, 32, 64), "hidden": (64,), "dropout": 0.3}),
    training=Training(
        epochs=16, batch_size=32, learning_rate=2e-3, patience=16, schedule="cosine", warmup=1, augment={"mask": 8}
    ),
    # each clip stands for itself: the hash of its key decides its role
    evaluation=Evaluation(metric="accuracy", judge=0.1, anchor=0.1, exchangeable=True, protocols=("time-split",)),
    gates=Gates(floors={"accuracy": 0.9}, margin=0.03, slices=("clip.duration",)),
    monitors=Monitors(window=Window(rows=200)),
)
