"""A recurrent network for series.

Hochreiter & Schmidhuber 1997, Long short-term memory.
"""

from torch import Tensor, nn


class Remembering(nn.Module):
    """What an LSTM remembers at the end of a series: (B, T, C) -> (B, width)."""

    def __init__(self, channels: int, *, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, steps: Tensor) -> Tensor:
        """Read the steps, oldest first."""
        answer: Tensor = self.lstm(steps)[0][:, -1]
        return answer
