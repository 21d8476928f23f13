"""The Stanford Sentiment Treebank, sentences only (Socher et al. 2013): what critics wrote of films."""

from pathlib import Path
from typing import TYPE_CHECKING

from data.public.base import Public, content

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "dev", "test")
COMMIT = "457ffd83de90"
ORIGIN = f"https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/{COMMIT}/data/SST2"


def read(paths: list[Path]) -> "pd.DataFrame":
    """Read the three parts, a sentence and 0 or 1 a line."""
    import pandas as pd

    lines = [
        (part, at, *line.rsplit("\t", 1))
        for part, path in zip(PARTS, paths, strict=True)
        for at, line in enumerate(content(path).decode().splitlines())
    ]
    return pd.DataFrame(lines, columns=["part", "at", "sentence", "label"])


def tidy(given: "pd.DataFrame") -> "pd.DataFrame":
    """Return the sentences in the order of their files: `key`, `part`, `sentence`, `sentiment`."""
    import pandas as pd

    names = {"0": "negative", "1": "positive"}
    return pd.DataFrame(
        {
            "key": [f"{part}-{at:04d}" for part, at in zip(given["part"], given["at"], strict=True)],
            "part": given["part"],
            "sentence": given["sentence"],
            "sentiment": given["label"].map(names),
        }
    )


SST2 = Public(
    "sst2",
    tuple(f"sst2/{part}.tsv.gz" for part in PARTS),
    "640af1a0fd14277e796a83e51784a7e852224a7e9008b70c5f0ce18a78aea13d",
    read,
    tidy,
    urls={f"{ORIGIN}/{part}.tsv": f"sst2/{part}.tsv" for part in PARTS},
)
