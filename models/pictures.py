"""What looks at a picture before the hidden layers: blocks of convolutions, the classic two, residual blocks."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from data.errors import BadDeclaration

CONVOLUTIONAL = ("classic_cnn", "cnn", "resnet")  # built-ins that are up to twice as fast with the channels last
SMALLEST_POOLED = 8  # pixels; halving a smaller picture loses more than it saves
LARGEST_FLAT = 8  # pixels; a larger map is averaged instead of flattened, to keep the next layer small
WIDEST = 128  # channels of a default trunk
Shape = tuple[int, int, int]
Activation = Callable[[], nn.Module]


class Averaged(nn.Module):
    """The mean of each channel over all pixels: (B, C, H, W) -> (B, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Average; unlike adaptive pooling this is deterministic on a GPU and exports for every size."""
        return maps.mean(dim=(2, 3))


def convolutions(shape: Shape, channels: Sequence[int] | None, activation: Activation) -> nn.Module:
    """Return blocks of two 3x3 convolutions, halving the picture while its size allows: (B, C, H, W) -> (B, D)."""
    depth, height, width = shape
    size = min(height, width)
    halvings = max(0, (size // SMALLEST_POOLED).bit_length())
    layers: list[nn.Module] = []
    for count in channels or [min(32 * 2**block, WIDEST) for block in range(max(2, halvings + 1))]:
        for given in (depth, count):
            layers += [nn.Conv2d(given, count, 3, padding=1, bias=False), nn.BatchNorm2d(count), activation()]
        depth = count
        if size >= SMALLEST_POOLED:
            layers.append(nn.MaxPool2d(2))
            size, height, width = size // 2, height // 2, width // 2
    flat = max(height, width) <= LARGEST_FLAT
    return nn.Sequential(*layers, nn.Flatten() if flat else Averaged())


def classic(shape: Shape, channels: Sequence[int], activation: Activation) -> nn.Module:
    """Return 3x3 convolutions without padding, each halved by pooling: (B, C, H, W) -> (B, D).

    Pooling comes before the activation: for one that only grows (ReLU, tanh) the answers and the gradients are the
    same, for a quarter of the work.

    Raises: BadDeclaration for a picture that is too small.
    """
    depth, height, width = shape
    layers: list[nn.Module] = []
    for count in channels:
        height, width = (height - 2) // 2, (width - 2) // 2
        if min(height, width) < 1:
            raise BadDeclaration(f"pictures of {shape[1]} by {shape[2]} are too small for 'classic_cnn': try 'cnn'")
        layers += [nn.Conv2d(depth, count, 3), nn.MaxPool2d(2), activation()]
        depth = count
    return nn.Sequential(*layers, nn.Flatten())


def residual(shape: Shape, channels: Sequence[int], blocks: int, activation: Activation) -> nn.Module:
    """Return a first convolution, then `blocks` residual blocks a width, halving before each but the first width.

    Source: He et al. 2015, Deep Residual Learning for Image Recognition, arXiv:1512.03385, section 4.2.
    """
    depth = channels[0]
    layers: list[nn.Module] = [convolution(shape[0], depth), nn.BatchNorm2d(depth), activation()]
    for at, count in enumerate(channels):
        for block in range(blocks):
            layers.append(Residual(depth, count, 2 if at and not block else 1, activation))
            depth = count
    return nn.Sequential(*layers, Averaged())


class Residual(nn.Module):
    """Two convolutions whose result is added to what they were given: (B, C, H, W) -> (B, D, H / s, W / s)."""

    def __init__(self, given: int, count: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.first, self.second = convolution(given, count, stride), convolution(count, count)
        last = nn.BatchNorm2d(count)
        nn.init.zeros_(last.weight)  # each block begins as its shortcut (Goyal et al. 2017, arXiv:1706.02677)
        self.norms = nn.ModuleList([nn.BatchNorm2d(count), last])
        self.between, self.after = activation(), activation()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or given != count:
            self.shortcut = nn.Sequential(nn.Conv2d(given, count, 1, stride, bias=False), nn.BatchNorm2d(count))

    def forward(self, maps: Tensor) -> Tensor:
        """Add."""
        inner = self.between(self.norms[0](self.first(maps)))
        added: Tensor = self.after(self.norms[1](self.second(inner)) + self.shortcut(maps))
        return added


def convolution(given: int, count: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size, or halves it; without a bias, since a batch norm follows."""
    layer = nn.Conv2d(given, count, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
