"""What a network that was made to say a series again could not say: where it is much, something is unusual.

An autoencoder learns what is usual from rows that nobody labelled: Hawkins, He, Williams & Baxter 2002, Outlier
detection using replicator neural networks. It must have less room than the series, or it learns to copy.
"""

import torch
from torch import Tensor, nn

from models.specification import EncodedSpec


class Residual(nn.Module):
    """A network's inputs less what it reconstructs of them: (B, T * C), 0 in a gap."""

    def __init__(self, network: nn.Module, spec: EncodedSpec) -> None:
        super().__init__()
        self.network = network
        self.series, self.newest = list(spec.inputs).index("series"), spec.newest
        self.targets, self.gaps = list(spec.targets), list(spec.gaps)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return what is left of each value; of those that count, the known ones stand for the gaps beside them."""
        series = inputs[self.series]
        left: Tensor = series[:, :, self.targets].flatten(1) - self.network(*inputs)
        if max(self.gaps) < 0:
            return left
        never = torch.zeros_like(series[:, :, :1])
        known = 1 - torch.cat([series, never], dim=2)[:, :, self.gaps].flatten(1)
        counting = known[:, -self.newest :].sum(dim=1, keepdim=True).clamp(min=1)
        return left * known * (self.newest / counting).sqrt()
