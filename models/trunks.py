"""What the inputs of a network go through, each by itself, until they are joined and answered.

An input for which a network has no trunk of its own goes through a plain one.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from data.errors import BadDeclaration, nearest
from models.specification import EncodedSpec
from models.vocabulary import NOTHING

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Joined(nn.Module):
    """A trunk for each input that has one, embeddings for categories, the rest as it is; joined, then hidden layers.

    Source of the embeddings: Guo & Berkhahn 2016, Entity Embeddings of Categorical Variables, arXiv:1604.06737.
    They start near zero, so a level that training never saw says almost nothing.
    """

    def __init__(
        self,
        spec: EncodedSpec,
        trunks: Mapping[str, nn.Module],
        hidden: Sequence[int],
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.inputs = tuple(spec.inputs)
        self.trunks = nn.ModuleDict({name: trunks.get(name) or plain(name, spec) for name in spec.inputs})
        if "codes" in spec.inputs:
            self.trunks["codes"] = Levels(spec.cardinalities)
        examples = {
            name: torch.zeros(1, *shape, dtype=getattr(torch, kind)) for name, (shape, kind) in spec.inputs.items()
        }
        with torch.no_grad():
            width = sum(self.trunks[name].eval()(example).shape[1] for name, example in examples.items())
        self.trunks.train()
        self.head = head(width, hidden, spec.outputs, dropout, activation)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B, K) or a standardised value (B, 1) from the inputs in the order of the specification."""
        parts = [self.trunks[name](given) for name, given in zip(self.inputs, inputs, strict=True)]
        answer: Tensor = self.head(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
        return answer


def plain(name: str, spec: EncodedSpec) -> nn.Module:
    """Return what an input goes through that no trunk was made for."""
    return MeanWord(spec.vocabulary) if name == "text" else nn.Flatten()


class Levels(nn.Module):
    """Embeddings of categories, side by side: (B, C) int64 -> (B, D)."""

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count, embedding_width(count)) for count in cardinalities)
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.05)  # type: ignore[arg-type]

    def forward(self, codes: Tensor) -> Tensor:
        """Look each code up."""
        return torch.cat([embedding(codes[:, at]) for at, embedding in enumerate(self.embeddings)], dim=1)


class MeanWord(nn.Module):
    """The mean of a text's words: (B, places) int64 -> (B, D)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, embedding_width(vocabulary), padding_idx=NOTHING)
        nn.init.normal_(self.words.weight, std=0.05)

    def forward(self, codes: Tensor) -> Tensor:
        """Average over the words that are there."""
        there = (codes != NOTHING).unsqueeze(2).to(self.words.weight.dtype)
        answer: Tensor = (self.words(codes) * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        return answer


def head(given: int, hidden: Sequence[int], outputs: int, dropout: float, activation: str) -> nn.Module:
    """Return hidden layers with dropout, and the layer that answers."""
    layers: list[nn.Module] = []
    for count in hidden:
        layers += [nn.Linear(given, count), activated(activation), nn.Dropout(dropout)]
        given = count
    return nn.Sequential(*layers, nn.Linear(given, outputs))


def embedding_width(cardinality: int) -> int:
    """Return the numbers that stand for one category: half as many as it has codes, 32 at most."""
    return min(32, (cardinality + 1) // 2)


def activated(name: str) -> nn.Module:
    """Return the activation of this name.

    Raises: BadDeclaration.
    """
    if name not in ACTIVATIONS:
        raise BadDeclaration(f"no activation {name!r}; {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()
