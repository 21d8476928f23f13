"""ETTh1: the load and the oil temperature of a transformer, hour by hour (Zhou et al. 2021; CC BY-ND 4.0)."""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = "https://raw.githubusercontent.com/aspire-zero/long_term_forecast_data/e9ac8b3ea552/ETT-small.zip"


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read one table of the archive."""
    import pandas as pd

    try:
        with zipfile.ZipFile(paths[0]) as archive:
            return pd.read_csv(io.BytesIO(archive.read("ETT-small/ETTh1.csv")))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(str(error)) from error


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the hours in their order: `time`, six loads, and the oil's temperature `OT`."""
    import pandas as pd

    numbers = given.drop(columns="date").astype(float).round(6)
    return pd.concat([pd.to_datetime(given["date"], utc=True).rename("time"), numbers], axis=1)


ETTH1 = Public(
    "etth1",
    ("ett/ETT-small.zip",),
    "c24fc7f631f6ceff7d3616ac632fef51b1b50ab8a60489c6a774274ba323f3cd",
    read,
    tidy,
    urls={ORIGIN: "ett/ETT-small.zip"},
)
