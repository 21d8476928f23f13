"""Clips of sound."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from data.columns.base import ArrayColumn, Objections, Rows, opened
from data.columns.image import unbase64
from data.columns.number import Number
from data.declared import declared
from data.errors import BadDeclaration
from data.wav import read_wav, write_wav

LOUDEST = 2.0**15
QUIET = -100.0  # decibels below full scale, of a clip without any sound
STILL = 0.005  # of full scale, root mean square: a frame that is no quieter than a room
FRAME_SECONDS = 0.02
CHUNK = 256  # clips described at once, since their spectra take eight times the room of their samples


@declared
class Audio(ArrayColumn):
    """A mono clip of 16-bit samples, `rate` a second. A shorter one ends in silence, a longer one is bad data."""

    rate: int = 8000
    seconds: float = 1.0

    dtype = np.int16
    noun = "a clip"

    def __post_init__(self) -> None:
        if self.rate < 1 or not self.seconds > 0 or not self.samples:
            raise BadDeclaration(f"Audio(rate={self.rate}, seconds={self.seconds}): at least one sample")

    @property
    def samples(self) -> int:
        """Samples of the longest clip."""
        return round(self.rate * self.seconds)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip: (samples,)."""
        return (self.samples,)

    def read(self, cell: object) -> np.ndarray:
        """Read a WAV file (as bytes or in base64), or samples as an array, a list or its JSON.

        Raises: ValueError.
        """
        if isinstance(cell, bytes):
            return self.wav(cell)
        if isinstance(cell, str) and not cell.lstrip().startswith("["):
            return self.wav(unbase64(cell, "a clip"))
        samples = np.asarray(opened(cell, "a clip"))
        if samples.ndim != 1 or samples.dtype.kind not in "iuf":
            raise ValueError("is not a clip: a list of samples expected")
        if not ((np.abs(samples) <= LOUDEST) & (samples < LOUDEST) & (samples == np.floor(samples))).all():
            raise ValueError("its samples are not whole numbers from -32768 to 32767")
        return self.padded(samples.astype(np.int16))

    def to_request(self, values: np.ndarray) -> list[Any]:
        """Return WAV files in base64."""
        return [base64.b64encode(write_wav(self.rate, clip)).decode() for clip in values]

    def wav(self, content: bytes) -> np.ndarray:
        """Read a WAV file; ValueError says what is wrong with it."""
        rate, samples = read_wav(content)
        if rate != self.rate:
            raise ValueError(f"has {rate} samples a second, not {self.rate}")
        return self.padded(samples)

    def padded(self, samples: np.ndarray) -> np.ndarray:
        """Return samples with silence after them, in the column's shape; ValueError for none or too many."""
        if not len(samples):
            raise ValueError("is a clip without a sample")
        if len(samples) > self.samples:
            raise ValueError(f"lasts {len(samples) / self.rate:.3g} s, {self.seconds:g} s are allowed")
        return np.pad(samples, (0, self.samples - len(samples)))

    def objections(self, _values: np.ndarray) -> Objections:
        """Return nothing: every array of samples is a clip."""
        return []

    def describe(self, name: str, values: np.ndarray) -> Rows:
        """Return what a clip sounds like, six numbers each, of what comes before the silence at its end.

        Loudness in decibels below full scale, peak in parts of full scale, the share of its time that is still, the
        centre and the width of its spectrum in hertz, and how long it lasts in seconds.
        """
        parts = [described_clips(values[at : at + CHUNK], self.rate) for at in range(0, max(len(values), 1), CHUNK)]
        return {f"{name}.{part}": np.concatenate([one[part] for one in parts]) for part in parts[0]}

    def described(self, name: str) -> dict[str, Number]:
        """Return the columns of `describe`."""
        half = self.rate / 2
        return {
            f"{name}.loudness": Number(low=QUIET, high=0.0),
            f"{name}.peak": Number(low=0.0, high=1.0),
            f"{name}.silence": Number(low=0.0, high=1.0),
            f"{name}.centroid": Number(low=0.0, high=half),
            f"{name}.bandwidth": Number(low=0.0, high=half),
            f"{name}.duration": Number(low=0.0, high=self.samples / self.rate),
        }

    def words(self) -> str:
        """Say what the column holds."""
        return f"a clip of at most {self.seconds:g} s, {self.rate} samples a second"

    def narrowed(self, after: "Audio") -> Iterator[str]:
        """Yield which clips `after` no longer accepts."""
        if after.rate != self.rate:
            yield f"has {after.rate} samples a second and had {self.rate}"
        if after.seconds < self.seconds:
            yield f"lasts at most {after.seconds:g} s and lasted {self.seconds:g}"


def described_clips(clips: np.ndarray, rate: int) -> Rows:
    """Describe clips (N, samples) int16 as columns (N,) float64."""
    sound = clips / LOUDEST
    count, samples = sound.shape
    heard = np.where((clips != 0).any(axis=1), samples - (clips[:, ::-1] != 0).argmax(axis=1), 0)
    power = (sound**2).sum(axis=1)
    loudness = 10 * np.log10(np.maximum(power / np.maximum(heard, 1), 10 ** (QUIET / 10)))
    size = max(1, int(rate * FRAME_SECONDS))
    frames = -(-heard // size)
    cut = np.pad(sound, ((0, 0), (0, -samples % size))).reshape(count, -(-samples // size), size)
    still = np.sqrt((cut**2).mean(axis=2)) < STILL
    within = np.arange(still.shape[1]) < frames[:, None]
    spectrum = np.abs(np.fft.rfft(sound, axis=1)) ** 2
    hertz = np.fft.rfftfreq(samples, 1 / rate)
    whole = np.maximum(spectrum.sum(axis=1), 1e-30)
    centroid = spectrum @ hertz / whole
    return {
        "loudness": loudness,
        "peak": np.abs(sound).max(axis=1),
        "silence": (still & within).sum(axis=1) / np.maximum(frames, 1),
        "centroid": centroid,
        "bandwidth": np.sqrt(np.maximum(spectrum @ hertz**2 / whole - centroid**2, 0.0)),
        "duration": heard / rate,
    }
