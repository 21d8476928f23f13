"""C-MAPSS FD001: simulated jet engines from some state of wear until they fail (Saxena et al. 2008)."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public, content

if TYPE_CHECKING:
    import pandas as pd

COMMIT = "165933e9b370"
ORIGIN = f"https://raw.githubusercontent.com/LahiruJayasinghe/RUL-Net/{COMMIT}/CMAPSSData"
FOLDER = "cmapss_fd001"
SETTINGS = ("altitude", "mach", "throttle")
SENSORS = (
    *("T2", "T24", "T30", "T50", "P2", "P15", "P30", "Nf", "Nc", "epr", "Ps30", "phi", "NRf", "NRc", "BPR", "farB"),
    *("htBleed", "Nf_dmd", "PCNfR_dmd", "W31", "W32"),
)
COLUMNS = ("engine", "cycle", *SETTINGS, *SENSORS)


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the engines that are learned from, those of the test, and how long the latter go on after their last row."""
    import pandas as pd

    train, test = (
        pd.read_csv(io.BytesIO(content(path)), sep=r"\s+", names=list(COLUMNS), header=None) for path in paths[:2]
    )
    left = pd.read_csv(io.BytesIO(content(paths[2])), names=["left"], header=None)["left"]
    if len(left) != test["engine"].nunique():
        raise ValueError(f"{len(left)} engines with a remaining life, {test['engine'].nunique()} with readings")
    after = test["engine"].map(dict(enumerate(left, start=1)))
    return pd.concat([train.assign(part="train", after=0), test.assign(part="test", after=after)], ignore_index=True)


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the engines' cycles in their order: `part` (train, test), `engine`, `cycle`, 21 sensors, `remaining`.

    `remaining` are the cycles until the engine fails. The settings are left out: here the condition is always one.
    """
    last = given.groupby(["part", "engine"])["cycle"].transform("max")
    return given.assign(
        engine=given["part"] + "-" + given["engine"].astype(str).str.zfill(3),
        cycle=given["cycle"].astype(float),
        **{name: given[name].astype(float).round(6) for name in SENSORS},
        remaining=(last - given["cycle"] + given["after"]).astype(float),
    )[["part", "engine", "cycle", *SENSORS, "remaining"]]


CMAPSS = Public(
    "cmapss_fd001",
    (f"{FOLDER}/train_FD001.txt.gz", f"{FOLDER}/test_FD001.txt.gz", f"{FOLDER}/RUL_FD001.txt"),
    "0185a851543afc615585086a0949424c55c9f1730f709a2d36851ec2541ea26a",
    read,
    tidy,
    urls={f"{ORIGIN}/{name}_FD001.txt": f"{FOLDER}/{name}_FD001.txt" for name in ("train", "test", "RUL")},
)
