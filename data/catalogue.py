"""Public data sets by name: where they come from, and the hash that their rows must have wherever they come from."""

import gzip
import hashlib
import io
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import Corrupt, SourceUnavailable, nearest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
OPENML = "https://www.openml.org"
SECONDS = 60.0  # to wait for a public server


@dataclass(frozen=True)
class Public:
    """A public data set: its file under the data sets' folder, its OpenML id, and its rows' hash.

    `tidy` turns what any origin gives into the canonical rows, in their canonical order.
    """

    name: str
    file: str
    openml: int
    sha256: str
    tidy: "Callable[[pd.DataFrame], pd.DataFrame]"


ELEC2_SHA256 = "c96f486c4b78eb65a8ad001d5de78776594319c0fbb8a32317109daa1f92c9df"
ELEC2_NUMBERS = ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")


def tidy_elec2(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the half-hours of Elec2 from 7 May 1996 on: `key`, `time`, `day` (1 is Monday), numbers, `class`.

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
            **{name: given[name].astype(float).round(6) for name in ELEC2_NUMBERS},
            "class": classes,
        }
    )


CATALOGUE = {public.name: public for public in (Public("elec2", "elec2/elec.csv.gz", 151, ELEC2_SHA256, tidy_elec2),)}


def load(name: str, datasets: Path | None = None, origin: str = OPENML) -> "pd.DataFrame":
    """Return a public set's rows, checked: from `datasets` (default: HOLDFAST_DATASETS), else from its origin.

    A download is kept under the home, so it happens once.

    Raises:
        SourceUnavailable: not here and the origin can't be reached; the message says what to put where.
        Corrupt: the rows found are not the ones recorded.
    """
    if name not in CATALOGUE:
        raise SourceUnavailable(f"the catalogue has no {name!r}; {nearest(name, CATALOGUE)}")
    public = CATALOGUE[name]
    places = [folder / public.file for folder in folders(datasets)]
    for path in places:
        if path.is_file():
            return proven(public, read(path, public), str(path))
    try:
        given = openml(public.openml, origin)
    except OSError as error:
        raise SourceUnavailable(
            f"{name} is not at {places[0]}, and {origin} can't be read ({' '.join(str(error).split())[:160]}): put"
            f" the file there, or set HOLDFAST_DATASETS to the folder that holds {public.file}"
        ) from error
    rows = proven(public, given, origin)
    keep(given, places[-1])
    return rows


def folders(datasets: Path | None) -> list[Path]:
    """Return where to look, the user's folder first, the home's own last."""
    named = datasets or (Path(found) if (found := os.environ.get("HOLDFAST_DATASETS")) else None)
    home = Path(os.environ.get("HOLDFAST_HOME") or ".holdfast") / "datasets"
    return [home] if named is None else [named, home]


def read(path: Path, public: Public) -> "pd.DataFrame":
    """Read a local copy.

    Raises: Corrupt.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (OSError, EOFError, ValueError) as error:  # gzip's and pandas' errors derive from these
        raise Corrupt(str(path), public.sha256, " ".join(str(error).split())) from error


def proven(public: Public, given: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the canonical rows if they are the recorded ones.

    Raises: Corrupt.
    """
    try:
        rows = public.tidy(given)
    except (KeyError, ValueError) as error:
        raise Corrupt(f"{public.name} from {where}", public.sha256, f"other columns: {error}") from error
    if (found := rows_sha256(rows)) != public.sha256:
        raise Corrupt(f"{public.name} from {where}", public.sha256, found)
    log.info("%s: %d rows from %s", public.name, len(rows), where)
    return rows


def rows_sha256(rows: "pd.DataFrame") -> str:
    """Hash rows as CSV text: numbers to 6 decimals, times in ISO 8601."""
    text = rows.to_csv(index=False, float_format="%.6f", date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def openml(data_id: int, origin: str) -> "pd.DataFrame":
    """Download a data set from OpenML; every failure is an OSError."""
    import httpx

    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=True) as client:
            described = client.get(f"{origin}/api/v1/json/data/{data_id}").raise_for_status().json()
            arff = client.get(described["data_set_description"]["url"]).raise_for_status()
            return parse_arff(arff.text)
    except (httpx.HTTPError, httpx.InvalidURL, KeyError, TypeError, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def parse_arff(text: str) -> "pd.DataFrame":
    """Read the dense ARFF that OpenML serves; ValueError when it is something else."""
    import pandas as pd

    head, mark, body = text.partition("@data") if "@data" in text else text.partition("@DATA")
    if not mark:
        raise ValueError("not an ARFF file")
    names = [line.split()[1].strip("'\"") for line in head.splitlines() if line.lower().startswith("@attribute")]
    return pd.read_csv(io.StringIO(body), names=names, comment="%", skip_blank_lines=True, quotechar="'")


def keep(given: "pd.DataFrame", path: Path) -> None:
    """Keep a download, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    half.write_bytes(gzip.compress(given.to_csv(index=False).encode(), mtime=0))
    half.replace(path)
