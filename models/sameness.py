"""Where two trainings' weights part, and by how much. Needs numpy only."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Apart:
    """Two sets of weights that are not equal.

    `first`: the first tensor, by name, that differs, and how; `largest`: the largest difference of two weights;
    `relative`: the length of the difference over the length of the first's weights. Both are infinite where the
    sets hold different tensors.
    """

    first: str
    largest: float = float("inf")
    relative: float = float("inf")


def apart(recorded: Path, remade: Path) -> Apart | None:
    """Compare two safetensors files by what they hold; None where each tensor has the same bits."""
    from safetensors.numpy import load_file

    known, found = load_file(recorded), load_file(remade)
    if missing := sorted(known.keys() ^ found.keys(), key=natural):
        where = "here" if missing[0] in known else "on record"
        return Apart(f"tensor {missing[0]}: not {where}")
    names = sorted(known, key=natural)
    for name in names:
        one, other = known[name], found[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return Apart(
                f"tensor {name}: {one.dtype}{list(one.shape)} on record, {other.dtype}{list(other.shape)} here"
            )
    unequal = [name for name in names if known[name].tobytes() != found[name].tobytes()]
    if not unequal:
        return None
    return measured(unequal, known, found)


def measured(unequal: list[str], known: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> Apart:
    """Say how far tensors of the same shapes are apart; counters are left out where weights differ too."""
    first = unequal[0]
    unequal = [name for name in unequal if known[name].dtype.kind == "f"] or unequal
    gaps = {name: found[name].astype(np.float64) - known[name].astype(np.float64) for name in unequal}
    largest = max(float(np.abs(gap).max()) for gap in gaps.values())
    kept = [values for values in known.values() if values.dtype.kind == "f"] or list(known.values())
    whole = np.sqrt(sum(float(np.square(values.astype(np.float64)).sum()) for values in kept))
    length = np.sqrt(sum(float(np.square(gap).sum()) for gap in gaps.values()))
    gap = found[first].astype(np.float64) - known[first].astype(np.float64)
    said = f"tensor {first}: {np.mean(gap != 0):.0%} of its weights differ, by up to {np.abs(gap).max():.2g}"
    return Apart(said, largest, float(length / whole) if whole else float("inf"))


def natural(name: str) -> list[tuple[int, str]]:
    """Order names as people do: `layers.2` before `layers.10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
