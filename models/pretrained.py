"""BERT and DistilBERT as a reader of texts, from the weights that somebody else trained.

Devlin et al. 2018, arXiv:1810.04805; Sanh et al. 2019, arXiv:1910.01108. Blocks that add and then norm; the file's
names are those that Hugging Face's library writes.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.errors import BadDeclaration, Corrupt
from models.declarations import Model
from models.encoding import Encoder
from models.hub import found
from models.pieces import WEIGHTS, Pieces, folder_of
from models.transformer import FAR_BELOW

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}
WORDS, PLACES, KINDS = (f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type"))
NAMES = {
    "bert": {
        "query": "encoder.layer.{}.attention.self.query",
        "key": "encoder.layer.{}.attention.self.key",
        "value": "encoder.layer.{}.attention.self.value",
        "mixes": "encoder.layer.{}.attention.output.dense",
        "between": "encoder.layer.{}.attention.output.LayerNorm",
        "wide": "encoder.layer.{}.intermediate.dense",
        "narrow": "encoder.layer.{}.output.dense",
        "after": "encoder.layer.{}.output.LayerNorm",
    },
    "distilbert": {
        "query": "transformer.layer.{}.attention.q_lin",
        "key": "transformer.layer.{}.attention.k_lin",
        "value": "transformer.layer.{}.attention.v_lin",
        "mixes": "transformer.layer.{}.attention.out_lin",
        "between": "transformer.layer.{}.sa_layer_norm",
        "wide": "transformer.layer.{}.ffn.lin1",
        "narrow": "transformer.layer.{}.ffn.lin2",
        "after": "transformer.layer.{}.output_layer_norm",
    },
}
"""What the files call a block's layers."""


class Taught(nn.Module):
    """Pieces of words to what they come to: (B, places) int64 -> (B, 2 * width).

    That is what the encoder makes of the text's start, and the mean of what it makes of all pieces.

    Args:
        shape: the encoder's measures (models/pieces.py).
        places: codes of a text.
        dropout: probability, 0 to 1, of zeroing a number while training, where it is not frozen.
        frozen: whether training leaves the encoder as it is.
    """

    def __init__(self, shape: Mapping[str, Any], places: int, *, dropout: float, frozen: bool) -> None:
        super().__init__()
        width, self.nothing, self.frozen = shape["width"], shape["nothing"], frozen
        self.words = nn.Embedding(shape["vocabulary"], width)
        self.places = nn.Parameter(torch.zeros(places, width))  # and what says that it is the first of two texts
        self.norm, self.dropout = nn.LayerNorm(width, eps=shape["epsilon"]), nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape["layers"]))
        self.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> "Taught":
        """Go into training, or stay out of it where the encoder is frozen."""
        return super().train(mode and not self.frozen)

    def forward(self, codes: Tensor) -> Tensor:
        """Return what the texts come to."""
        there = (codes != self.nothing).unsqueeze(2).to(self.places.dtype)
        read = self.read(codes, there)
        return torch.cat([read[:, 0], (read * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)], dim=1)

    def read(self, codes: Tensor, there: Tensor) -> Tensor:
        """Return what the encoder makes of each piece (B, places, width)."""
        read: Tensor = self.dropout(self.norm(self.words(codes) + self.places))
        hidden = ((1 - there) * FAR_BELOW).transpose(1, 2).unsqueeze(1)
        for block in self.blocks:
            read = block(read, hidden)
        return read


class Block(nn.Module):
    """Attention and two layers, each added to what came in and normed: (B, T, width) -> (B, T, width)."""

    def __init__(self, shape: Mapping[str, Any], dropout: float) -> None:
        super().__init__()
        width, self.heads = shape["width"], shape["heads"]
        if width % self.heads or shape["activation"] not in ACTIVATIONS:
            raise BadDeclaration(
                f"a pretrained encoder of {self.heads} heads and {shape['activation']!r} can't be read"
            )
        self.activation = ACTIVATIONS[shape["activation"]]
        self.query, self.key, self.value, self.mixes = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, shape["inner"]), nn.Linear(shape["inner"], width)
        self.between, self.after = (nn.LayerNorm(width, eps=shape["epsilon"]) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, given: Tensor, hidden: Tensor) -> Tensor:
        """Let each piece look at those that `hidden` (B, 1, 1, T), added to the scores, does not hide."""
        places, width = given.shape[1:]
        each = width // self.heads
        query, key, value = (
            layer(given).reshape(-1, places, self.heads, each).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) * each**-0.5 + hidden
        mixed = (self.dropout(scores.softmax(dim=3)) @ value).transpose(1, 2).reshape(-1, places, width)
        given = self.between(given + self.dropout(self.mixes(mixed)))
        answer: Tensor = self.after(given + self.dropout(self.narrow(self.activation(self.wide(given)))))
        return answer


def taught(model: Model, encoder: Encoder) -> dict[str, Tensor] | None:
    """Return the weights that training starts from, by the network's own names; None for another network.

    Raises: Corrupt for other weights than the rows were encoded for; BadDeclaration for some that don't fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = folder_of(model)
    if folder is None:
        return None
    (pieces,) = (one for one in encoder.vocabularies.values() if isinstance(one, Pieces))
    content = (found(folder) / WEIGHTS).read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != pieces.weights:
        raise Corrupt(f"{folder}/{WEIGHTS}", pieces.weights, digest)
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise BadDeclaration(f"{folder}/{WEIGHTS} can't be read: {' '.join(str(error).split())[:160]}") from error
    before = next((name.removesuffix(WORDS) for name in tensors if name.endswith(WORDS)), "")
    stored = {name.removeprefix(before): tensor.float() for name, tensor in tensors.items()}
    try:
        return {f"trunks.text.{name}": tensor for name, tensor in renamed(stored, pieces)}
    except KeyError as error:
        raise BadDeclaration(f"{folder}: {WEIGHTS} lacks {error}") from error


def renamed(stored: Mapping[str, Tensor], pieces: Pieces) -> Iterator[tuple[str, Tensor]]:
    """Yield an encoder's tensors by our names; KeyError for one that is missing."""
    places = stored[PLACES][: pieces.places]
    yield "words.weight", stored[WORDS]
    yield "places", places + stored[KINDS][0] if pieces.shape["kind"] == "bert" else places
    for end, old in (("weight", "gamma"), ("bias", "beta")):  # the first files called a norm's numbers so
        norms = f"embeddings.LayerNorm.{end}", f"embeddings.LayerNorm.{old}"
        yield f"norm.{end}", stored[norms[1] if norms[1] in stored else norms[0]]
        for layer in range(pieces.shape["layers"]):
            for ours, theirs in NAMES[pieces.shape["kind"]].items():
                name = theirs.format(layer)
                yield f"blocks.{layer}.{ours}.{end}", stored[f"{name}.{old if f'{name}.{old}' in stored else end}"]
