"""How `mlflow.pyfunc.load_model` opens a version where Holdfast is installed. We never load through it ourselves."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from data.batches import coerce_column
from data.errors import BadRow, SchemaMismatch
from models.folder import LARGEST, MANIFEST
from models.predictor import Predictor, read_version

if TYPE_CHECKING:
    import pandas as pd


class Answering:
    """A predictor with the one method that MLflow calls."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, frame: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":  # noqa: ARG002 (MLflow's)
        """Answer a frame of feature columns; columns that are no features are left out.

        Raises: SchemaMismatch, and BadRow for the first cell that can't be what the schema says.
        """
        import pandas as pd

        schema = self.predictor.schema
        present = [str(name) for name in frame.columns]
        missing = [name for name in schema.features if name not in present]
        if missing:
            raise SchemaMismatch(missing, present)
        rows: dict[str, np.ndarray] = {}
        for name in schema.features:
            rows[name], bad = coerce_column(frame[name].reset_index(drop=True), schema, name)
            for position, why in bad.items():
                raise BadRow(f"rows[{position}].{name}", why)
        answers = self.predictor.predict(rows).answers()
        return pd.DataFrame(answers).drop(columns="probabilities", errors="ignore")


def _load_pyfunc(path: str) -> Answering:
    """Open a version's folder; MLflow calls this by its name.

    Raises: Corrupt; also for a version with feature code, which lives in the project file and not in the folder.
    """
    with TemporaryDirectory() as own:  # MLflow lays a file of its own beside ours
        for name in (*LARGEST, MANIFEST):
            if (Path(path) / name).exists():
                shutil.copyfile(Path(path) / name, Path(own) / name, follow_symlinks=False)
        return Answering(read_version(Path(own)))
