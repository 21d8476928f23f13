"""MNIST: handwritten digits of census workers and pupils (LeCun, Cortes & Burges 1998)."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.public.base import Public, content

if TYPE_CHECKING:
    import pandas as pd

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
FILES = {
    split: tuple(f"{file}-{what}.gz" for what in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    for split, file in (("train", "train"), ("test", "t10k"))
}


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read pictures and labels of the training set, then of the test set."""
    import pandas as pd

    parts = []
    for split, (images, labels) in (("train", paths[:2]), ("test", paths[2:])):
        pixels, digits = idx(content(images)), idx(content(labels))
        cells = [picture.tobytes() for picture in pixels]
        parts.append(pd.DataFrame({"split": split, "image": cells, "digit": digits.astype(str).astype(object)}))
    return pd.concat(parts, ignore_index=True)


def idx(packed: bytes) -> np.ndarray:
    """Read an IDX file of bytes; ValueError for anything else."""
    if len(packed) < 4 or packed[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file of bytes")
    shape = struct.unpack(f">{packed[3]}I", packed[4 : 4 + 4 * packed[3]])
    return np.frombuffer(packed, np.uint8, offset=4 + 4 * packed[3]).reshape(shape)


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the pictures in the files' order: `key`, `split` (train, test), `image` (28 x 28 bytes), `digit`."""
    place = given.groupby("split", sort=False).cumcount()
    keys = given["split"] + "-" + place.astype(str).str.zfill(5)
    return given.assign(key=keys)[["key", "split", "image", "digit"]]


MNIST = Public(
    "mnist",
    tuple(f"mnist/{file}" for files in FILES.values() for file in files),
    "679df6d35b2b72965b37a02ef433dc30ced844cebb08a04b0083dcb0186fc2ba",
    read,
    tidy,
    urls={f"{MIRROR}/{file}": f"mnist/{file}" for files in FILES.values() for file in files},
)
