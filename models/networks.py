"""The built-in networks, and how a project's own is made from the same specification."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from data.errors import BadDeclaration, nearest
from models.declarations import Model
from models.encoding import EncodedSpec
from models.factors import factors, neural_factors
from models.forecasting import Channels, Patched, horizon
from models.listening import listener
from models.pictures import Averaged, classic, residual
from models.pieces import PRETRAINED
from models.pretrained import Taught
from models.reconstruction import Residual
from models.recurrent import Remembering
from models.transformer import Reader
from models.vocabulary import NOTHING

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
SMALLEST_POOLED = 8  # pixels; halving a smaller picture loses more than it saves
LARGEST_FLAT = 8  # pixels; a larger map is averaged instead of flattened, to keep the next layer small
CHANNELS_HEARD = (16, 32, 64)  # of a default trunk for clips
WIDEST = 128  # channels of a default trunk


def build(model: Model, spec: EncodedSpec) -> nn.Module:
    """Make the network that `model` declares for rows encoded as `spec`, with weights drawn from torch's seed.

    Where anomalies are looked for it answers what it could not reconstruct.

    Raises: BadDeclaration for an unknown name or option, or for what does not fit the data.
    """
    made = declared(model, spec)
    return Residual(made, spec) if spec.task == "anomaly" else made


def declared(model: Model, spec: EncodedSpec) -> nn.Module:
    """Make the network itself."""
    if callable(model.network):
        made = model.network(spec)
        if not isinstance(made, nn.Module):
            raise BadDeclaration(f"the network factory returned a {type(made).__name__}, not an nn.Module")
        return made
    builtins: dict[str, Callable[..., nn.Module]] = {
        "classic_cnn": classic_cnn,
        "cnn": cnn,
        "factors": factors,
        "linear": linear,
        "lstm": lstm,
        "mlp": mlp,
        "neural_factors": neural_factors,
        PRETRAINED: pretrained,
        "resnet": resnet,
        "transformer": transformer,
    }
    if model.network not in builtins:
        raise BadDeclaration(f"no built-in network {model.network!r}; {nearest(model.network, builtins)}")
    try:
        return builtins[model.network](spec, **model.options)
    except TypeError as error:
        raise BadDeclaration(f"network {model.network!r}: {str(error).replace('()', '', 1)}") from error


def mlp(
    spec: EncodedSpec, *, hidden: Sequence[int] = (64, 32), dropout: float = 0.1, activation: str = "relu"
) -> nn.Module:
    """Join numbers, embedded categories, flattened pictures, clips and series, and words' mean; then hidden layers."""
    return Joined(spec, {}, hidden, dropout, activation)


def cnn(
    spec: EncodedSpec,
    *,
    channels: Sequence[int] | None = None,
    hidden: Sequence[int] = (64,),
    dropout: float = 0.1,
    activation: str = "relu",
) -> nn.Module:
    """Look at the picture, or at a clip's spectrum, through blocks of convolutions, join the rest, then hidden layers.

    Without `channels` there is a block for each time the picture can be halved, and one more.
    """
    trunks = {
        name: convolutions(shape, channels, activation)
        if name == "image"
        else listener(shape, channels or CHANNELS_HEARD, partial(activated, activation))
        for name, shape in seen("cnn", spec).items()
    }
    return Joined(spec, trunks, hidden, dropout, activation)


def classic_cnn(
    spec: EncodedSpec,
    *,
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (64,),
    dropout: float = 0.0,
    activation: str = "relu",
) -> nn.Module:
    """Look through one convolution a width, each halved, as everybody's first network for digits does."""
    make = partial(activated, activation)
    trunks: dict[str, nn.Module] = {
        name: classic(shape, channels, make) for name, shape in seen("classic_cnn", spec).items()
    }
    return Joined(spec, trunks, hidden, dropout, activation)


def resnet(
    spec: EncodedSpec,
    *,
    channels: Sequence[int] = (16, 32, 64),
    blocks: int = 1,
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    activation: str = "relu",
) -> nn.Module:
    """Look through residual blocks, the picture halved before each further width."""
    make = partial(activated, activation)
    trunks: dict[str, nn.Module] = {
        name: residual(shape, channels, blocks, make) for name, shape in seen("resnet", spec).items()
    }
    return Joined(spec, trunks, hidden, dropout, activation)


def seen(network: str, spec: EncodedSpec) -> dict[str, tuple[int, int, int]]:
    """Return the shapes of what can be looked at: pictures and clips' spectra.

    Raises: BadDeclaration where there is none.
    """
    names: list[str] = [name for name in ("image", "audio") if name in spec.inputs]
    shapes = {name: three(spec.inputs[name][0]) for name in names}
    if not shapes:
        raise BadDeclaration(f"network {network!r} needs an Image or an Audio column; 'mlp' takes tables")
    return shapes


def transformer(
    spec: EncodedSpec,
    *,
    width: int = 64,
    blocks: int = 1,
    heads: int = 4,
    forget: float = 0.1,
    hidden: Sequence[int] = (),
    dropout: float = 0.3,
    activation: str = "relu",
) -> nn.Module:
    """Read the text through blocks of attention (models/transformer.py), join the rest, then hidden layers."""
    if "text" not in spec.inputs:
        raise BadDeclaration("network 'transformer' needs a Text column")
    places = spec.inputs["text"][0][0]
    reader = Reader(spec.vocabulary, places, width=width, blocks=blocks, heads=heads, dropout=dropout, forget=forget)
    return Joined(spec, {"text": reader}, hidden, dropout, activation)


def pretrained(
    spec: EncodedSpec,
    *,
    folder: str,  # noqa: ARG001 (models/pretrained.py reads it, once, before training)
    frozen: bool = True,
    hidden: Sequence[int] = (),
    dropout: float = 0.1,
    activation: str = "relu",
) -> nn.Module:
    """Read the text by an encoder that was trained elsewhere (models/pretrained.py), join the rest, then hidden layers.

    `frozen` leaves the encoder as it is; else it is learned on, for which a learning rate of 5e-5 is usual.
    """
    if spec.pretrained is None:
        raise BadDeclaration(f"network {PRETRAINED!r} needs a Text column")
    places = spec.inputs["text"][0][0]
    if places > spec.pretrained["positions"]:
        raise BadDeclaration(f"network {PRETRAINED!r} reads one Text column")
    return Joined(
        spec, {"text": Taught(spec.pretrained, places, dropout=dropout, frozen=frozen)}, hidden, dropout, activation
    )


def lstm(
    spec: EncodedSpec,
    *,
    width: int = 64,
    layers: int = 1,
    patch: int = 1,
    season: int = 0,
    hidden: Sequence[int] = (),
    dropout: float = 0.1,
    activation: str = "relu",
) -> nn.Module:
    """Read the series step by step (models/recurrent.py), join the rest, then hidden layers.

    A forecast reads each channel by itself, `patch` steps at a time, and starts from the last `season`, where one is
    given (models/forecasting.py).
    """
    if "series" not in spec.inputs:
        raise BadDeclaration("network 'lstm' needs a Series column")
    if spec.task == "forecast":
        past, coming = horizon("lstm", spec)
        each = Patched(past, coming, patch=patch, width=width, layers=layers, dropout=dropout)
        like = [past - season + step % season for step in range(coming)] if season else ()
        return Channels(each, spec.targets, "mean", like)
    trunk = Remembering(spec.inputs["series"][0][1], width=width, layers=layers, dropout=dropout)
    return Joined(spec, {"series": trunk}, hidden, dropout, activation)


def linear(spec: EncodedSpec) -> nn.Module:
    """Forecast each channel by one layer from its past, less its last value, to what comes (models/forecasting.py)."""
    past, coming = horizon("linear", spec)
    return Channels(nn.Linear(past, coming), spec.targets, "last")


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


def zeros(spec: EncodedSpec, name: str) -> Tensor:
    """Return an input of one empty row."""
    shape, kind = spec.inputs[name]
    return torch.zeros(1, *shape, dtype=getattr(torch, kind))


def three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of a picture: channels, height, width."""
    channels, height, width = shape
    return channels, height, width


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
