"""How one step reaches the device: by torch alone where one process trains on it, else through Lightning Fabric.

Fabric's wrappers cost half a millisecond a step, as much as all of a small network's step; what they add is needed
for several devices and for fp16, whose loss has to be scaled.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from models.declarations import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Engine:
    """A network and its optimiser on their device."""

    fabric: "Fabric"
    module: nn.Module
    optimizer: Any  # torch's, or Fabric's, which has its interface
    alone: bool

    @classmethod
    def start(
        cls, fabric: "Fabric", training: Training, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> "Engine":
        """Put the network on the device, compiled where that is declared."""
        module: Any = torch.compile(network) if training.compile else network
        if training.devices == 1 and training.precision != "16-mixed":
            network.to(fabric.device)
            return cls(fabric, module, optimizer, alone=True)
        module, optimizer = fabric.setup(module, optimizer)
        return cls(fabric, module, optimizer, alone=False)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Ask the network, in the declared precision."""
        with self.fabric.autocast() if self.alone else nullcontext():
            outputs: Tensor = self.module(*inputs)
        return outputs

    def adding(self, last: bool) -> AbstractContextManager[None]:
        """Return where a batch is asked and learned from: after the `last` of a step the devices compare gradients."""
        return nullcontext() if self.alone else self.fabric.no_backward_sync(self.module, enabled=not last)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        if self.alone:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.fabric.backward(loss)

    def step(self, clip: float | None) -> None:
        """Let the optimiser step, by gradients whose common norm is at most `clip`."""
        if clip is not None and self.alone:
            clip_grad_norm_(self.module.parameters(), clip)
        elif clip is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        self.optimizer.step()
