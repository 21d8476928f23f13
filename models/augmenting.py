"""Pictures changed a little at random while training, each by itself, by name and amount or by a project's function.

`shift`: pixels, black comes in; `crop`: pixels, the picture's mirrored edge comes in; `flip`: probability of left
for right; `noise`: standard deviation, where pixels are 0 to 1. All but the noise only move pixels. A clip's spectrum
is changed by `mask`: up to so many bands, and frames, fall silent (Park et al. 2019, SpecAugment, arXiv:1904.08779).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Generator = torch.Generator


def augmented(images: Tensor, wanted: "Callable[..., Tensor] | Mapping[str, float]", generator: Generator) -> Tensor:
    """Return pictures (N, C, H, W) changed; `generator` is of the CPU, so that every device sees the same draws."""
    if callable(wanted):
        return wanted(images, generator)
    for name, amount in wanted.items():
        images = CHANGES[name](images, amount, generator)
    return images


def shift(images: Tensor, amount: float, generator: Generator) -> Tensor:
    """Move each picture by up to `amount` pixels both ways."""
    return moved(images, int(amount), "constant", generator)


def crop(images: Tensor, amount: float, generator: Generator) -> Tensor:
    """Move each picture by up to `amount` pixels both ways, its edges mirrored."""
    return moved(images, int(amount), "reflect", generator)


def moved(images: Tensor, most: int, border: str, generator: Generator) -> Tensor:
    """Cut a window at a place of its own from each widened picture."""
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (most,) * 4, mode=border)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, C, places, places, H, W)
    down, across = torch.randint(0, 2 * most + 1, (2, count), generator=generator).to(images.device)
    return windows[torch.arange(count, device=images.device), :, down, across]


def flip(images: Tensor, amount: float, generator: Generator) -> Tensor:
    """Turn some pictures left for right."""
    turned = (torch.rand(len(images), generator=generator) < amount).to(images.device)
    return torch.where(turned[:, None, None, None], images.flip(3), images)


def noise(images: Tensor, amount: float, generator: Generator) -> Tensor:
    """Add to each pixel."""
    added = torch.randn(images.shape, generator=generator).to(images.device) * amount
    return (images + added).clamp(0, 1)


def mask(images: Tensor, amount: float, generator: Generator) -> Tensor:
    """Put a stripe across each picture, and one down it, as dark as the darkest of all."""
    for axis in (2, 3):
        size = images.shape[axis]
        wide = torch.randint(0, int(amount) + 1, (len(images), 1), generator=generator)
        start = (torch.rand((len(images), 1), generator=generator) * (size + 1 - wide)).long()
        places = torch.arange(size)
        covered = ((places >= start) & (places < start + wide)).to(images.device)
        images = torch.where(covered[:, None, :, None] if axis == 2 else covered[:, None, None], images.min(), images)
    return images


CHANGES: dict[str, Callable[[Tensor, float, Generator], Tensor]] = {
    "shift": shift,
    "crop": crop,
    "flip": flip,
    "noise": noise,
    "mask": mask,
}
