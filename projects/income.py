"""Who earns more than 50,000 dollars a year? A census, with groups of people that are looked at one by one.

Data: UCI Adult (Kohavi 1996), 48,842 people of 1994. Nothing dates them and none depends on another: the hash of a
person's key decides its role. They arrive in five batches, as the files have them.
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


def shares_of_capital(rows: Rows) -> Rows:
    """Return what capital brought as logarithms: most people have none, and some a great deal."""
    import numpy as np

    return {f"log_{name}": np.log1p(np.maximum(rows[name], 0)) for name in ("capital_gain", "capital_loss")}


def some(*levels: str, nullable: bool = False) -> Category:
    """One of these, or another: the files leave out what is rare."""
    return Category(levels=levels, open=True, nullable=nullable)


project = Project(
    name="income",
    task="classification",
    schema=Schema(
        columns={
            "age": Number(low=0, high=120),
            "workclass": some(
                *("Private", "Self-emp-not-inc", "Self-emp-inc", "Federal-gov", "Local-gov", "State-gov"),
                *("Without-pay", "Never-worked"),
                nullable=True,
            ),
            "education": some(
                *("Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th", "HS-grad"),
                *("Some-college", "Assoc-voc", "Assoc-acdm", "Bachelors", "Masters", "Prof-school", "Doctorate"),
            ),
            "education_num": Number(low=0, high=20),
            "marital_status": some(
                *("Never-married", "Married-civ-spouse", "Married-AF-spouse", "Married-spouse-absent", "Separated"),
                *("Divorced", "Widowed"),
            ),
            "occupation": some(
                *("Adm-clerical", "Armed-Forces", "Craft-repair", "Exec-managerial", "Farming-fishing"),
                *("Handlers-cleaners", "Machine-op-inspct", "Other-service", "Priv-house-serv", "Prof-specialty"),
                *("Protective-serv", "Sales", "Tech-support", "Transport-moving"),
                nullable=True,
            ),
            "relationship": some("Husband", "Wife", "Own-child", "Other-relative", "Not-in-family", "Unmarried"),
            "race": some("White", "Black", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other"),
            "sex": Category(levels=("Female", "Male")),
            "capital_gain": Number(low=0),
            "capital_loss": Number(low=0),
            "hours_per_week": Number(low=0, high=168),
            "native_country": some("United-States", "Mexico", "Philippines", "Germany", "Canada", nullable=True),
            "income": Category(levels=("<=50K", ">50K")),
        },
        target="income",
        key="key",
        sensitive=("sex", "race"),
    ),
    source=Catalogued(name="adult", split=equal_parts(5)),
    features=Features(columns={"log_capital_gain": Number(), "log_capital_loss": Number()}, compute=shares_of_capital),
    model=Model(network="mlp", options={"hidden": (128, 64), "dropout": 0.2}),
    training=Training(epochs=20, batch_size=256, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-3, patience=4),
    evaluation=Evaluation(metric="accuracy", judge=0.2, anchor=0.1, exchangeable=True, protocols=("5-fold",)),
    gates=Gates(floors={"accuracy": 0.83, "roc_auc": 0.88}, margin=0.01, slices=("sex", "race")),
    monitors=Monitors(window=Window(rows=1000)),
    governor=Governor(minimum_labels=2000),
)
