"""Which iris is it? Four measurements of 150 flowers: the smallest table there is, judged by leaving one out.

Data: Fisher's iris (1936), which scikit-learn bundles (BSD). Nothing dates the flowers and none depends on another, so
the hash of a flower's number decides its role.
"""

from projects.declaration import (
    Bundled,
    Category,
    Evaluation,
    Gates,
    Governor,
    Model,
    Monitors,
    Number,
    Project,
    Schema,
    Training,
    Window,
)

centimetres = Number(low=0.0, high=20.0)

project = Project(
    name="iris",
    task="classification",
    schema=Schema(
        columns={
            "sepal_length_cm": centimetres,
            "sepal_width_cm": centimetres,
            "petal_length_cm": centimetres,
            "petal_width_cm": centimetres,
            "target": Category(levels=("setosa", "versicolor", "virginica")),
        },
        target="target",
        key="key",
    ),
    source=Bundled(name="iris"),
    model=Model(network="mlp", options={"hidden": (16,), "dropout": 0.0, "activation": "tanh"}),
    training=Training(epochs=40, batch_size=32, optimizer="adamw", learning_rate=0.02, weight_decay=0.01, patience=40),
    evaluation=Evaluation(
        metric="accuracy", judge=0.3, anchor=0.15, exchangeable=True, protocols=("leave-one-out", "10-fold")
    ),
    # some 45 flowers judge: they show more than a majority of a third, and the protocols what the recipe is worth
    gates=Gates(floors={"accuracy": 0.85}, margin=0.15, anchor_rows=15),
    monitors=Monitors(window=Window(rows=30), minimum_rows=20),
    governor=Governor(minimum_labels=30),
)
