"""Passengers of international airlines, month by month from 1949 to 1960 (Box & Jenkins 1976), in thousands."""

from typing import TYPE_CHECKING

from data.public.base import Public, read_csv

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = "https://raw.githubusercontent.com/jbrownlee/Datasets/d20fcb6402ae/airline-passengers.csv"


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the months in their order: `time`, their first moment, and `passengers`."""
    import pandas as pd

    months = pd.to_datetime(given["Month"], format="%Y-%m", utc=True)
    return pd.DataFrame({"time": months, "passengers": given["Passengers"].astype(float)})


AIRLINE_PASSENGERS = Public(
    "airline_passengers",
    ("airline_passengers/airline-passengers.csv",),
    "3b19db9c03c9d45adc4c78f370be57c2e346f91c6d55ff9066517bbe354b76be",
    read_csv,
    tidy,
    urls={ORIGIN: "airline_passengers/airline-passengers.csv"},
)
