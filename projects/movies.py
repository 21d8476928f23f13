"""Which films will this person like? Ratings from half a star to five, and lists of what was not seen yet.

Data: MovieLens latest-small (Harper & Konstan 2015), 610 people and 9,724 films from 1996 to 2018. The newest fifth of
each person's ratings judges; `bench/rankings.py` chose the settings from the others alone, and asks once. Matrix
factorisation is what ships. Neural collaborative filtering, `network="neural_factors"` with `"hidden": (16,),
"hidden_dropout": 0.5` beside the other options and weight_decay=0.5, takes twice as long, rates a little worse
there and lists a little better.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from projects.declaration import (
    Batch,
    Catalogued,
    Evaluation,
    Gates,
    Governor,
    Id,
    Labels,
    Model,
    Monitors,
    Number,
    Project,
    Ranking,
    Schema,
    Training,
    Window,
)

if TYPE_CHECKING:
    import pandas as pd

NEWCOMERS = 2016  # whoever rated a first film in this year or later


def yearly(ratings: "pd.DataFrame") -> Iterator[Batch]:
    """Deal the ratings out as one batch a year."""
    for year, batch in ratings.groupby(ratings["at"].dt.year):
        yield Batch(str(year), batch)


def newcomers(ratings: "pd.DataFrame") -> Iterator[Batch]:
    """Deal out the ratings of the people who came last: most films are known, none of the people."""
    came = ratings.groupby("user")["at"].transform("min").dt.year
    yield from yearly(ratings[came >= NEWCOMERS])


project = Project(
    name="movies",
    task="regression",
    schema=Schema(
        columns={
            "user": Id(unknown="mean"),
            "movie": Id(unknown="refuse"),
            "rating": Number(low=0.5, high=5.0),
        },
        target="rating",
        key="key",
        time="at",
        ranking=Ranking(user="user", item="movie", liked=4.0),
    ),
    source=Catalogued(name="movielens", split=yearly),
    changes={"newcomers": Catalogued(name="movielens", split=newcomers)},
    labels=Labels(delay=timedelta(days=1)),
    model=Model(network="factors", options={"dropout": 0.7, "list_dropout": 0.1, "lately": 10}),
    training=Training(
        epochs=12,
        batch_size=512,
        optimizer="adamw",
        learning_rate=1e-2,
        weight_decay=0.3,
        schedule="cosine",
        patience=6,
        validation=0.05,
    ),
    evaluation=Evaluation(
        metric="rmse", judge=0.2, anchor=0.05, baselines=("linear", "neighbours"), protocols=("last-of-each",)
    ),
    gates=Gates(floors={"rmse": 0.95}, margin=0.03, anchor_rows=500),
    # what was listed is rated higher than what people found by themselves
    monitors=Monitors(window=Window(rows=2000), ignore=("prediction",)),
    governor=Governor(cooldown=timedelta(days=28), minimum_labels=2000),
)
