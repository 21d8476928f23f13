"""Images as a few numbers each, so that expectations and monitors can speak of them. Needs numpy only."""

from collections.abc import Mapping

import numpy as np

from data.schema import Category, Column, Image, Number, Rows

PARTS = ("brightness", "contrast", "sharpness")


def describe(columns: Mapping[str, Column], rows: Rows) -> Rows:
    """Return numbers and categories as they are, and each image `x` as `x.brightness`, `x.contrast`, `x.sharpness`.

    Brightness is the mean, contrast the standard deviation, sharpness the mean absolute difference of
    neighbouring pixels; all in units of the brightest value a pixel can have.
    """
    described: Rows = {}
    for name, column in columns.items():
        if isinstance(column, Image):
            described.update(describe_image(name, column, rows[name]))
        else:
            described[name] = rows[name]
    return described


def describe_image(name: str, column: Image, pictures: np.ndarray) -> Rows:
    """Describe `pictures` (N, H, W[, C]) as three float64 columns of length N."""
    scaled = pictures.astype(np.float32).reshape(-1, column.height, column.width, column.channels) / column.high
    steps = [np.abs(np.diff(scaled, axis=axis)) for axis in (1, 2)]
    count = sum(step[0].size for step in steps) if len(pictures) else 0
    sharpness = sum(step.sum(axis=(1, 2, 3), dtype=np.float64) for step in steps) / max(count, 1)
    return {
        f"{name}.brightness": scaled.mean(axis=(1, 2, 3), dtype=np.float64),
        f"{name}.contrast": scaled.std(axis=(1, 2, 3), dtype=np.float64),
        f"{name}.sharpness": np.asarray(sharpness, dtype=np.float64),
    }


def described(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns of what `describe` returns."""
    result: dict[str, Column] = {}
    for name, column in columns.items():
        match column:
            case Image():
                result.update({f"{name}.{part}": Number(low=0.0, high=1.0) for part in PARTS})
            case Number() | Category():
                result[name] = column
    return result
