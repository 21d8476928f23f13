"""Networks for two ids, a user and an item: how much of the one is in the other.

Sources: Koren, Bell & Volinsky 2009, Matrix Factorization Techniques for Recommender Systems; He et al. 2017, Neural
Collaborative Filtering, arXiv:1708.05031. Each answer has factors of its own: that somebody rates an item says other
things than how.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from data.errors import BadDeclaration
from models.specification import EncodedSpec
from models.transforms import UNSEEN
from models.trunks import head

NEAR = 0.05  # standard deviation of factors at first


class Factors(nn.Module):
    """Biases of both ids and the product of their factors: (B, 2) int64 -> (B, K).

    An id that was never learned has neither bias nor factors, which is the mean of all. `dropout`: probability, 0 to 1,
    of leaving one factor out while training, for each of the K answers; `lately`: so many newest rows of each user say
    where the user's bias has moved to (models/lately.py).
    """

    def __init__(self, spec: EncodedSpec, width: int, dropout: Sequence[float], lately: int) -> None:
        super().__init__()
        self.outputs, self.width, self.lately = spec.outputs, width, lately
        self.factors = nn.ModuleList(table(count, spec.outputs * width, NEAR) for count in spec.cardinalities)
        self.biases = nn.ModuleList(table(count, spec.outputs, 0.0) for count in spec.cardinalities)
        self.mean = nn.Parameter(torch.zeros(spec.outputs))
        self.left_out = nn.ModuleList(nn.Dropout(share) for share in dropout)

    def forward(self, codes: Tensor) -> Tensor:
        """Return one standardised value an answer."""
        user, item = (table(codes[:, at]) for at, table in enumerate(self.factors))
        products = (user * item).view(-1, self.outputs, self.width)
        kept = [dropout(products[:, at]).sum(dim=1) for at, dropout in enumerate(self.left_out)]
        biases = [table(codes[:, at]) for at, table in enumerate(self.biases)]
        found: Tensor = torch.stack(kept, dim=1) + biases[0] + biases[1] + self.mean
        return found


class NeuralFactors(nn.Module):
    """`Factors`, and for each answer hidden layers over embeddings of both ids, added up: (B, 2) int64 -> (B, K)."""

    def __init__(self, spec: EncodedSpec, product: Factors, width: int, hidden: Sequence[int], left_out: float) -> None:
        super().__init__()
        self.product = product
        self.towers = nn.ModuleList(Tower(spec, width, hidden, left_out) for _ in range(spec.outputs))

    def forward(self, codes: Tensor) -> Tensor:
        """Return one standardised value an answer."""
        found: Tensor = self.product(codes) + torch.cat([tower(codes) for tower in self.towers], dim=1)
        return found


class Tower(nn.Module):
    """Hidden layers over embeddings of both ids: (B, 2) int64 -> (B, 1)."""

    def __init__(self, spec: EncodedSpec, width: int, hidden: Sequence[int], left_out: float) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(table(count, width, NEAR) for count in spec.cardinalities)
        self.layers = head(2 * width, hidden, 1, left_out, "relu")

    def forward(self, codes: Tensor) -> Tensor:
        """Return one standardised value."""
        both = torch.cat([table(codes[:, at]) for at, table in enumerate(self.embeddings)], dim=1)
        found: Tensor = self.layers(both)
        return found


def table(rows: int, width: int, spread: float) -> nn.Embedding:
    """Return an embedding in which null and what was never learned are nothing."""
    made = nn.Embedding(rows, width)
    nn.init.normal_(made.weight, std=spread)
    with torch.no_grad():
        made.weight[: UNSEEN + 1] = 0.0
    return made


def factors(
    spec: EncodedSpec, *, width: int = 16, dropout: float = 0.5, list_dropout: float = 0.1, lately: int = 0
) -> Factors:
    """Multiply the factors of two ids; `list_dropout` is that of the answer which ranks.

    Raises: BadDeclaration for rows that are anything but two ids, and for `lately` where nothing is ranked.
    """
    if tuple(spec.inputs) != ("codes",) or len(spec.cardinalities) != 2:
        raise BadDeclaration("a network of factors reads two Id columns and nothing else; 'mlp' reads everything")
    if lately < 0 or (lately and not spec.ranked):
        raise BadDeclaration(f"lately={lately}: newest rows of each user, 0 without Schema(ranking=…)")
    shares = [dropout] * (spec.outputs - len(spec.ranked)) + [list_dropout] * len(spec.ranked)
    return Factors(spec, width, shares, lately)


def neural_factors(
    spec: EncodedSpec,
    *,
    width: int = 16,
    dropout: float = 0.5,
    list_dropout: float = 0.1,
    lately: int = 0,
    hidden: Sequence[int] = (32, 16),
    hidden_dropout: float = 0.3,
) -> nn.Module:
    """Multiply the factors of two ids, and look at both through hidden layers."""
    product = factors(spec, width=width, dropout=dropout, list_dropout=list_dropout, lately=lately)
    return NeuralFactors(spec, product, width, hidden, hidden_dropout)
