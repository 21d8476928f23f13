"""The pictures of a card: the confusion matrix and the residuals, as a PNG for MLflow's list of artifacts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

MOST_CLASSES = 30  # more are not legible in a picture


def confusion_png(counts: Sequence[Sequence[int]], levels: Sequence[str], path: Path) -> None:
    """Draw counts (K or K + 1, K) of truth against answer; equal counts give equal bytes."""
    from matplotlib.figure import Figure

    matrix = np.array(counts)
    names = [level.replace("$", r"\$")[:20] for level in levels]  # matplotlib reads $…$ as mathematics
    truths = [*names, "(never seen)"][: len(matrix)]
    if len(matrix) > len(names) and not matrix[-1].any():
        matrix, truths = matrix[:-1], truths[:-1]
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(matrix, cmap="Blues")
    axes.set(xlabel="answer", ylabel="truth", title=f"{matrix.sum():,} judge rows")
    if len(names) <= MOST_CLASSES:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(len(truths)), truths)
        for (row, column), value in np.ndenumerate(matrix):
            dark = value > matrix.max() / 2
            axes.text(column, row, f"{value}", ha="center", va="center", color="white" if dark else "black", fontsize=7)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
