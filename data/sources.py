"""Where batches come from: files, a database, a public or a bundled data set, or any function of the user's.

A source is anything that, called without arguments, gives a frame or an iterable of `Batch`.
"""

import hashlib
import inspect
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import BadDeclaration, HoldfastError, SourceUnavailable, nearest

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
Split = Callable[["pd.DataFrame"], "Iterable[Batch]"]
BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
TRAFFIC = "traffic-"  # begins the names of batches of the service's own rows, then their time: these sort last
WHOLE, FRAME = "all-", "frame-"  # begin the names of a plain frame as it comes, and, before its number, as it is kept
HALF_WRITTEN = (".tmp", ".part", ".crdownload", "~")


@dataclass(frozen=True)
class Batch:
    """Rows that arrived together. The name, usually a date, says which; the same name again is the same batch.

    `once`: what was accepted under this name stays, where another content would else replace it. `whole`: a plain
    frame of a source, named by its content; the project's next one is newer, whatever its name.
    """

    name: str
    frame: "pd.DataFrame"
    once: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", self.name) or self.name.startswith("."):
            raise BadDeclaration(f"batch name {self.name!r}: 1 to 80 letters, digits, '.', '_' or '-', no '.' first")


def equal_parts(count: int, name: str = "part") -> Split:
    """Return what deals a frame's rows out, in order, as so many batches of one size, `part-1` and so on."""

    def split(frame: "pd.DataFrame") -> Iterator[Batch]:
        size = -(-len(frame) // count)
        for number in range(count):
            yield Batch(f"{name}-{number + 1}", frame.iloc[number * size : (number + 1) * size])

    return split


@dataclass(frozen=True)
class Files:
    """CSV and Parquet files of a folder, each a batch named by its file.

    A relative folder stands beside the file that names it (the project file); "$NAME" is read from the
    environment. A file that can't be read hides no other: the rest come first, then the error names it.
    """

    folder: str
    pattern: str = "*"
    base: Path = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        frame = inspect.currentframe()
        caller = frame.f_back.f_back if frame and frame.f_back else None  # past the generated __init__
        where = caller.f_globals.get("__file__") if caller else None
        object.__setattr__(self, "base", Path(where).resolve().parent if where else Path.cwd())

    def __call__(self) -> Iterator[Batch]:
        """Yield one batch a file, in the order of their names."""
        folder = self.base / Path(os.path.expandvars(self.folder)).expanduser()
        if "$" in str(folder) or not folder.is_dir():
            raise SourceUnavailable(f"no folder {folder}: set the variable, or put CSV or Parquet files there")
        unreadable = []
        for path in sorted(folder.glob(self.pattern)):
            if not path.is_file() or path.name.startswith(".") or path.name.endswith(HALF_WRITTEN):
                continue
            try:
                frame = read_file(path)
            except (ValueError, OSError) as error:  # pandas' and Arrow's errors of reading derive from these
                unreadable.append(f"{path.name} ({one_line(error)})")
                continue
            yield Batch(file_batch(path), frame)
        if unreadable:
            raise SourceUnavailable(f"{folder}: unreadable, left out: {'; '.join(unreadable)}")


@dataclass(frozen=True)
class Query:
    """The rows of a SQL query. `url_env` names the variable that holds the SQLAlchemy URL.

    `batch` names the column whose values divide the rows into batches; without it they are one, stored anew, as a
    whole, each time that they have changed.
    """

    url_env: str
    sql: str
    batch: str | None = None

    def __call__(self) -> "pd.DataFrame | list[Batch]":
        """Run the query."""
        import pandas as pd
        import sqlalchemy as sa

        url = os.environ.get(self.url_env)
        if not url:
            raise SourceUnavailable(f"set {self.url_env} to the database's SQLAlchemy URL")
        try:
            engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, ImportError) as error:  # the message may hold the password
            why = str(error) if isinstance(error, ImportError) else "not a SQLAlchemy URL"
            raise SourceUnavailable(f"{self.url_env}: {why}") from None
        try:
            with engine.connect() as connection:
                frame = pd.read_sql(sa.text(self.sql), connection)
        except sa.exc.SQLAlchemyError as error:
            raise SourceUnavailable(f"{self.url_env}: {one_line(getattr(error, 'orig', None) or error)}") from None
        finally:
            engine.dispose()
        return frame if self.batch is None else divide(frame, self.batch)


@dataclass(frozen=True)
class Catalogued:
    """A public data set by its name in the catalogue; `split` divides it into batches."""

    name: str
    split: Split | None = None

    def __call__(self) -> "pd.DataFrame | Iterable[Batch]":
        """Load it from HOLDFAST_DATASETS, or download it, and check its hash."""
        from data.catalogue import load

        frame = load(self.name)
        return frame if self.split is None else self.split(frame)


@dataclass(frozen=True)
class Bundled:
    """A data set that comes with scikit-learn; `split` divides it into batches.

    `digits` has the columns `image` (8 by 8, uint8, 0 to 16) and `digit`; the others their features'
    names in snake case and `target`. All have `key`, the row's number as text.
    """

    name: str
    split: Split | None = None

    def __post_init__(self) -> None:
        if self.name not in BUNDLED:
            raise BadDeclaration(f"no bundled data set {self.name!r}; {nearest(self.name, BUNDLED)}")

    def __call__(self) -> "pd.DataFrame | Iterable[Batch]":
        """Load it; no network is needed."""
        frame = bundled_frame(self.name)
        return frame if self.split is None else self.split(frame)


def fetch(source: Callable[[], Any]) -> Iterator[Batch]:
    """Yield a source's batches; a plain frame is one, named by its content.

    Raises: SourceUnavailable for whatever goes wrong in the source.
    """
    import pandas as pd

    try:
        given = source()
        batches = [whole(given)] if isinstance(given, pd.DataFrame) else given
        seen: set[str] = set()
        for batch in batches:
            yield checked(batch, seen)
            seen.add(batch.name)
    except HoldfastError:
        raise
    except Exception as error:  # a stranger's function may raise anything
        raise SourceUnavailable(f"the source fails: {type(error).__name__}: {one_line(error)}") from error


def whole(frame: "pd.DataFrame") -> Batch:
    """Return a plain frame as a batch."""
    return Batch(f"{WHOLE}{content_hash(frame)[:12]}", frame, whole=True)


def numbered(batch: Batch, accepted: Iterable[str], quarantined: Iterable[str]) -> Batch:
    """Put a whole frame's number before its hash, so that of a project's frames the newest has the last name.

    The newest frame again keeps its name, also the newest of which nothing was accepted; what an older one held is
    news. `accepted` and `quarantined`: the names of the project's batches; WHOLE began those of earlier homes.
    """
    mark = batch.name.removeprefix(WHOLE)
    kept, refused = (max(map(place_of, names), default=(0, "")) for names in (accepted, quarantined))
    for _, name in (kept, max(kept, refused)):
        if name.endswith(f"-{mark}"):
            return replace(batch, name=name)
    return replace(batch, name=f"{FRAME}{max(kept, refused)[0] + 1:06d}-{mark}")


def place_of(name: str) -> tuple[int, str]:
    """Return a batch's number among a source's plain frames, and its name; of no frame nothing."""
    found = re.fullmatch(rf"(?:{WHOLE}|{FRAME}(\d{{6}})-)[0-9a-f]{{12}}", name)
    return (int(found[1] or 0), name) if found else (0, "")


def checked(given: object, seen: set[str]) -> Batch:
    """Refuse what a source gives when it is no batch, or would replace one that it gave before."""
    if not isinstance(given, Batch):
        raise SourceUnavailable(f"the source gives a {type(given).__name__}, not a frame or batches")
    if given.name in seen:
        raise SourceUnavailable(f"the source gives two batches named {given.name!r}: one would replace the other")
    return given


def read_file(path: Path) -> "pd.DataFrame":
    """Read a CSV file as text (a key keeps its zeros; the schema types the rest) or a Parquet file as it is."""
    import pandas as pd

    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        frame: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
        return frame
    if path.name.endswith((".csv", ".csv.gz")):
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
    raise ValueError("neither .csv, .csv.gz nor .parquet")


def file_batch(path: Path) -> str:
    """Name a file's batch: its name without the ending, other characters as '-'."""
    stem = re.sub(r"(\.csv\.gz|\.csv|\.parquet)$", "", path.name)
    return re.sub(r"[^A-Za-z0-9._-]", "-", stem)[:80]


def divide(frame: "pd.DataFrame", column: str) -> list[Batch]:
    """Divide rows into batches named by a column's values, in their order."""
    if column not in frame:
        raise SourceUnavailable(f"the query gives no column {column!r}; {nearest(column, map(str, frame.columns))}")
    return [
        Batch(re.sub(r"[^A-Za-z0-9._-]", "-", str(value))[:80], rows.reset_index(drop=True))
        for value, rows in frame.groupby(column, sort=True, dropna=False)
    ]


def bundled_frame(name: str) -> "pd.DataFrame":
    """Load one of scikit-learn's bundled sets as a frame."""
    import numpy as np
    import pandas as pd
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")()
    key = [str(i) for i in range(len(loaded.target))]
    if name == "digits":
        images = list(loaded.images.astype(np.uint8))
        return pd.DataFrame({"key": key, "image": images, "digit": [str(digit) for digit in loaded.target]})
    columns = {
        re.sub(r"\W+", "_", str(c)).strip("_").lower(): loaded.data[:, j] for j, c in enumerate(loaded.feature_names)
    }
    levels = getattr(loaded, "target_names", None)
    target = loaded.target if levels is None else [str(levels[code]) for code in loaded.target]
    return pd.DataFrame({"key": key, **columns, "target": target})


def content_hash(frame: "pd.DataFrame") -> str:
    """Hash a frame's values, whatever the order of its rows."""
    columns = sorted(map(str, frame.columns))
    values = [[stable_text(value) for value in frame[column]] for column in columns]
    rows = sorted("\x1f".join(row) for row in zip(*values, strict=True))
    return hashlib.sha256("\x1e".join(["\x1f".join(columns), *rows]).encode(errors="surrogatepass")).hexdigest()


def stable_text(value: Any) -> str:
    """Spell a value out; arrays by all their elements, which str() would shorten."""
    return str(value.tolist()) if hasattr(value, "tolist") else str(value)


def one_line(error: BaseException) -> str:
    """Put an error's text on one line of bearable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__
