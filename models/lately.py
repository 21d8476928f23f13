"""What people said last: their newest rows move their bias once the epochs are over.

How high somebody rates drifts, within one evening already, and what comes next is likest what was said last (Koren
2010, Collaborative Filtering with Temporal Dynamics, Communications of the ACM 53(4)). Epochs know no order of rows. So
the mean of what the network leaves unexplained of a user's newest rows is added to the user's bias, as if as many more
rows stood beside them of which nothing is left. A user whose level has not moved stays about where it was.
"""

import numpy as np
import torch
from torch import Tensor, nn

from data.schema import Rows, take
from data.stored import Stored
from models.encoding import Encoder
from models.factors import Factors
from models.feeding import Some, feed
from models.lists import places
from models.transforms import UNSEEN

TOGETHER = 4096  # rows answered at once


def settle(network: nn.Module, encoder: Encoder, train: Rows | Stored) -> None:
    """Move the users' biases of a network that is declared to, in place, by the newest of all rows that it knows."""
    for factors in network.modules():
        if isinstance(factors, Factors) and factors.lately:
            move(network, factors, encoder, train, factors.lately)


def move(network: nn.Module, factors: Factors, encoder: Encoder, train: Rows | Stored, most: int) -> None:
    """Move the users' biases among a network's factors, in place, by the newest `most` rows of each user."""
    user, _ = places(encoder)
    bias = factors.biases[user].weight
    assert isinstance(bias, Tensor)
    left, rows = unexplained(network, encoder, newest(encoder, train, most), user)
    moved = left / (rows + most)
    moved[: UNSEEN + 1] = 0.0  # nobody in particular
    with torch.no_grad():
        bias[:, 0] += moved.to(bias.dtype)


def newest(encoder: Encoder, train: Rows | Stored, most: int) -> Rows | Some:
    """Return the newest `most` rows of each user; of one time those that stand last."""
    ranking, time = encoder.schema.ranking, encoder.schema.time
    assert ranking is not None
    assert time is not None
    users, times = (train.column(name) if isinstance(train, Stored) else train[name] for name in (ranking.user, time))
    distinct, which = np.unique(users.astype(str), return_inverse=True)
    order = np.lexsort((times, which))
    ends = np.cumsum(np.bincount(which, minlength=len(distinct)))
    found = np.sort(order[ends[which[order]] - np.arange(len(order)) <= most])
    return Some(train, found) if isinstance(train, Stored) else take(train, found)


def unexplained(network: nn.Module, encoder: Encoder, rows: Rows | Some, user: int) -> tuple[Tensor, Tensor]:
    """Return by code of the user what is left of the target, added up (U,), and of how many rows (U,)."""
    known, users = feed(encoder, rows, torch.device("cpu")), encoder.spec.cardinalities[user]
    left, counts = torch.zeros(2, users, dtype=torch.float64)
    with torch.inference_mode():
        for positions in torch.split(torch.arange(known.rows), TOGETHER):
            inputs, target = known.batch(positions)
            codes = inputs["codes"][:, user]
            left.index_add_(0, codes, (target - network(*inputs.values())[:, 0]).double())
            counts.index_add_(0, codes, torch.ones(len(codes), dtype=torch.float64))
    return left, counts
