"""Networks that forecast a window's own channels: each channel by itself, and all by the same weights.

That a linear layer from past to future is hard to beat: Zeng et al. 2023, Are transformers effective for time series
forecasting?, arXiv:2205.13504 (its NLinear). Windows brought to one level and spread before, and back after: Kim et
al. 2022, Reversible instance normalization. Channels by the same weights: Nie et al. 2023, arXiv:2211.14730.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from data.errors import BadDeclaration
from models.specification import EncodedSpec

SPREAD = 1e-5  # standard deviations of the training rows, added to a window's own: a constant one stays finite
LEVELS = ("last", "mean")


class Channels(nn.Module):
    """Forecasts each target channel from its own past: (B, T, C) -> (B, steps * targets).

    `each`: (N, T) -> (N, steps), for windows that were brought to one level; with `mean` also to one spread. Where it
    says how the coming steps differ from earlier ones instead of from the level, `like` are the places of these.
    """

    def __init__(
        self, each: nn.Module, targets: tuple[int, ...], level: Literal["last", "mean"], like: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.each, self.level, self.like = each, level, list(like)
        self.targets = list(targets)

    def forward(self, series: Tensor) -> Tensor:
        """Return all target channels of the first step, then of the next."""
        past = series[:, :, self.targets].transpose(1, 2)
        if self.level == "last":
            level, spread = past[:, :, -1:], torch.ones_like(past[:, :, -1:])
        else:
            level = past.mean(dim=2, keepdim=True)
            spread = ((past - level) ** 2).mean(dim=2, keepdim=True).sqrt() + SPREAD
        count, steps = past.shape[1], past.shape[2]
        coming = self.each(((past - level) / spread).reshape(-1, steps))
        coming = coming.reshape(-1, count, coming.shape[1])
        coming = coming * spread + (past[:, :, self.like] if self.like else level)
        answer: Tensor = coming.transpose(1, 2).flatten(1)
        return answer


class Patched(nn.Module):
    """An LSTM over `patch` steps at a time, and a layer from what it remembers to all steps to come.

    Hochreiter & Schmidhuber 1997, Long short-term memory; steps joined so that it has few to remember over.
    """

    def __init__(self, past: int, coming: int, *, patch: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.patch, self.left_out = patch, past % patch
        self.lstm = nn.LSTM(patch, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(width, coming)

    def forward(self, past: Tensor) -> Tensor:
        """Read (N, T), without the oldest steps that fill no patch, and return (N, steps)."""
        read = past[:, self.left_out :].reshape(past.shape[0], -1, self.patch)
        answer: Tensor = self.head(self.dropout(self.lstm(read)[0][:, -1]))
        return answer


def horizon(network: str, spec: EncodedSpec) -> tuple[int, int]:
    """Return how many steps there are and how many are to come, where a window's own channels are forecast.

    Raises: BadDeclaration for another task, for other inputs, or for a channel whose past is not given.
    """
    if spec.task != "forecast" or not spec.targets or list(spec.inputs) != ["series"]:
        why = "forecasts channels from their own past: a Series target whose channels one Series feature has too"
        raise BadDeclaration(f"network {network!r} {why}, and no other feature")
    return spec.inputs["series"][0][0], spec.outputs // len(spec.targets)
