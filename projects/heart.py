"""Are this patient's arteries narrowed? Few of the sick may be missed, and each hospital is another world.

Data: UCI heart disease (Janosi, Steinbrunn, Pfisterer & Detrano 1988), 920 patients of four hospitals. Cleveland's and
Hungary's are learned from; Switzerland's and the Veterans' are what a move to another hospital brings, where much is
not measured: a fault, until a person accepts that from now on it is so (`holdfast accept`). The threshold holds a
recall of 0.9: nine in ten of the sick are told so.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Category,
    Evaluation,
    Gates,
    Governor,
    Model,
    Monitors,
    Number,
    Project,
    Schema,
    Threshold,
    Training,
    Window,
    equal_parts,
)

if TYPE_CHECKING:
    import pandas as pd

LEARNED = ("cleveland", "hungarian")
BATCHES = 3


def months(patients: "pd.DataFrame") -> Iterable[Batch]:
    """Deal out the patients of the hospitals that are learned from, drawn, for their files put the healthy first."""
    known = patients[patients["hospital"].isin(LEARNED)].sample(frac=1, random_state=0)
    known = known.assign(key=[f"patient-{number:03d}" for number in range(len(known))])
    return equal_parts(BATCHES, "month")(known)


def moved(patients: "pd.DataFrame") -> Iterator[Batch]:
    """Deal out the patients of the hospitals that were not learned from, one after the other."""
    for hospital, batch in patients[~patients["hospital"].isin(LEARNED)].groupby("hospital"):
        yield Batch(str(hospital), batch)


def one_of(*codes: str, nullable: bool = False) -> Category:
    """One of the survey's codes."""
    return Category(levels=codes, nullable=nullable)


project = Project(
    name="heart",
    task="classification",
    schema=Schema(
        columns={
            "age": Number(low=0, high=120),
            "sex": one_of("0", "1"),
            "chest_pain": one_of("1", "2", "3", "4"),
            "blood_pressure": Number(low=0, high=300, nullable=True),
            "cholesterol": Number(low=0, high=700, nullable=True),
            "fasting_sugar": one_of("0", "1"),
            "ecg": one_of("0", "1", "2"),
            "heart_rate": Number(low=0, high=250, nullable=True),
            "angina": one_of("0", "1"),
            "st_depression": Number(low=-5, high=10),
            "st_slope": one_of("1", "2", "3", nullable=True),
            "thallium": one_of("3", "6", "7", nullable=True),
            "disease": Category(levels=("no", "yes")),
        },
        target="disease",
        key="key",
        sensitive=("sex",),
    ),
    source=Catalogued(name="heart_disease", split=months),
    changes={"other_hospital": Catalogued(name="heart_disease", split=moved)},
    model=Model(network="mlp", options={"hidden": (16,), "dropout": 0.2}),
    # three in ten of the learned patients choose the threshold: a tenth of few sick people says little
    training=Training(
        epochs=60, batch_size=32, optimizer="adamw", learning_rate=5e-3, weight_decay=0.05, patience=15, validation=0.3
    ),
    evaluation=Evaluation(
        metric="roc_auc",
        judge=0.25,
        anchor=0.1,
        exchangeable=True,
        threshold=Threshold(level="yes", recall=0.9),
        protocols=("10-fold",),
    ),
    gates=Gates(floors={"roc_auc": 0.75, "recall": 0.8}, margin=0.15, anchor_rows=20, slices=("sex",), slice_rows=30),
    monitors=Monitors(window=Window(rows=60), minimum_rows=40),
    governor=Governor(minimum_labels=60),
)
