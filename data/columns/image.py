"""Pictures."""

import base64
import binascii
import io
import math
from collections.abc import Iterator

import numpy as np

from data.columns.base import ArrayColumn, Objections, Rows, opened
from data.columns.number import Number
from data.declared import declared

PARTS = ("brightness", "contrast", "sharpness")
PNG = b"\x89PNG\r\n\x1a\n"


@declared
class Image(ArrayColumn):
    """A uint8 picture; `high` is the brightest value a pixel can have."""

    height: int
    width: int
    channels: int = 1
    high: int = 255

    dtype = np.uint8
    noun = "a picture"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture: (H, W), or (H, W, C) with several channels."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, self.channels)

    def read(self, cell: object) -> np.ndarray:
        """Read an array, nested lists or their JSON, a PNG (as bytes or in base64), or the pixels as bytes.

        Raises: ValueError.
        """
        if isinstance(cell, bytes):
            return self.fitting(unpng(cell, self.channels) if cell.startswith(PNG) else np.frombuffer(cell, np.uint8))
        if isinstance(cell, str) and not cell.lstrip().startswith("["):
            return self.fitting(unpng(unbase64(cell, "a picture"), self.channels))
        try:
            array = np.asarray(opened(cell, "a picture"))
        except ValueError as error:
            raise ValueError("its lines differ in length" if "inhomogeneous" in str(error) else str(error)) from None
        return self.fitting(array)

    def fitting(self, array: np.ndarray) -> np.ndarray:
        """Return pixels in the column's shape, which a flat array may lack.

        Raises: ValueError.
        """
        if array.dtype.kind not in "iuf":
            raise ValueError("its pixels are not numbers")
        if array.shape != self.shape:
            if array.ndim != 1 or array.size != math.prod(self.shape):
                raise ValueError(f"its shape is {array.shape}, not {self.shape}")
            array = array.reshape(self.shape)
        if not ((array >= 0) & (array <= self.high) & (array == np.floor(array))).all():
            raise ValueError(f"its pixels are not whole numbers from 0 to {self.high}")
        return array.astype(np.uint8)

    def objections(self, values: np.ndarray) -> Objections:
        """Return which pictures are too bright."""
        bright = values.reshape(len(values), -1).max(axis=1, initial=0) > self.high
        return [(bright, f"a pixel above {self.high}")]

    def describe(self, name: str, values: np.ndarray) -> Rows:
        """Return three numbers a picture, in units of the brightest value a pixel can have.

        Brightness is the mean, contrast the standard deviation, sharpness the mean absolute difference of
        neighbouring pixels.
        """
        scaled = values.astype(np.float32).reshape(-1, self.height, self.width, self.channels) / self.high
        steps = [np.abs(np.diff(scaled, axis=axis)) for axis in (1, 2)]
        count = sum(step[0].size for step in steps) if len(values) else 0
        sharpness = sum(step.sum(axis=(1, 2, 3), dtype=np.float64) for step in steps) / max(count, 1)
        return {
            f"{name}.brightness": scaled.mean(axis=(1, 2, 3), dtype=np.float64),
            f"{name}.contrast": scaled.std(axis=(1, 2, 3), dtype=np.float64),
            f"{name}.sharpness": np.asarray(sharpness, dtype=np.float64),
        }

    def described(self, name: str) -> dict[str, Number]:
        """Return the columns of `describe`."""
        return {f"{name}.{part}": Number(low=0.0, high=1.0) for part in PARTS}

    def words(self) -> str:
        """Say what the column holds."""
        channels = f" and {self.channels} channels" if self.channels > 1 else ""
        return f"a picture of {self.height} x {self.width} pixels{channels}, up to {self.high}"

    def narrowed(self, after: "Image") -> Iterator[str]:
        """Yield which pictures `after` no longer accepts."""
        if self.shape != after.shape:
            yield f"has the shape {after.shape} and had {self.shape}"
        if after.high < self.high:
            yield f"has pixels up to {after.high} and had them up to {self.high}"


def unbase64(text: str, what: str) -> bytes:
    """Return what stands in base64; ValueError, naming the thing wanted, for anything else."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is not {what}: not base64") from None


def unpng(content: bytes, channels: int) -> np.ndarray:
    """Return a PNG's pixels (H, W) or (H, W, C); ValueError for another file, or a picture of other channels."""
    if not content.startswith(PNG):
        raise ValueError("is not a PNG file")
    from PIL import Image as Pictures

    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
    try:
        with Pictures.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > LARGEST:
                raise ValueError(f"is a PNG of {picture.width} x {picture.height} pixels")
            if mode is None or picture.mode not in (mode, "P", "1"):
                raise ValueError(f"is a PNG of mode {picture.mode}, and has to have {channels} channels")
            return np.asarray(picture.convert(mode))
    except (OSError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise ValueError("is a PNG that can't be read") from error


LARGEST = 2**24  # pixels; a small file can claim to hold far more
