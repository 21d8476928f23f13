"""What a window's verdict was made from, read again from the store and the generation's folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from data.descriptors import describe
from data.errors import Corrupt
from data.packing import unpack_rows
from data.schema import Rows, schema_from_json
from models.folder import PREDICTOR, verified
from monitoring.records import Prediction, WindowKey
from monitoring.reference import Reference, from_bytes

if TYPE_CHECKING:
    from monitoring.store import Store


def reference_of(store: "Store", window: WindowKey) -> Reference:
    """Return what a window is compared with.

    Raises: Corrupt.
    """
    stored = store.references.get(window.project, window.generation)
    if stored is None:
        raise Corrupt(f"reference of {window.project} generation {window.generation}", "a reference", "none")
    return from_bytes(stored)


def observe(home: Path, window: WindowKey, predictions: list[Prediction]) -> Rows:
    """Return the watched columns of logged predictions, without those that a project's own code computes.

    Raises: Corrupt when the version's folder is not what was recorded, or gone.
    """
    folder = home / "generations" / window.project / str(window.generation)
    stored = orjson.loads(verified(folder)[PREDICTOR])
    schema = schema_from_json(stored["encoder"]["schema"])
    if not predictions:
        return {}
    rows = unpack_rows(schema, [prediction.features for prediction in predictions])
    found = describe(schema.features, rows)
    return {**found, **answered(predictions)}


def answered(predictions: Sequence[Prediction]) -> Rows:
    """Return what was answered, as `Predictor.observe` names it; at least one prediction."""
    outputs = [prediction.output for prediction in predictions]
    if "class" not in outputs[0]:
        return {"prediction": np.array([output["value"] for output in outputs], dtype=float)}
    answers = np.empty(len(outputs), dtype=object)
    answers[:] = [output["class"] for output in outputs]
    return {"prediction": answers, "confidence": np.array([output["confidence"] for output in outputs], dtype=float)}
