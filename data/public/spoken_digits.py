"""The Free Spoken Digit Dataset (Jackson et al., CC BY-SA 4.0): six people say the digits, fifty times each."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public

if TYPE_CHECKING:
    import pandas as pd

COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
ORIGIN = f"https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/zip/{COMMIT}"


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the files' names and contents, from Parquet or from an archive of the repository."""
    import pandas as pd
    import pyarrow.parquet as pq

    if paths[0].suffix == ".parquet":
        found: pd.DataFrame = pq.read_table(paths[0], columns=["file", "wav"]).to_pandas()
        return found
    try:
        with zipfile.ZipFile(paths[0]) as archive:
            names = [name for name in archive.namelist() if "/recordings/" in name and name.endswith(".wav")]
            files = [(name.rpartition("/")[2], archive.read(name)) for name in names]
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    return pd.DataFrame(files, columns=["file", "wav"])


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the clips in the order of their names: `key`, `digit`, `speaker`, `take` (0 to 49), `clip` (a WAV)."""
    import pandas as pd

    clips = given.sort_values("file", ignore_index=True)
    keys = clips["file"].str.removesuffix(".wav")
    said = keys.str.split("_", expand=True)
    return pd.DataFrame(
        {"key": keys, "digit": said[0], "speaker": said[1], "take": said[2].astype(int), "clip": clips["wav"]}
    )


SPOKEN_DIGITS = Public(
    "spoken_digits",
    ("spoken_digits/spoken_digits.parquet",),
    "96e103006fd7e0cc124d9a869dc3ca3d547e6de2a23bfef9d9b4b7f9ebb903f1",
    read,
    tidy,
    urls={ORIGIN: "spoken_digits/spoken_digits.zip"},
)
