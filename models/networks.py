"""The built-in networks, and how a project's own is made from the same specification."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from data.errors import BadDeclaration, nearest
from models.declarations import Model
from models.encoding import EncodedSpec

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
SMALLEST_POOLED = 8  # pixels; halving a smaller picture loses more than it saves
LARGEST_FLAT = 8  # pixels; a larger map is averaged instead of flattened, to keep the next layer small
WIDEST = 128  # channels of a default trunk


def build(model: Model, spec: EncodedSpec) -> nn.Module:
    """Make the network that `model` declares for rows encoded as `spec`, with weights drawn from torch's seed.

    Raises: BadDeclaration for an unknown name or option, or for what does not fit the data.
    """
    if callable(model.network):
        made = model.network(spec)
        if not isinstance(made, nn.Module):
            raise BadDeclaration(f"the network factory returned a {type(made).__name__}, not an nn.Module")
        return made
    builtins = {"cnn": cnn, "mlp": mlp}
    if model.network not in builtins:
        raise BadDeclaration(f"no built-in network {model.network!r}; {nearest(model.network, builtins)}")
    try:
        return builtins[model.network](spec, **model.options)
    except TypeError as error:
        raise BadDeclaration(f"network {model.network!r}: {str(error).replace('()', '', 1)}") from error


def mlp(
    spec: EncodedSpec, *, hidden: Sequence[int] = (64, 32), dropout: float = 0.1, activation: str = "relu"
) -> nn.Module:
    """Join numbers, embedded categories and flattened pictures, and pass them through hidden layers."""
    return Joined(spec, nn.Flatten() if spec.images else None, hidden, dropout, activation)


def cnn(
    spec: EncodedSpec,
    *,
    channels: Sequence[int] | None = None,
    hidden: Sequence[int] = (64,),
    dropout: float = 0.1,
    activation: str = "relu",
) -> nn.Module:
    """Look at the picture through blocks of convolutions, join the other columns, then hidden layers.

    Without `channels` there is a block for each time the picture can be halved, and one more.
    """
    if spec.images is None:
        raise BadDeclaration("network 'cnn' needs an Image column; 'mlp' takes tables")
    return Joined(spec, convolutions(spec.images, channels, activation), hidden, dropout, activation)


class Joined(nn.Module):
    """A trunk for pictures, embeddings for categories and the numbers as they are, joined, then hidden layers.

    Source of the embeddings: Guo & Berkhahn 2016, Entity Embeddings of Categorical Variables, arXiv:1604.06737.
    They start near zero, so a level that training never saw says almost nothing.
    """

    def __init__(
        self, spec: EncodedSpec, trunk: nn.Module | None, hidden: Sequence[int], dropout: float, activation: str
    ) -> None:
        super().__init__()
        self.inputs = tuple(spec.inputs)
        self.trunk = trunk
        self.embeddings = nn.ModuleList(nn.Embedding(count, embedding_width(count)) for count in spec.cardinalities)
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.05)  # type: ignore[arg-type]
        width = sum(embedding_width(count) for count in spec.cardinalities) + spec.numbers
        if trunk is not None and spec.images is not None:
            with torch.no_grad():
                width += trunk.eval()(torch.zeros(1, *spec.images)).shape[1]
            trunk.train()
        self.head = head(width, hidden, spec.outputs, dropout, activation)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits (B, K) or a standardised value (B, 1) from the inputs in the order of the specification."""
        given = dict(zip(self.inputs, inputs, strict=True))
        parts = []
        if self.trunk is not None:
            parts.append(self.trunk(given["image"]))
        if "numbers" in given:
            parts.append(given["numbers"])
        if "codes" in given:
            codes = given["codes"]
            parts.extend(embedding(codes[:, at]) for at, embedding in enumerate(self.embeddings))
        answer: Tensor = self.head(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
        return answer


class Averaged(nn.Module):
    """The mean of each channel over all pixels: (B, C, H, W) -> (B, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Average; unlike adaptive pooling this is deterministic on a GPU and exports for every size."""
        return maps.mean(dim=(2, 3))


def convolutions(shape: tuple[int, int, int], channels: Sequence[int] | None, activation: str) -> nn.Module:
    """Return blocks of two 3x3 convolutions, halving the picture while its size allows: (B, C, H, W) -> (B, D)."""
    depth, height, width = shape
    size = min(height, width)
    halvings = max(0, (size // SMALLEST_POOLED).bit_length())
    layers: list[nn.Module] = []
    for count in channels or [min(32 * 2**block, WIDEST) for block in range(max(2, halvings + 1))]:
        for given in (depth, count):
            layers += [nn.Conv2d(given, count, 3, padding=1, bias=False), nn.BatchNorm2d(count), activated(activation)]
        depth = count
        if size >= SMALLEST_POOLED:
            layers.append(nn.MaxPool2d(2))
            size, height, width = size // 2, height // 2, width // 2
    flat = max(height, width) <= LARGEST_FLAT
    return nn.Sequential(*layers, nn.Flatten() if flat else Averaged())


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


def parameters(network: nn.Module) -> int:
    """Count what training can change."""
    return sum(tensor.numel() for tensor in network.parameters())
