"""The pictures of an evaluation as PNG, for MLflow's artifacts and Prefect's page; equal numbers, equal bytes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 30  # more are not legible in a picture
HUE, GREY = "#2f6fa3", "#8d949b"
DPI = 110


def draw(found: Mapping[str, Any], folder: Path, losses: Sequence[Sequence[Any]] = ()) -> Iterator[Path]:
    """Write what there is to draw of an evaluation into a folder, and yield the files.

    `found`: as `evaluation/metrics.json`; `losses`: training and validation loss by epoch.
    """
    if "confusion" in found:
        confusion_png(found["confusion"], found["levels"], folder / "confusion.png")
        yield folder / "confusion.png"
    if found.get("curves"):
        curves_png(found["curves"], folder / "curves.png")
        yield folder / "curves.png"
    if found.get("residuals"):
        residuals_png(found["residuals"], folder / "residuals.png")
        yield folder / "residuals.png"
    pairs = [pair for pair in losses if all(isinstance(one, float) and math.isfinite(one) for one in pair)]
    if len(pairs) > 1:
        losses_png(pairs, folder / "learning.png")
        yield folder / "learning.png"


def confusion_png(counts: Sequence[Sequence[int]], levels: Sequence[str], path: Path) -> None:
    """Draw counts (K or K + 1, K) of truth against answer."""
    matrix = np.array(counts)
    names = [plain(level) for level in levels]
    truths = [*names, "(never seen)"][: len(matrix)]
    if len(matrix) > len(names) and not matrix[-1].any():
        matrix, truths = matrix[:-1], truths[:-1]
    figure = empty(6, 5.4)
    axes = figure.add_subplot()
    axes.imshow(matrix, cmap="Blues")
    axes.set(xlabel="answer", ylabel="truth", title=f"{matrix.sum():,} rows")
    if len(names) <= MOST_CLASSES:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(len(truths)), truths)
        for (row, column), value in np.ndenumerate(matrix):
            dark = value > matrix.max() / 2
            axes.text(column, row, f"{value}", ha="center", va="center", color="white" if dark else "black", fontsize=7)
    save(figure, path)


def curves_png(found: Mapping[str, Any], path: Path) -> None:
    """Draw the ROC, the precision-recall and the calibration curve that `models.curves` found."""
    drawn = [name for name in ("roc", "precision_recall", "calibration") if found.get(name)]
    figure = empty(4.3 * max(len(drawn), 1), 4.1)
    about = f" of {plain(found['about'])}" if found.get("about") else ""
    for place, name in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), place)
        points = np.array([point[:2] for point in found[name]])
        if name == "roc":
            unit_square(axes, "false alarms", "found", f"ROC{about}")
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        elif name == "precision_recall":
            unit_square(axes, "found (recall)", "right (precision)", f"Precision-recall{about}")
            axes.axhline(found["share"], color=GREY, linewidth=1)
        else:
            unit_square(axes, "probability that was said", "share that came true", "Calibration")
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        axes.plot(*points.T, color=HUE, linewidth=2, marker="o" if name == "calibration" else "", markersize=4)
    save(figure, path)


def unit_square(axes: "Axes", across: str, up: str, title: str) -> None:
    """Give axes from 0 to 1 both ways."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=across, ylabel=up, title=title, aspect="equal")


def residuals_png(bins: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw truth minus answer over the answer: the middle, half, and nine tenths of the rows."""
    figure = empty(7, 4.2)
    axes = figure.add_subplot()
    names = ("answer", "low", "quarter", "middle", "three_quarters", "high")
    at, low, quarter, middle, three_quarters, high = (np.array([one[name] for one in bins], float) for name in names)
    axes.fill_between(at, low, high, color=HUE, alpha=0.18, linewidth=0, label="9 of 10 rows")
    axes.fill_between(at, quarter, three_quarters, color=HUE, alpha=0.32, linewidth=0, label="half of them")
    axes.plot(at, middle, color=HUE, linewidth=2, label="middle")
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set(xlabel="answer", ylabel="truth - answer", title=f"{sum(one['rows'] for one in bins):,} rows")
    axes.legend(frameon=False)
    save(figure, path)


def losses_png(pairs: Sequence[Sequence[float]], path: Path) -> None:
    """Draw the loss on training and on validation rows by epoch."""
    figure = empty(7, 4.2)
    axes = figure.add_subplot()
    epochs = range(1, len(pairs) + 1)
    axes.plot(epochs, [pair[0] for pair in pairs], color=GREY, linewidth=1.4, label="training rows")
    axes.plot(epochs, [pair[1] for pair in pairs], color=HUE, linewidth=2, label="validation rows")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend(frameon=False)
    save(figure, path)


def empty(width: float, height: float) -> "Figure":
    """Return a figure, in inches, that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: "Figure", path: Path) -> None:
    """Write the picture; nothing in it tells when or by what."""
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def plain(level: str) -> str:
    """Return a level's name as far as there is room; matplotlib reads $…$ as mathematics."""
    return level.replace("$", r"\$")[:20]
