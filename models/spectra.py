"""Clips as pictures: which pitches sound when. Needs numpy only, the same in training and in serving.

Davis & Mermelstein 1980, Comparison of parametric representations for monosyllabic word recognition: bands that are
as wide as the ear's, by the mel scale of Stevens, Volkmann & Newman 1937 in the form of O'Shaughnessy 1987.
"""

from functools import lru_cache

import numpy as np

from data.columns.audio import LOUDEST

BANDS = 40
FRAME_SECONDS, STEP_SECONDS = 0.025, 0.01
LOWEST_HERTZ = 60.0
DEPTH = 80.0  # decibels below a clip's loudest sound that are told apart; what is quieter is silence
FAINTEST = 1e-6  # energy of a band that counts as the loudest of a clip without any sound
CHUNK = 128  # clips at once: their spectra take ten times the room of their samples


def shape(samples: int, rate: int) -> tuple[int, int]:
    """Return the bands and frames of a clip."""
    return BANDS, 1 + samples // step(rate)


def log_mel(clips: np.ndarray, rate: int) -> np.ndarray:
    """Return clips (N, samples) int16 as float32 (N, bands, frames): 1 is a clip's loudest sound, -1 silence.

    In parts of each clip's own loudest sound, so that it doesn't matter how far the microphone stood.
    """
    made = np.empty((len(clips), *shape(clips.shape[1], rate)), dtype=np.float32)
    for at in range(0, len(clips), CHUNK):
        made[at : at + CHUNK] = spectra(clips[at : at + CHUNK], rate)
    return made


def spectra(clips: np.ndarray, rate: int) -> np.ndarray:
    """Return the log-mel spectra of a few clips."""
    size, hop = frame(rate), step(rate)
    frames = shape(clips.shape[1], rate)[1]
    sound = np.pad(clips / np.float32(LOUDEST), ((0, 0), (size // 2, size // 2 + hop)))
    cut = np.lib.stride_tricks.sliding_window_view(sound, size, axis=1)[:, : frames * hop : hop]
    power = np.abs(np.fft.rfft(cut * window(size), n=length(size), axis=2)) ** 2
    energy = power @ bands(rate)
    loudest = np.maximum(energy.max(axis=(1, 2), keepdims=True), FAINTEST)
    decibels = 10 * np.log10(np.maximum(energy / loudest, 10 ** (-DEPTH / 10)))
    return np.asarray(decibels.transpose(0, 2, 1) * (2 / DEPTH) + 1, dtype=np.float32)


def frame(rate: int) -> int:
    """Samples of a frame."""
    return max(2, round(rate * FRAME_SECONDS))


def step(rate: int) -> int:
    """Samples from a frame to the next."""
    return max(1, round(rate * STEP_SECONDS))


def length(size: int) -> int:
    """Return the next power of two, for which the transform is fastest."""
    return 1 << (size - 1).bit_length()


@lru_cache(maxsize=8)
def window(size: int) -> np.ndarray:
    """Return Hann's window (size,)."""
    return np.hanning(size + 1)[:-1].astype(np.float32)


@lru_cache(maxsize=8)
def bands(rate: int) -> np.ndarray:
    """Return how much each frequency adds to each band: triangles (frequencies, bands)."""
    hertz = np.fft.rfftfreq(length(frame(rate)), 1 / rate)
    lowest, highest = (2595 * np.log10(1 + end / 700) for end in (LOWEST_HERTZ, rate / 2))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (hertz[:, None] - low) / (middle - low)
    falling = (high - hertz[:, None]) / (high - middle)
    made: np.ndarray = np.maximum(0.0, np.minimum(rising, falling))
    made[np.abs(hertz[:, None] - middle).argmin(axis=0), np.arange(BANDS)] += 1e-3  # a band narrower than a frequency
    return made
