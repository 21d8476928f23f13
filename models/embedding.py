"""What a network makes of a row just before it answers: the input of its last linear layer, as a second output.

Watched beside an image's descriptors, since pictures can change in ways that no mean of pixels shows.
"""

from torch import Tensor, inference_mode, nn

WIDEST = 4096  # numbers a row; wider layers are no summary


class Telling(nn.Module):
    """A network that also tells what it gave its `head`: (answer, embedding)."""

    def __init__(self, network: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.network = network
        self.kept: list[Tensor] = []
        head.register_forward_pre_hook(self.keep)

    def keep(self, _head: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Keep the head's input; what the head gets is not changed."""
        self.kept[:] = given[:1]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's own answer (B, K), and its embedding (B, D)."""
        answer = self.network(*inputs)
        return answer, self.kept.pop()


def head_of(network: nn.Module, rows: tuple[Tensor, ...]) -> nn.Linear | None:
    """Return the linear layer whose output is the network's answer to `rows`; None where there is none.

    It must be asked once, with a vector a row.
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Linear, given: tuple[Tensor, ...], answer: Tensor) -> None:
        calls.append((layer, given[0], answer))

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if isinstance(layer, nn.Linear)]
    try:
        with inference_mode():
            answer = network(*rows)
    except Exception:  # noqa: BLE001 (the network is a stranger's code; the exporter says what is wrong with it)
        return None
    finally:
        for hook in hooks:
            hook.remove()
    if not calls:
        return None
    head, given, found = calls[-1]
    once = sum(layer is head for layer, _, _ in calls) == 1
    fits = found is answer and given.ndim == 2 and len(given) == len(answer) and 2 <= given.shape[1] <= WIDEST
    return head if once and fits else None
