"""Heart disease at four hospitals (Janosi, Steinbrunn, Pfisterer & Detrano 1988): whose arteries are narrowed."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public, content

if TYPE_CHECKING:
    import pandas as pd

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
FOLDER = "heart_disease_4sites"
RAW = "https://raw.githubusercontent.com"
ORIGINS = {
    "cleveland": f"{RAW}/rohitbansal83/CS498CCA2019/92c79285dd19/data",
    "hungarian": f"{RAW}/rohitbansal83/CS498CCA2019/92c79285dd19/data",
    "switzerland": f"{RAW}/Gepardec/machine-learning/a7e7c01e6035/data",
    "va": f"{RAW}/rohitbansal83/CS498CCA2019/92c79285dd19/data",
}
COLUMNS = (
    *("age", "sex", "chest_pain", "blood_pressure", "cholesterol", "fasting_sugar", "ecg", "heart_rate", "angina"),
    *("st_depression", "st_slope", "vessels", "thallium", "narrowed"),
)
NUMBERS = ("age", "blood_pressure", "cholesterol", "heart_rate", "st_depression")
NEVER_ZERO = ("blood_pressure", "cholesterol", "heart_rate", "st_slope", "thallium")  # these copies have 0 for unknown


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the four hospitals' files."""
    import pandas as pd

    frames = [
        pd.read_csv(io.StringIO(content(path).decode()), names=list(COLUMNS), header=None, na_values="?").assign(
            hospital=hospital
        )
        for hospital, path in zip(HOSPITALS, paths, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the patients, hospital by hospital: `key`, `hospital`, the measurements, `disease` (no, yes).

    The count of coloured vessels is left out: outside of Cleveland none can't be told from unknown.
    """
    import pandas as pd

    known = given.copy()
    for name in NEVER_ZERO:
        known[name] = known[name].where(known[name] != 0)
    columns: dict[str, object] = {}
    for name in COLUMNS[:-1]:
        if name in NUMBERS:
            columns[name] = known[name].astype(float)
        elif name != "vessels":
            columns[name] = [None if pd.isna(one) else str(int(one)) for one in known[name]]
    at = given.groupby("hospital", sort=False).cumcount()
    keys = [f"{hospital}-{n:03d}" for hospital, n in zip(given["hospital"], at, strict=True)]
    disease = ["yes" if one > 0 else "no" for one in given["narrowed"]]
    return pd.DataFrame({"key": keys, "hospital": given["hospital"], **columns, "disease": disease})


HEART_DISEASE = Public(
    "heart_disease",
    tuple(f"{FOLDER}/processed.{hospital}.data" for hospital in HOSPITALS),
    "6d1234eb97aff964121d7eb3697f0bb9fd3cd41c8a7da45511066bef7cb6e67d",
    read,
    tidy,
    urls={f"{ORIGINS[one]}/processed.{one}.data": f"{FOLDER}/processed.{one}.data" for one in HOSPITALS},
)
