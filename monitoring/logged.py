"""What a window's verdict was made from, read again from the store."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from data.errors import Corrupt
from data.schema import Rows
from models.outputs import forecasts, watched
from monitoring.records import Prediction, WindowKey
from monitoring.reference import Reference, from_bytes

if TYPE_CHECKING:
    from monitoring.store import Store


def reference_of(store: "Store", window: WindowKey, at: datetime | None = None) -> Reference:
    """Return what a window is compared with, or was at a time: a change that was accepted later is not in it.

    Raises: Corrupt.
    """
    stored = store.references.get(window.project, window.generation, window=window.index, at=at)
    if stored is None:
        raise Corrupt(f"reference of {window.project} generation {window.generation}", "a reference", "none")
    return from_bytes(stored)


def answered(predictions: Sequence[Prediction]) -> Rows:
    """Return what was answered, as `Predictor.observe` names it; at least one prediction."""
    outputs = [prediction.output for prediction in predictions]
    if "forecast" in outputs[0]:
        return watched(*forecasts(outputs))
    if "class" not in outputs[0]:
        return {"prediction": np.array([output["value"] for output in outputs], dtype=float)}
    answers = np.empty(len(outputs), dtype=object)
    answers[:] = [output["class"] for output in outputs]
    return {"prediction": answers, "confidence": np.array([output["confidence"] for output in outputs], dtype=float)}
