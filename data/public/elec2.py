"""Elec2: half-hours of the electricity market of New South Wales (Harries 1999; the MOA copy)."""

from typing import TYPE_CHECKING

from data.public.base import Public, read_csv

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the half-hours from 7 May 1996 on: `key`, `time`, `day` (1 is Monday), numbers, `class`.

    Copies differ in how they write numbers (to 6 decimals all agree) and classes, and some leave out the day.
    """
    import numpy as np
    import pandas as pd

    rows = np.arange(len(given))
    names = {"1": "UP", "0": "DOWN"}
    classes = [names.get(str(value), str(value)) for value in given["class"]]
    return pd.DataFrame(
        {
            "key": rows.astype(str).astype(object),
            "time": pd.Timestamp("1996-05-07", tz="UTC") + pd.to_timedelta(rows * 30, unit="min"),
            "day": ((rows // 48 + 1) % 7 + 1).astype(str).astype(object),
            **{name: given[name].astype(float).round(6) for name in NUMBERS},
            "class": classes,
        }
    )


ELEC2 = Public(
    "elec2",
    ("elec2/elec.csv.gz",),
    "c96f486c4b78eb65a8ad001d5de78776594319c0fbb8a32317109daa1f92c9df",
    read_csv,
    tidy,
    openml=151,
)
