"""Rows held out from the champion, as estimates need them: what was answered, what was true, and what was watched."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.schema import Rows
from models.confusions import class_codes
from models.outputs import Cutoff, decided
from monitoring.binning import ABSENT, Binning, Incomputable, binning_from_json, encode

ROWS = 20_000  # newest rows kept
CELLS = 1_000_000  # probabilities kept: fewer rows where there are many classes
ARRAYS = ("answers", "truth", "losses", "codes")


@dataclass(frozen=True, eq=False)  # hashed by identity, so that what is fitted to it can be cached
class HeldOut:
    """M labelled rows, oldest first; complete in itself, so that it outlives a change of the reference's bins.

    `answers`: float32 (M, K) probabilities in the order of the K `levels`, (M, 1) values without levels; `truth`:
    (M,) class codes, K for a class the champion doesn't know, or values; `losses`: as `reference.losses_of` gives
    them; `codes`: uint8 (M, C) bins of the C columns of `binnings`, ABSENT where a value can't be binned.
    """

    answers: np.ndarray
    truth: np.ndarray
    losses: np.ndarray
    codes: np.ndarray
    binnings: Mapping[str, Binning]
    levels: tuple[str, ...]
    exchangeable: bool
    seed: int
    cutoff: Cutoff | None = None

    def __len__(self) -> int:
        return len(self.losses)

    def decided(self, answers: np.ndarray) -> np.ndarray:
        """Return which level is answered, as its place (N,), for probabilities (N, K)."""
        return decided(answers, self.levels, self.cutoff)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays; `from_arrays` is the inverse."""
        about = {
            "binnings": {name: binning.to_json() for name, binning in self.binnings.items()},
            **{key: getattr(self, key) for key in ("levels", "exchangeable", "seed", "cutoff")},
        }
        arrays = {f"held_{name}": getattr(self, name) for name in ARRAYS}
        return {**arrays, "held_about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> HeldOut | None:
    """Read what `to_arrays` wrote; None from what was written before it was kept."""
    if "held_about" not in arrays:
        return None
    about: dict[str, Any] = json.loads(arrays["held_about"].tobytes())
    binnings = {name: binning_from_json(stored) for name, stored in about["binnings"].items()}
    kept = {name: arrays[f"held_{name}"] for name in ARRAYS}
    return HeldOut(
        **kept,
        binnings=binnings,
        levels=tuple(about["levels"]),
        exchangeable=about["exchangeable"],
        seed=about["seed"],
        cutoff=Cutoff(*about["cutoff"]) if about.get("cutoff") else None,
    )


def keep(
    observed: Rows,
    answers: np.ndarray,
    truth: np.ndarray,
    losses: np.ndarray,
    *,
    levels: Sequence[str],
    binnings: Mapping[str, Binning],
    exchangeable: bool,
    seed: int,
    cutoff: Cutoff | None = None,
) -> HeldOut:
    """Keep the newest of N held-out rows, oldest first.

    Args:
        observed: the watched columns, as `Predictor.observe` gives them.
        answers: (N, K) probabilities, or (N, 1) values.
        truth: (N,) classes or values.
        losses: (N,), as `reference.losses_of` gives them.
        levels: the K classes; none for values.
        binnings: of the watched columns; only values are estimated from them.
        exchangeable: whether rows may be dealt out at random.
        seed: of every draw from them.
        cutoff: what decides between two classes, where that is not the likelier one.
    """
    width = max(answers.shape[1], 1)
    newest = slice(max(len(losses) - min(ROWS, CELLS // width), 0), None)
    known = {} if levels else dict(binnings)
    rows = {name: observed[name][newest] for name in known if name in observed}
    return HeldOut(
        answers=answers[newest].astype(np.float32),
        truth=class_codes(truth[newest], levels).astype(np.int32) if levels else truth[newest].astype(np.float64),
        losses=losses[newest].astype(np.float64),
        codes=codes_of(known, rows, len(losses[newest])),
        binnings=known,
        levels=tuple(levels),
        exchangeable=exchangeable,
        seed=seed,
        cutoff=cutoff,
    )


def codes_of(binnings: Mapping[str, Binning], observed: Rows, rows: int) -> np.ndarray:
    """Return the bins of so many rows, uint8 (rows, columns); ABSENT in a column that can't be binned."""
    codes = np.full((rows, len(binnings)), ABSENT, dtype=np.uint8)
    for place, (name, binning) in enumerate(binnings.items()):
        try:
            if isinstance(observed.get(name), np.ndarray) and observed[name].shape == (rows,):
                codes[:, place] = encode(binning, observed[name])
        except Incomputable:
            continue
    return codes
