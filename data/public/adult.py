"""Adult, an extract of the United States' census of 1994 (Kohavi 1996): who earns more than 50,000 dollars a year."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public, content

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("data", "test")
COMMIT = "2fec7be9fbc1"
ORIGIN = f"https://raw.githubusercontent.com/Monee101/VRDAGT/{COMMIT}/data/adult"
NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
COLUMNS = (
    *("age", "workclass", "weight", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
)


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read both parts, whose second begins with a comment and ends its labels with a dot."""
    import pandas as pd

    frames = []
    for part, path in zip(PARTS, paths, strict=True):
        text = content(path).decode()
        text = text.partition("\n")[2] if text.startswith("|") else text
        frame = pd.read_csv(
            io.StringIO(text), names=list(COLUMNS), header=None, skipinitialspace=True, na_values="?", dtype=str
        )
        frames.append(frame.assign(part=part))
    return pd.concat(frames, ignore_index=True)


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the people in the order of the files: `key`, `part`, then the columns but the sampling weight."""
    import pandas as pd

    at = given.groupby("part").cumcount()
    kept = [name for name in COLUMNS if name != "weight"]
    columns = {name: given[name].astype(float) if name in NUMBERS else given[name] for name in kept}
    columns["income"] = given["income"].str.rstrip(".")
    keys = [f"{part}-{n:05d}" for part, n in zip(given["part"], at, strict=True)]
    return pd.DataFrame({"key": keys, "part": given["part"], **columns})


ADULT = Public(
    "adult",
    ("adult/adult.data.gz", "adult/adult.test.gz"),
    "327f47cfd0e6c3f2860888d5810c19ad3f5b58c1bec52a96c5547ea3c500f5ab",
    read,
    tidy,
    urls={f"{ORIGIN}/adult.{part}.txt": f"adult/adult.{part}" for part in PARTS},
)
