"""The Numenta Anomaly Benchmark (Lavin & Ahmad 2015; AGPL-3.0): 58 series of one sensor each, and when they failed."""

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public

if TYPE_CHECKING:
    import pandas as pd

COMMIT = "ea702d75cc22"
ORIGIN = f"https://codeload.github.com/numenta/NAB/tar.gz/{COMMIT}"
MACHINE = "realKnownCause/machine_temperature_system_failure.csv"
WINDOWS = "labels/combined_windows.json"


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the series that have labels from an archive, of the repository or of its data."""
    import pandas as pd

    content = unpacked(paths[0])
    return pd.concat([series(content, name) for name in json.loads(content[WINDOWS])], ignore_index=True)


def read_machine(paths: list[Path]) -> "pd.DataFrame":
    """Read one of them: the temperature of a large industrial machine."""
    return series(unpacked(paths[0]), MACHINE)


def unpacked(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by their names below the repository; ValueError where the labels are missing."""
    try:
        with tarfile.open(path) as archive:
            found = [
                (inside(one.name), archive.extractfile(one)) for one in archive if one.isfile() and inside(one.name)
            ]
            content = {name: file.read() for name, file in found if file is not None}
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error
    if WINDOWS not in content:
        raise ValueError(f"no {WINDOWS}")
    return content


def series(content: dict[str, bytes], name: str) -> "pd.DataFrame":
    """Return one series, each row with the number of the labelled window that it is in."""
    import pandas as pd

    given = pd.read_csv(io.BytesIO(content[f"data/{name}"]))
    moments = pd.to_datetime(given["timestamp"], utc=True)
    window = pd.Series(0, index=given.index)
    for number, (first, last) in enumerate(json.loads(content[WINDOWS])[name], start=1):
        window[moments.between(pd.Timestamp(first, tz="UTC"), pd.Timestamp(last, tz="UTC"))] = number
    return pd.DataFrame({"file": name.removesuffix(".csv"), "at": moments, "value": given["value"], "window": window})


def inside(name: str) -> str:
    """Return a member's place below the repository, "" for what is neither data nor its labels."""
    for folder in ("data/", "labels/"):
        if (at := f"/{name}".find(f"/{folder}")) >= 0 and name.endswith((".csv", ".json")):
            return name[at:]
    return ""


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the series one after the other, as they came: `file`, `at`, `value`, `window` (its number; 0: usual)."""
    return given.assign(value=given["value"].astype(float).round(6), window=given["window"].astype(int))


FILES, URLS = ("nab/nab_data_labels.tar.gz",), {ORIGIN: "nab/nab.tar.gz"}
NAB = Public("nab", FILES, "aa09de460f8f291d42d68220094b6cd36780f800d4f31cf7769b19bb1a72d9df", read, tidy, urls=URLS)
NAB_MACHINE = Public(
    "nab_machine",
    FILES,
    "80868923e610e8cd5d6cfd3c8d4e725e7affdc371a65ea8392760233c39bff67",
    read_machine,
    tidy,
    urls=URLS,
)
