"""What a network is made for: its inputs and its outputs, by their shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.outputs import Task


@dataclass(frozen=True)
class EncodedSpec:
    """What a network is given and what it must return.

    Its `forward` takes the tensors of `inputs` (name -> shape of one row, dtype), in that order: "image"
    (N, C, H, W) float32 in 0..1, "audio" (N, C, bands, frames) float32 in -1..1 (models/spectra.py), "series"
    (N, length, channels) float32 standardised, "text" (N, places) int64 below `vocabulary` (models/vocabulary.py),
    "numbers" (N, F) float32 standardised, "codes" (N, C) int64, each only where the schema has such columns. It
    returns (N, outputs): logits, one standardised value, or a forecast: the standardised values of all channels of the
    target's first step, then of the next. Where items are `ranked`, by their place in "codes", a second output orders
    them for a user. `targets` are the places of the forecast channels in "series", empty where one is missing there;
    `pretrained` are the measures of the encoder whose codes stand in "text" (models/pieces.py).

    For an anomaly it returns the series again, as it should be: standardised, all channels (`targets`) of the first
    step, then of the next. What is made of it is what it could not reconstruct (models/reconstruction.py); `gaps` are
    the places of the flags in "series", -1 for a channel without, and `newest` how many of the last values count.
    """

    inputs: dict[str, tuple[tuple[int, ...], str]]
    cardinalities: tuple[int, ...]
    numbers: int
    images: tuple[int, int, int] | None
    outputs: int
    task: Task
    vocabulary: int = 0
    targets: tuple[int, ...] = ()
    ranked: tuple[int, ...] = ()
    pretrained: Mapping[str, Any] | None = None
    gaps: tuple[int, ...] = ()
    newest: int = 0
