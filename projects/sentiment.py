"""Did the critic like the film? Sentences, read by a transformer that learns its words from scratch.

Data: the Stanford Sentiment Treebank (Socher et al. 2013), whole sentences of two kinds: 6,920 to learn from, 872 and
1,821 to ask about, in small letters with spaces between words and marks. They have no dates; here they arrive in the
order of those parts, 20 an hour, so that the newest 1,821 are the official test: `time-split` asks about just those.

Where SENTIMENT_ENCODER names one, a folder or a NAME@REVISION of the hub, a pretrained encoder reads them instead.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Category,
    Evaluation,
    Gates,
    Model,
    Monitors,
    Project,
    Schema,
    Text,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

FIRST_HOUR = "2026-01-05"
AN_HOUR = 20
WEEK = 7 * 24 * AN_HOUR
TESTED = 1821 / 9613  # of all sentences
ENCODER = os.environ.get("SENTIMENT_ENCODER")
SCRATCH = Model(network="transformer", options={"width": 64, "blocks": 1, "dropout": 0.3, "forget": 0.1})
FROM_SCRATCH = Training(epochs=12, batch_size=64, learning_rate=1e-3, optimizer="adamw", weight_decay=0.01, patience=3)
FINE_TUNING = Training(
    epochs=3, batch_size=32, learning_rate=5e-5, optimizer="adamw", weight_decay=0.01, warmup=0.3, clip=1.0
)


def weekly(sentences: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the sentences out as one batch a week."""
    import pandas as pd

    minutes = [at * 60 // AN_HOUR for at in range(len(sentences))]
    dated = sentences.assign(written_at=pd.Timestamp(FIRST_HOUR, tz="UTC") + pd.to_timedelta(minutes, unit="min"))
    for start in range(0, len(dated), WEEK):
        batch = dated.iloc[start : start + WEEK]
        yield Batch(f"{batch['written_at'].iloc[0]:%Y-%m-%d}", batch)


project = Project(
    name="sentiment",
    task="classification",
    schema=Schema(
        columns={
            "sentence": Text(longest=400),
            "sentiment": Category(levels=("negative", "positive")),
        },
        target="sentiment",
        key="key",
        time="written_at",
    ),
    source=Catalogued(name="sst2", split=weekly),
    model=Model(network="pretrained", options={"folder": ENCODER, "frozen": False}) if ENCODER else SCRATCH,
    training=FINE_TUNING if ENCODER else FROM_SCRATCH,
    # no sentence depends on the one before it, so the hash of its key decides its role
    evaluation=Evaluation(metric="accuracy", judge=TESTED, anchor=0.1, exchangeable=True, protocols=("time-split",)),
    gates=Gates(floors={"accuracy": 0.7}, margin=0.03, slices=("sentence.words",)),
    monitors=Monitors(window=Window(rows=500)),
)
