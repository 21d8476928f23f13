"""What is said of a public data set, and what its modules share."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Read = Callable[[list[Path]], "pd.DataFrame"]


@dataclass(frozen=True)
class Public:
    """A public data set: its files under the data sets' folder, where else they are, and its rows' hash.

    `read` reads all of its files, which those of `urls` (URL -> file) may be instead, and those that OpenML's set
    `openml` is kept as. `tidy` turns what it gives into the canonical rows, in their canonical order.
    """

    name: str
    files: tuple[str, ...]
    sha256: str
    read: Read
    tidy: "Callable[[pd.DataFrame], pd.DataFrame]"
    openml: int | None = None
    urls: Mapping[str, str] = field(default_factory=dict)


def read_csv(paths: list[Path]) -> "pd.DataFrame":
    """Read one CSV file."""
    import pandas as pd

    return pd.read_csv(paths[0])


def content(path: Path) -> bytes:
    """Return a file's content, unpacked where its name ends in .gz."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rows_sha256(rows: "pd.DataFrame") -> str:
    """Hash rows as CSV text: numbers to 6 decimals, times in ISO 8601, bytes by their own hash."""
    plain = rows.map(lambda cell: hashlib.sha256(cell).hexdigest() if isinstance(cell, bytes) else cell)
    text = plain.to_csv(index=False, float_format="%.6f", date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()
