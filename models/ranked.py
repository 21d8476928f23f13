"""Learning what to list: beside each learned row its user with drawn items, which are likely none of theirs.

He et al. 2017, Neural Collaborative Filtering, section 3.3: what was not rated is sampled, evenly over all items, so
that an item's popularity counts. A row teaches its list only where the target says that the item was liked.
"""

import torch
from torch import Tensor, nn

from models.encoding import Encoder
from models.lists import FIRST

DRAWN = 4  # items beside each row


def with_drawn(encoder: Encoder, inputs: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return the inputs of B rows followed by those of B * DRAWN others, in which the item was drawn."""
    (place,) = encoder.spec.ranked
    made = {name: torch.cat([one, one.repeat_interleave(DRAWN, dim=0)]) for name, one in inputs.items()}
    codes, rows = made["codes"], len(inputs["codes"])
    items = torch.randint(FIRST, encoder.spec.cardinalities[place], (rows * DRAWN,), generator=generator)
    codes[rows:, place] = items.to(codes.device)
    return made


def sizes(encoder: Encoder, rows: int) -> tuple[int, ...]:
    """Return how many rows of outputs a batch may have: with drawn ones behind it where items are ranked."""
    return (rows, rows * (1 + DRAWN)) if encoder.spec.ranked else (rows,)


def losses(encoder: Encoder, outputs: Tensor, target: Tensor) -> Tensor:
    """Return each row's loss (B,) from outputs (B * (1 + DRAWN), 2): squared error, and cross entropy of the list.

    Rows that come without drawn ones, (B, 2), are those that choose the epoch, which is done by what rates best: lists
    go on getting better after their cross entropy does not.
    """
    assert encoder.schema.ranking is not None
    mean, deviation = encoder.scales[encoder.schema.target]
    liked = (target >= (encoder.schema.ranking.liked - mean) / deviation - 1e-4).float()
    rated, score = outputs.float()[: len(target)].T
    if len(outputs) == len(target):
        return torch.square(rated - target)
    drawn = outputs.float()[len(target) :, 1].view(len(target), DRAWN)
    listed = liked * nn.functional.softplus(-score) + nn.functional.softplus(drawn).mean(dim=1)
    found: Tensor = (rated - target) ** 2 + listed
    return found
