"""Films rated at movielens.org from 1996 to 2018, the small set of 2018 (Harper & Konstan 2015).

GroupLens lets it be used for research and not be passed on, so it comes from them.
"""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public

if TYPE_CHECKING:
    import pandas as pd

FILE = "movielens_latest_small/ml-latest-small.zip"


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the ratings of the packed set."""
    import pandas as pd

    with zipfile.ZipFile(paths[0]) as packed:
        return pd.read_csv(io.BytesIO(packed.read("ml-latest-small/ratings.csv")))


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the ratings, oldest first: `key`, `at`, `user`, `movie`, `rating` in halves of a star."""
    import pandas as pd

    given = given.sort_values(["timestamp", "userId", "movieId"], ignore_index=True)
    user, movie = given["userId"].astype(str), given["movieId"].astype(str)
    return pd.DataFrame(
        {
            "key": user + "-" + movie,
            "at": pd.to_datetime(given["timestamp"], unit="s", utc=True),
            "user": user.astype(object),
            "movie": movie.astype(object),
            "rating": given["rating"].astype(float),
        }
    )


MOVIELENS = Public(
    "movielens",
    (FILE,),
    "aa607c31f9a6ddcb157e9f155f6ea5e4e06cd6941be6d3d4c77f75637242d4fc",
    read,
    tidy,
    urls={"https://files.grouplens.org/datasets/movielens/ml-latest-small.zip": FILE},
)
