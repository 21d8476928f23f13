"""What looks at a clip's spectrum: convolutions, then the mean and the most of each channel over all that was heard."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

SMALLEST = 4  # bands; fewer are not halved any more


class Heard(nn.Module):
    """The mean and the largest value of each channel: (B, C, bands, frames) -> (B, 2 C).

    Most of a clip may be the silence after it, which a mean alone would mostly tell of.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return both."""
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


def listener(shape: tuple[int, int, int], channels: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Module:
    """Return blocks of two 3x3 convolutions over a spectrum (B, clips, bands, frames), each halved: -> (B, D).

    The first convolution takes every second place only: a spectrum is smooth, and long.
    """
    depth, bands, _ = shape
    layers: list[nn.Module] = []
    for block, count in enumerate(channels):
        stride = 1 if block else 2
        for given, step in ((depth, stride), (count, 1)):
            convolution = nn.Conv2d(given, count, 3, stride=step, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(count), activation()]
        depth, bands = count, bands // stride
        if bands >= SMALLEST:
            layers.append(nn.MaxPool2d(2))
            bands //= 2
    return nn.Sequential(*layers, Heard())
