"""Bikes rented in Washington, hour by hour, in 2011 and 2012 (Fanaee-T & Gama 2013)."""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public

if TYPE_CHECKING:
    import pandas as pd

FILE = "bike_sharing/Bike-Sharing-Dataset.zip"
COMMIT = "a4aa4c2b37fe"
ORIGIN = f"https://raw.githubusercontent.com/evidentlyai/evidently/{COMMIT}/test_data"
NUMBERS = {"temp": "temperature", "atemp": "felt_temperature", "hum": "humidity", "windspeed": "wind"}
LEVELS = {"hr": "hour", "weekday": "weekday", "mnth": "month", "holiday": "holiday", "workingday": "workday"}


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the hours of the packed set."""
    import pandas as pd

    with zipfile.ZipFile(paths[0]) as packed:
        return pd.read_csv(io.BytesIO(packed.read("hour.csv")))


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the hours as they came: `key`, `at`, calendar and weather, `rented`.

    Who rented (casual, registered) is left out: together they are the answer.
    """
    import pandas as pd

    at = pd.to_datetime(given["dteday"], utc=True) + pd.to_timedelta(given["hr"], unit="h")
    return pd.DataFrame(
        {
            "key": [f"{moment:%Y-%m-%dT%H}" for moment in at],
            "at": at,
            **{ours: given[theirs].astype(str).astype(object) for theirs, ours in LEVELS.items()},
            "weather": given["weathersit"].astype(str).astype(object),
            **{ours: given[theirs].astype(float).round(6) for theirs, ours in NUMBERS.items()},
            "rented": given["cnt"].astype(float),
        }
    )


BIKE_SHARING = Public(
    "bike_sharing",
    (FILE,),
    "251dee4f75047003bc17efb4289e2082cb127a9031d838a4b0fd2fc73929e3f7",
    read,
    tidy,
    urls={f"{ORIGIN}/bike_sharing_dataset.zip": FILE},
)
