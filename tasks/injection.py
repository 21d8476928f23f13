"""The dial in the open: known changes of the world, and known faults, put into rows before they are sent.

What is injected is said out loud; nothing in Holdfast reads it. It is how a demo, a test or a person asks
"would you have noticed?".
"""

import numpy as np


def new_cameras(pictures: np.ndarray, dial: float, generator: np.random.Generator, high: int) -> np.ndarray:
    """Return pictures as another fleet of cameras takes them: blurred, paler, partly hidden.

    Args:
        pictures: (N, H, W) uint8, 0 to `high`.
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
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = light.shape[1:]
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
