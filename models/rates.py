"""The learning rate of each step, from where in the training it stands: nothing to keep for a resumed one."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from models.declarations import Training

MILESTONES = (0.5, 0.75)  # of the epochs; each takes the rate to a tenth (He et al. 2015, arXiv:1512.03385)
T = TypeVar("T")


def rate(training: Training, number: int, step: int, steps: int) -> float:
    """Return the learning rate of one of the `steps` (from 0) of epoch `number` (from 1)."""
    done = number - 1 + step / steps  # epochs
    warm = min(1.0, (done + 1 / steps) / training.warmup) if training.warmup else 1.0
    way = done / training.epochs
    if training.schedule == "cosine":
        left = max(0.0, (done - training.warmup) / max(training.epochs - training.warmup, 1e-9))
        return training.learning_rate * warm * (1 + math.cos(math.pi * min(1.0, left))) / 2
    if training.schedule == "step":
        return training.learning_rate * warm * 0.1 ** sum(way >= milestone for milestone in MILESTONES)
    return training.learning_rate * warm


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items, the last one maybe shorter."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
