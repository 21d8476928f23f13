"""A small transformer for texts, trained from scratch.

Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762, with the norm before each part (Xiong et al. 2020,
arXiv:2002.04745), which needs no warm-up.
"""

import torch
from torch import Tensor, nn

from data.errors import BadDeclaration
from models.vocabulary import NOTHING, UNKNOWN

FAR_BELOW = -1e4  # of a score that shall not count; finite, so that a text without words gives no NaN


class Reader(nn.Module):
    """Words to vectors, blocks of attention over them, and what they come to: (B, places) int64 -> (B, 3 * width).

    That is the mean and the largest of what the blocks make of the words, and the mean of the words themselves: a few
    thousand sentences teach the meaning of words sooner than that of their order.

    Args:
        vocabulary: codes of words.
        places: words of a text.
        width: numbers that stand for a word; a multiple of `heads`.
        blocks: how many times words look at each other.
        heads: ways in which they do each time.
        dropout: probability, 0 to 1, of zeroing a number while training.
        forget: probability of taking a word for an unknown one while training, so that those mean something too.
    """

    def __init__(
        self, vocabulary: int, places: int, *, width: int, blocks: int, heads: int, dropout: float, forget: float
    ) -> None:
        super().__init__()
        if width % heads:
            raise BadDeclaration(f"network 'transformer': width {width} is no multiple of {heads} heads")
        self.words = nn.Embedding(vocabulary, width, padding_idx=NOTHING)
        nn.init.normal_(self.words.weight, std=0.1)
        self.places = nn.Parameter(torch.randn(places, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.dropout, self.forget = nn.Dropout(dropout), forget

    def forward(self, codes: Tensor) -> Tensor:
        """Return what the texts come to."""
        if self.training and self.forget:
            lost = (torch.rand(codes.shape, device=codes.device) < self.forget) & (codes != NOTHING)
            codes = codes.masked_fill(lost, UNKNOWN)
        there = (codes != NOTHING).unsqueeze(2).to(self.places.dtype)
        said = self.dropout(self.words(codes))
        read = said + self.places
        for block in self.blocks:
            read = block(read, (1 - there).transpose(1, 2) * FAR_BELOW)
        read = self.norm(read)
        count = there.sum(dim=1).clamp(min=1)
        largest = (read + (1 - there) * FAR_BELOW).amax(dim=1)
        together = torch.cat([(read * there).sum(dim=1) / count, largest, (said * there).sum(dim=1) / count], dim=1)
        answer: Tensor = self.dropout(together)
        return answer


class Block(nn.Module):
    """Attention and two layers, each added to what came in: (B, T, width) -> (B, T, width)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asks, self.mixes = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, given: Tensor, hidden: Tensor) -> Tensor:
        """Let each word look at those that `hidden` (B, 1, T), added to the scores, does not hide."""
        places, each = given.shape[1], self.width // self.heads
        asked = self.asks(self.before(given)).reshape(-1, places, 3, self.heads, each)
        query, key, value = asked.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(2, 3) * each**-0.5 + hidden.unsqueeze(1)
        mixed = (self.dropout(scores.softmax(dim=3)) @ value).transpose(1, 2).reshape(-1, places, self.width)
        given = given + self.dropout(self.mixes(mixed))
        answer: Tensor = given + self.dropout(self.layers(self.between(given)))
        return answer
