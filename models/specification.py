"""What a network is made for: its inputs and its outputs, by their shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.errors import BadDeclaration
from data.schema import Audio, Column, Image, Number, Series
from models import spectra
from models.channels import width
from models.outputs import Task
from models.transforms import of_kind, one_size


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


def inputs_of(columns: Mapping[str, Column], words: int, codes: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape of one row and the dtype of each input, in the order in which a network takes them.

    `words`: places of all texts together; `codes`: columns whose values have codes.

    Raises: BadDeclaration for images, clips or series of several sizes, or without any input.
    """
    made: dict[str, tuple[tuple[int, ...], str]] = {}
    if images := of_kind(columns, Image):
        made["image"] = ((sum(image.channels for image in images.values()), *one_size(images)), "float32")
    if clips := of_kind(columns, Audio):
        rates = {clip.rate for clip in clips.values()}
        if len(rates) > 1:
            raise BadDeclaration("audio columns of one project must have one rate")
        made["audio"] = ((len(clips), *spectra.shape(one_size(clips)[0], rates.pop())), "float32")
    if series := of_kind(columns, Series):
        made["series"] = ((*one_size(series), sum(map(width, series.values()))), "float32")
    if words:
        made["text"] = ((words,), "int64")
    if numbers := of_kind(columns, Number):
        made["numbers"] = ((sum(1 + column.nullable for column in numbers.values()),), "float32")
    if codes:
        made["codes"] = ((codes,), "int64")
    if not made:
        raise BadDeclaration("the schema has no column to learn from besides its target")
    return made
