"""Public data sets by name: where they come from, and the hash that their rows must have wherever they come from."""

import gzip
import io
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data.errors import Corrupt, SourceUnavailable, nearest
from data.public.adult import ADULT
from data.public.airline_passengers import AIRLINE_PASSENGERS
from data.public.base import Public, rows_sha256
from data.public.bike_sharing import BIKE_SHARING
from data.public.card_fraud import CARD_FRAUD
from data.public.cifar10 import CIFAR10
from data.public.cmapss import CMAPSS
from data.public.elec2 import ELEC2
from data.public.etth1 import ETTH1
from data.public.gmsc import GMSC
from data.public.heart_disease import HEART_DISEASE
from data.public.mnist import MNIST
from data.public.movielens import MOVIELENS
from data.public.nab import NAB, NAB_MACHINE
from data.public.spoken_digits import SPOKEN_DIGITS
from data.public.sst2 import SST2

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
OPENML = "https://www.openml.org"
SECONDS = 60.0  # to wait for a public server
SETS = (
    ADULT,
    AIRLINE_PASSENGERS,
    BIKE_SHARING,
    CARD_FRAUD,
    CIFAR10,
    CMAPSS,
    ELEC2,
    ETTH1,
    GMSC,
    HEART_DISEASE,
    MNIST,
    MOVIELENS,
    NAB,
    NAB_MACHINE,
    SPOKEN_DIGITS,
    SST2,
)
CATALOGUE = {public.name: public for public in SETS}


def load(name: str, datasets: Path | None = None, origin: str | None = None) -> "pd.DataFrame":
    """Return a public set's rows, checked: from `datasets` (default: HOLDFAST_DATASETS), else from its origin.

    A download is kept under the home, so it happens once. `origin`: a server to ask instead of the public one.

    Raises:
        SourceUnavailable: not here and the origin can't be reached; the message says what to put where.
        Corrupt: the rows found are not the ones recorded.
    """
    if name not in CATALOGUE:
        raise SourceUnavailable(f"the catalogue has no {name!r}; {nearest(name, CATALOGUE)}")
    public, places = CATALOGUE[name], folders(datasets)
    for paths in [[place / file for file in public.files] for place in places] + [kept(public, places[-1])]:
        if all(path.is_file() for path in paths):
            return proven(public, read(paths, public), str(paths[0]))
    try:
        return downloaded(public, places[-1], origin)
    except OSError as error:
        where = origin or OPENML if public.openml else origin or urlsplit(next(iter(public.urls))).netloc
        raise SourceUnavailable(
            f"{name} is not at {places[0] / public.files[0]}, and {where} can't be read"
            f" ({' '.join(str(error).split())[:160]}): put the file there, or set HOLDFAST_DATASETS to the folder that"
            f" holds {', '.join(public.files)}"
        ) from error


def kept(public: Public, home: Path) -> list[Path]:
    """Return where the files of a download are kept: OpenML's as the set's own file, others as they came."""
    return [home / file for file in public.urls.values() or public.files]


def downloaded(public: Public, home: Path, origin: str | None) -> "pd.DataFrame":
    """Download a set and keep it, once its rows have proved to be the recorded ones; every failure is an OSError.

    Raises: OSError, Corrupt.
    """
    if public.openml is not None:
        given = openml(public.openml, origin or OPENML)
        rows = proven(public, given, origin or OPENML)
        keep(home / public.files[0], gzip.compress(given.to_csv(index=False).encode(), mtime=0))
        return rows
    new = [path.with_name(f"new-{path.name}") for path in kept(public, home)]
    try:
        for url, path in zip(public.urls, new, strict=True):
            keep(path, download(url if origin is None else f"{origin}{urlsplit(url).path}"))
        rows = proven(public, read(new, public), str(new[0]))
        for half, path in zip(new, kept(public, home), strict=True):
            half.replace(path)
    finally:
        for path in new:
            path.unlink(missing_ok=True)
    return rows


def download(url: str) -> bytes:
    """Download a file; every failure is an OSError."""
    import httpx

    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=True) as client:
            return client.get(url).raise_for_status().content
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def folders(datasets: Path | None) -> list[Path]:
    """Return where to look, the user's folder first, the home's own last."""
    named = datasets or (Path(found) if (found := os.environ.get("HOLDFAST_DATASETS")) else None)
    home = Path(os.environ.get("HOLDFAST_HOME") or ".holdfast") / "datasets"
    return [home] if named is None else [named, home]


def read(paths: list[Path], public: Public) -> "pd.DataFrame":
    """Read local copies.

    Raises: Corrupt.
    """
    try:
        return public.read(paths)
    except (OSError, EOFError, ValueError, TypeError) as error:  # gzip's, Arrow's and pandas' errors derive from these
        raise Corrupt(str(paths[0]), public.sha256, " ".join(str(error).split())) from error


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


def keep(path: Path, content: bytes) -> None:
    """Keep a download, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    half.write_bytes(content)
    half.replace(path)
