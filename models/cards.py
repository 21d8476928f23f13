"""What people read about a version: its card, the page's description, the confusion matrix as a picture.

Whatever comes from data (levels, file names, errors) is escaped: it can't become markup.
"""

import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.markdown import escaped, table

LONGEST = 5000  # characters that MLflow's table keeps of a description
MOST_CLASSES = 30  # more are not legible in a picture
MOST_PAIRS = 5


def card(project: str, found: Mapping[str, Any], facts: Mapping[str, str], history: Mapping[str, Any]) -> str:
    """Return a version's card as Markdown.

    Args:
        project: its project's name.
        found: what `tasks.evaluation` wrote: metrics with bounds on judge and anchor rows, baseline, confusion.
        facts: what is needed to make the version again: snapshot, code, lock, seed, …
        history: the epochs, and the `difference` of torch and ONNX.
    """
    parts = [
        f"# {escaped(project)}",
        f"Made from snapshot `{plain(facts.get('snapshot', 'unknown'))}`.",
        "## How good it is\n\n" + scores(found),
        *confusions(found),
        "## How it was trained\n\n" + training(history),
        "## Limits\n\n" + limits(found),
        "## How to make it again\n\n" + again(project, facts),
    ]
    return "\n\n".join(parts) + "\n"


def scores(found: Mapping[str, Any]) -> str:
    """Tabulate the metrics on the judge and on the anchor rows, the deciding one first."""
    metric, counts = found["metric"], found["rows"]
    anchor = found.get("anchor", {})
    names = sorted(found["judge"], key=lambda name: (name != metric, name))
    lines = [(name, bounded(found["judge"][name]), bounded(anchor.get(name, {}))) for name in names]
    lines.append((f"{metric} of the trivial baseline", number(found["baseline"]), ""))
    columns = ("metric", f"judge rows ({counts['judge']:,})", f"anchor rows ({counts.get('anchor', 0):,})")
    note = "In brackets: one-sided 95 % bounds. Neither kind of rows was learned from."
    return f"{table(columns, lines)}\n\n{note}"


def confusions(found: Mapping[str, Any]) -> list[str]:
    """Name the answers most often wrong; the whole matrix is a picture beside the card."""
    if "confusion" not in found:
        return []
    counts, levels = np.array(found["confusion"]), found["levels"]
    truths = [*levels, "(a level it never saw)"]
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    worst = [divmod(int(place), wrong.shape[1]) for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]]
    lines = [(truths[true], levels[said], wrong[true, said]) for true, said in worst if wrong[true, said]]
    body = table(("truth", "answer", "rows"), lines) if lines else "No judge row was answered wrongly."
    return [f"## What it confuses\n\n{body}\n\nAll of it: `confusion.png`, beside this card."]


def training(history: Mapping[str, Any]) -> str:
    """Say how long it learned, what the losses came to, and how near the exported network is."""
    epochs = history.get("epochs", [])
    said = f"{len(epochs)} epochs"
    if epochs:
        best = min(epochs, key=lambda epoch: epoch["validation_loss"])
        said += f" in {sum(epoch['seconds'] for epoch in epochs):.0f} s; best validation loss "
        said += f"{number(best['validation_loss'])} in epoch {best['number']}"
    return f"{said}. What answers is the ONNX export; torch differs from it by {history.get('difference', 0.0):.1e}."


def limits(found: Mapping[str, Any]) -> str:
    """Say what these numbers don't show."""
    counts = found["rows"]
    lines = [
        f"- Learned from {counts.get('train', 0):,} rows and judged on {counts['judge']:,}: it is known to work on "
        "rows like these, and monitoring says when they change.",
        "- Nothing was measured on groups of people or other slices.",
        "- Probabilities are as the network gives them; they are not calibrated.",
    ]
    if not counts.get("anchor"):
        lines.append("- There was no anchor set, so forgetting can't be seen.")
    return "\n".join(lines)


def again(project: str, facts: Mapping[str, str]) -> str:
    """List what made it, and the one command that makes it again."""
    command = f"dvc repro evaluate@{plain(project)}"
    return (
        table(("what", "value"), sorted(facts.items()))
        + "\n\nWith the sources of `code.tar`, the same lock and `snapshot.json` beside this card in place: "
        f"`{command}`. On the same kind of machine the weights are the same, bit for bit."
    )


def description(first_line: str, gates: Sequence[Mapping[str, Any]], text: str) -> str:
    """Return a version's page: the verdict, the gates, then the card, cut to what MLflow keeps.

    Args:
        first_line: the verdict's sentence; empty for a version not judged yet.
        gates: `Judgement.table()`.
        text: the card.
    """
    head = html.escape(" ".join((first_line or "CANDIDATE: not judged yet").split()), quote=False).replace("](", "]\\(")
    whole = "\n\n".join(part for part in (head, gate_lines(gates), spaced(text)) if part)
    if len(whole) <= LONGEST:
        return whole
    tail = "\n\n… the rest is in the run: `card.md`, `gates.json`."
    return whole[: LONGEST - len(tail)].rsplit("\n", 1)[0] + tail


def gate_lines(gates: Sequence[Mapping[str, Any]]) -> str:
    """List the gates of `Judgement.table()`; long sentences break in a list, and don't in the viewers' tables."""
    named = [(gate, "" if gate["sentence"].startswith(f"{gate['gate']}:") else f"{gate['gate']}: ") for gate in gates]
    return "\n".join(f"- **{escaped(gate['result'])}** {escaped(name + gate['sentence'])}" for gate, name in named)


def spaced(text: str) -> str:
    """Widen the cells of tables, for MLflow's page of a version sets them without space."""
    lines = (line.replace(" | ", " &emsp;| ") if line.startswith("| ") else line for line in text.splitlines())
    return "\n".join(lines)


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


def plain(value: object) -> str:
    """Return text that can stand between backticks."""
    return re.sub(r"[^\w.:/@+-]", "", str(value))


def bounded(numbers: Mapping[str, float]) -> str:
    """Write a metric with its bounds, as far as they are known."""
    if "value" not in numbers:
        return ""
    said = number(numbers["value"])
    return f"{said} [{number(numbers['low'])}, {number(numbers['high'])}]" if "low" in numbers else said


def number(value: float) -> str:
    """Write a number for people."""
    return f"{value:.4g}" if math.isfinite(value) else str(value)
