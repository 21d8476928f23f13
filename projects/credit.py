"""Who will be 90 days late within two years? Ten numbers about a borrower; one in fifteen is late.

Data: Give Me Some Credit (Kaggle 2011), 150,000 borrowers. Numbers run over many sizes, so the network sees their
logarithms too; 269 rows count 96 or 98 times late, which are codes and are put in quarantine, as is an age of 0.
"""

from projects.declaration import (
    Catalogued,
    Category,
    Evaluation,
    Features,
    Gates,
    Governor,
    Model,
    Monitors,
    Number,
    Project,
    Rows,
    Schema,
    Training,
    Window,
    equal_parts,
)

WIDE = ("utilization", "debt_ratio", "monthly_income", "late_30_to_59", "late_60_to_89", "late_90")


def logarithms(rows: Rows) -> Rows:
    """Return the numbers that run over many sizes as logarithms; null where they are."""
    import numpy as np

    return {f"log_{name}": np.log1p(np.maximum(rows[name], 0)) for name in WIDE}


times = Number(low=0, high=90, integer=True)

project = Project(
    name="credit",
    task="classification",
    schema=Schema(
        columns={
            "utilization": Number(low=0),
            "age": Number(low=18, high=120, integer=True),
            "late_30_to_59": times,
            "debt_ratio": Number(low=0),
            "monthly_income": Number(low=0, nullable=True),
            "credit_lines": times,
            "late_90": times,
            "real_estate_loans": times,
            "late_60_to_89": times,
            "dependents": Number(low=0, high=90, integer=True, nullable=True),
            "outcome": Category(levels=("paid", "late")),
        },
        target="outcome",
        key="key",
    ),
    source=Catalogued(name="gmsc", split=equal_parts(6)),
    features=Features(
        columns={f"log_{name}": Number(nullable=name == "monthly_income") for name in WIDE}, compute=logarithms
    ),
    model=Model(network="mlp", options={"hidden": (64, 32), "dropout": 0.1}),
    training=Training(epochs=15, batch_size=512, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-3, patience=4),
    evaluation=Evaluation(
        metric="roc_auc",
        judge=0.2,
        anchor=0.1,
        exchangeable=True,
        baselines=("linear", "tree", "boosted"),
        protocols=("holdout",),
    ),
    gates=Gates(floors={"roc_auc": 0.84}, margin=0.01, slices=("age",)),
    monitors=Monitors(window=Window(rows=2000)),
    governor=Governor(minimum_labels=5000),
)
