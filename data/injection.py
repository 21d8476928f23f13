"""The dial in the open: known changes of the world, and known faults, put into rows before they are sent.

What is injected is said out loud; nothing in Holdfast reads it. It is how a demo, a test or a person asks
"would you have noticed?".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.columns import Audio, Column, Image, Number, Series, Text

Generator = np.random.Generator
LOUD = 0.1  # of full scale: root mean square of the noise that a dial of 1 adds, about that of speech
SLIPS = 0.2  # share of the characters that a dial of 1 moves


def new_cameras(pictures: np.ndarray, dial: float, generator: np.random.Generator, high: int) -> np.ndarray:
    """Return pictures as another fleet of cameras takes them: blurred, paler, partly hidden.

    Args:
        pictures: (N, H, W) or (N, H, W, C) uint8, 0 to `high`.
        dial: 0 changes nothing; 1 is a fleet that halves the contrast, blurs by a pixel and hides a stripe.
        generator: source of each picture's own hidden stripe and noise.
        high: brightest value a pixel can have.
    """
    if dial <= 0:
        return pictures.copy()
    light = pictures.astype(np.float64) / high
    light = (1 - dial * 0.6) * light + dial * 0.6 * blurred(light)
    light = (1 - dial * 0.5) * light + dial * 0.35
    light = hidden(light, dial, generator)
    light += generator.normal(0, 0.04 * dial, light.shape)
    return np.clip(np.rint(light * high), 0, high).astype(np.uint8)


def blurred(light: np.ndarray) -> np.ndarray:
    """Average each pixel with its eight neighbours."""
    padded = np.pad(light, [(0, 0), (1, 1), (1, 1), (0, 0)][: light.ndim], mode="edge")
    height, width = light.shape[1:3]
    return np.asarray(np.mean([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0))


def hidden(light: np.ndarray, dial: float, generator: np.random.Generator) -> np.ndarray:
    """Cover one row of pixels of each picture with a bright stripe, as strong as the dial."""
    covered = light.copy()
    rows = generator.integers(0, light.shape[1], len(light))
    covered[np.arange(len(light)), rows] = (1 - dial) * covered[np.arange(len(light)), rows] + dial * 0.9
    return covered


def dead_frames(pictures: np.ndarray, high: int) -> np.ndarray:
    """Return what a camera with a dead sensor sends: every pixel of every picture the same."""
    return np.full_like(pictures, high // 2)


def noisy(clips: np.ndarray, dial: float, generator: Generator) -> np.ndarray:
    """Return clips (N, samples) int16 with white noise over their whole length."""
    noise = generator.normal(0, dial * LOUD * 2**15, clips.shape)
    return np.clip(np.rint(clips + noise), -(2**15), 2**15 - 1).astype(np.int16)


def mistyped(texts: np.ndarray, dial: float, generator: Generator) -> np.ndarray:
    """Return texts (N,) some of whose characters have changed places with the next one."""
    slipped = []
    for text in texts.tolist():
        letters = list(text)
        for at in np.flatnonzero(generator.random(max(len(letters) - 1, 0)) < dial * SLIPS).tolist():
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        slipped.append("".join(letters))
    made = np.empty(len(slipped), dtype=object)
    made[:] = slipped
    return made


def raised(windows: np.ndarray, dial: float) -> np.ndarray:
    """Return windows (N, steps, channels), each channel raised by `dial` times the spread of all its values."""
    return np.asarray(windows + dial * np.nanstd(windows, axis=(0, 1)))


def gapped(windows: np.ndarray, dial: float) -> np.ndarray:
    """Return windows whose newest steps are missing: a share `dial` of them, but never all."""
    gone = min(math.ceil(dial * windows.shape[1]), windows.shape[1] - 1)
    holed = windows.copy()
    holed[:, windows.shape[1] - gone :] = np.nan
    return holed


def in_another_unit(values: np.ndarray, dial: float, column: Number) -> np.ndarray:
    """Return numbers (N,) as told in a unit up to ten times smaller; the column's bounds hold."""
    low, high = (-np.inf if column.low is None else column.low), (np.inf if column.high is None else column.high)
    found = np.clip(values * 10.0**dial, low, high)
    return np.asarray(np.rint(found) if column.integer else found)


@dataclass(frozen=True)
class Injection:
    """A change by its name: which columns it can be put into, and how, given a dial from 0 to 1 where it has one."""

    fits: Callable[[Column], bool]
    apply: Callable[[Column, np.ndarray, float, Generator], np.ndarray]
    dialled: bool = True


def _image(column: Column) -> Image:
    assert isinstance(column, Image)
    return column


def _number(column: Column) -> Number:
    assert isinstance(column, Number)
    return column


INJECTIONS = {
    "new_cameras": Injection(
        lambda column: isinstance(column, Image),
        lambda column, values, dial, drawn: new_cameras(values, dial, drawn, _image(column).high),
    ),
    "dead_frames": Injection(
        lambda column: isinstance(column, Image),
        lambda column, values, _dial, _drawn: dead_frames(values, _image(column).high),
        dialled=False,
    ),
    "noise": Injection(
        lambda column: isinstance(column, Audio), lambda _column, values, dial, drawn: noisy(values, dial, drawn)
    ),
    "typos": Injection(
        lambda column: isinstance(column, Text), lambda _column, values, dial, drawn: mistyped(values, dial, drawn)
    ),
    "level": Injection(
        lambda column: isinstance(column, Series), lambda _column, values, dial, _drawn: raised(values, dial)
    ),
    "gap": Injection(
        lambda column: isinstance(column, Series) and column.nullable,
        lambda _column, values, dial, _drawn: gapped(values, dial),
    ),
    "unit": Injection(
        lambda column: isinstance(column, Number),
        lambda column, values, dial, _drawn: in_another_unit(values, dial, _number(column)),
    ),
}
