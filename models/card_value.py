"""What is known of a version, as one plain value: `card.json`. Markdown and HTML are drawn from it alone.

A card of format 1 has these keys; a part that is not known is empty or None, and readers take it as absent:

* `format` 1; `project`; `version`, None until the registry has given it one; `run` and `experiment`, the registry's;
  `made_at`
* `purpose`: `task`, `target`, `inputs` (column -> what it holds)
* `quality`: what `tasks.evaluation` wrote to `evaluation/metrics.json`: metrics with bounds, slices, curves, `beside`
  (simple models: `value`, `gain` with `low` and `high`, `seconds`, `mb`), …
* `training`: `epochs`, `seconds`, `best_epoch`, `best_loss`, `losses` [[training, validation], …], `difference`
  (torch against ONNX), `worker` (why a torch worker answers instead), `learned` (which rows),
  `start` (`from`, `why`), `cutoff` (`level`, `at`, `why`: what decides between two levels),
  `tournament` (the contestants it was chosen from), `parameters`
* `data`: `snapshot` (hash), `rows`, `revision`, `batches`, `first`, `last` (names of batches)
* `facts`: what is needed to make it again; `limits`: sentences
* `verdict`: `outcome`, `sentence`, `at`, `against` (the champion's version), `gates` (`Judgement.table()`)
* `generations`: `generation`, `version`, `since`, `until`, `by`, `why`, `waived`, `rollback`
* `reference`: what its windows are compared with, as `monitoring.summary.summary` gives it
* `receipts`: what its promotion or refusal turned out to be worth: `kind`, `decided`, `against`, `paid`, `sentence`
* `reproduce`: the command; `warnings`: sentences on what does not fit together

The last six are as the ledger has them now; all else is fixed when the version is registered, and `seal`
is the hash of that.
"""

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from data.errors import Corrupt
from models.metrics import HIGHER_IS_BETTER

Card = dict[str, Any]
CARD, PAGE = "card.json", "card.html"
FORMAT = 1
LATER = ("version", "verdict", "generations", "reference", "receipts", "reproduce", "warnings")
PARTS: dict[str, type] = {
    **dict.fromkeys(("purpose", "quality", "training", "data", "facts"), dict),
    **dict.fromkeys(("limits", "generations", "receipts", "warnings"), list),
}
LARGEST = 4_000_000  # characters of a card that is read at all
DEEPEST = 32  # parts within parts; ours have 6
MALFORMED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What JSON of another shape than ours makes of code that reads it."""
EPOCHS = 500  # of which the losses are kept


def compose(
    *,
    project: str,
    run: str,
    experiment: str,
    made_at: datetime,
    purpose: Mapping[str, Any],
    found: Mapping[str, Any],
    history: Mapping[str, Any],
    parameters: Mapping[str, str],
    snapshot: Mapping[str, Any],
    facts: Mapping[str, str],
) -> Card:
    """Return the card of a version that has not been judged.

    Args:
        project: its project's name.
        run: the registry's run that made it.
        experiment: the registry's, that the run belongs to.
        made_at: when it was registered.
        purpose: task, target and inputs.
        found: what `tasks.evaluation` wrote.
        history: the epochs, the `difference` of torch and ONNX, and why a torch `worker` has to answer.
        parameters: what the training was told.
        snapshot: what it learned from.
        facts: what is needed to make it again: code, lock, seed, …
    """
    names = [str(file["name"]) for file in snapshot.get("files", [])]
    card = {
        "format": FORMAT,
        "project": project,
        "version": None,
        "run": run,
        "experiment": experiment,
        "made_at": made_at.isoformat(timespec="seconds"),
        "purpose": dict(purpose),
        "quality": dict(found),
        "training": {**training(history), "parameters": dict(parameters)},
        "data": {
            "snapshot": snapshot.get("hash"),
            "rows": snapshot.get("rows"),
            "revision": snapshot.get("revision"),
            "batches": len(names),
            "first": min(names, default=None),
            "last": max(names, default=None),
        },
        "facts": dict(facts),
        "limits": limits(found, purpose),
        **dict.fromkeys(("verdict", "reference", "reproduce")),
        "generations": [],
        "receipts": [],
        "warnings": [],
    }
    return dict(plain(card))


def training(history: Mapping[str, Any]) -> dict[str, Any]:
    """Return how long it learned, what the losses came to, and how near the exported network is."""
    epochs = history.get("epochs", [])
    best = min(epochs, key=lambda epoch: epoch["validation_loss"]) if epochs else {}
    return {
        "epochs": len(epochs),
        "seconds": sum(epoch.get("seconds", 0.0) for epoch in epochs),
        "best_epoch": best.get("number"),
        "best_loss": best.get("validation_loss"),
        "losses": [[epoch.get("train_loss"), epoch["validation_loss"]] for epoch in epochs[:EPOCHS]],
        "cutoff": history.get("cutoff"),
        "difference": history.get("difference"),
        "worker": history.get("worker"),
        "learned": history.get("learned"),
        "start": history.get("start"),
        "tournament": list(history.get("tournament") or []),
    }


def limits(found: Mapping[str, Any], purpose: Mapping[str, Any]) -> list[str]:
    """Say what the numbers don't show."""
    counts = found.get("rows", {})
    said = [
        f"Learned from {counts.get('train', 0):,} rows and judged on {counts.get('judge', 0):,}: it is known to work "
        "on rows like these, and monitoring says when they change.",
        *simpler(found),
    ]
    sliced = {str(one.get("slice")).partition("=")[0] for one in found.get("slices", [])}
    if sliced:
        said.append("Slices are the project's own choice; nothing was measured on groups that it does not name.")
    else:
        said.append("Nothing was measured on groups of people or other slices: the project names none.")
    unseen = [str(name) for name in purpose.get("sensitive", []) if name not in sliced]
    if unseen:
        said.append(f"Declared sensitive, and not among the slices: {', '.join(unseen)}.")
    if "confusion" in found:
        said.append("Probabilities are as the network gives them; they are not calibrated.")
    if not counts.get("anchor"):
        said.append("There was no anchor set, so forgetting can't be seen.")
    return said


def simpler(found: Mapping[str, Any]) -> list[str]:
    """Name the simpler models that do at least as well on the judge rows."""
    metric, value = found.get("metric"), found.get("judge", {}).get(found.get("metric"), {}).get("value")
    if metric not in HIGHER_IS_BETTER or not isinstance(value, int | float):
        return []
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    others = {name: other for name, other in found.get("baselines", {}).items() if isinstance(other, int | float)}
    return [
        f"A simpler model does as well: the {name} baseline has {metric} {other:.4g} on the judge rows, "
        f"this one {value:.4g}."
        for name, other in others.items()
        if sign * other >= sign * value
    ]


def seal(card: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that is fixed when a version is registered."""
    fixed = {key: value for key, value in card.items() if key not in LATER}
    return hashlib.sha256(json.dumps(plain(fixed), sort_keys=True, allow_nan=False).encode()).hexdigest()


def to_json(card: Mapping[str, Any]) -> str:
    """Return the text of `card.json`: strict JSON, the same for equal cards."""
    return json.dumps(plain(card), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(text: str, what: str = "card.json") -> Card:
    """Read what `to_json` wrote, or what somebody made of it since.

    Raises: Corrupt, it is no card of format 1.
    """
    try:
        card = json.loads(text) if len(text) <= LARGEST else None
        if not writable(card):
            raise Corrupt(what, "numbers and depth", "what no card holds")
        json.dumps(card, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Corrupt(what, "JSON", str(error)) from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise Corrupt(what, f"a card of format {FORMAT}", "something else")
    for part, kind in PARTS.items():
        if not isinstance(card.setdefault(part, kind()), kind):
            raise Corrupt(what, f"{part}: {kind.__name__}", type(card[part]).__name__)
    for part in ("verdict", "reference"):
        if not isinstance(card.setdefault(part, None), dict | None):
            raise Corrupt(what, f"{part}: dict", type(card[part]).__name__)
    return card


def writable(value: Any, depth: int = DEEPEST) -> bool:
    """Tell whether a value read from JSON is no deeper than a card, with numbers that all can calculate with."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return depth > 0 and all(writable(inner, depth - 1) for inner in value)
    return not isinstance(value, int) or abs(value) < 2**63


def drawing(draw: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
    """Let a function that draws a card raise Corrupt for a part of a shape that none of ours has."""

    @functools.wraps(draw)
    def drawn(card: Mapping[str, Any]) -> str:
        try:
            return draw(card)
        except MALFORMED as error:
            raise Corrupt(CARD, "a card's parts", f"{type(error).__name__} {error}") from error

    return drawn


def plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it: a number that is not finite becomes its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value if isinstance(value, str | int | None) else str(value)
    return [plain(inner) for inner in value]
