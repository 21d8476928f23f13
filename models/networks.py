"""The built-in networks, and how a project's own is made from the same specification."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from data.errors import BadDeclaration, nearest
from models.declarations import Model
from models.factors import factors, neural_factors
from models.forecasting import Channels, Patched, horizon
from models.listening import listener
from models.pictures import classic, convolutions, residual
from models.pieces import PRETRAINED
from models.pretrained import Taught
from models.reconstruction import Residual
from models.recurrent import Remembering
from models.specification import EncodedSpec
from models.transformer import Reader
from models.trunks import Joined, activated

CHANNELS_HEARD = (16, 32, 64)  # of a default trunk for clips


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
    make = partial(activated, activation)
    trunks = {
        name: convolutions(shape, channels, make)
        if name == "image"
        else listener(shape, channels or CHANNELS_HEARD, make)
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


def three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of a picture: channels, height, width."""
    channels, height, width = shape
    return channels, height, width


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
