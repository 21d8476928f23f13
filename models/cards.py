"""A version's card as Markdown: whole for a terminal, and cut to what MLflow keeps of a description.

Whatever comes from data (levels, file names, errors) is escaped: it can't become markup. Every part may be absent.
"""

import html
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from data.markdown import escaped, table
from models import card_value
from models.card_gains import added, adds
from models.card_words import (
    KEPT,
    answers,
    bounded,
    cell,
    contestants,
    first_line,
    learned,
    number,
    ordered,
    origin,
    quotable,
    served_by_torch,
    serving,
    thresholds,
    unnamed,
    unshown,
    worst_first,
    worth,
)
from models.judging import hindering
from models.links import artifact_page

LONGEST = 5000  # characters that MLflow's table keeps of a description
LONGEST_HEAD, LONGEST_GATES = 1000, 1500  # characters of it
TAIL = 300  # characters for the names of what is left out
GATE_COLUMNS = ("gate", "result", "value", "threshold", "interval", "rows")
MOST_PAIRS, MOST_SLICES, MOST_BINS = 5, 12, 5
BOUNDS = "In brackets: one-sided 95 % bounds. None of these rows was learned from."


@card_value.drawing
def markdown(card: Mapping[str, Any]) -> str:
    """Return a whole card."""
    title = f"# {escaped(card.get('project'))}" + (
        f", version {escaped(card['version'])}" if card.get("version") else ""
    )
    verdict = card.get("verdict") or {}
    warnings = [f"**{escaped(warning)}**" for warning in card.get("warnings", [])]
    parts = [title, *warnings, headline(first_line(card)), gate_lines(verdict.get("gates", [])), body(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


@card_value.drawing
def beneath(card: Mapping[str, Any]) -> str:
    """Return what stands under the verdict on the version's page in MLflow: a link to the whole, then the body."""
    page = artifact_page(str(card.get("experiment", "")), str(card.get("run", "")), card_value.PAGE)
    return f"[The whole card]({page})\n\n{body(card)}"


@card_value.drawing
def body(card: Mapping[str, Any]) -> str:
    """Return what stands under the verdict, one heading a part."""
    quality = card.get("quality", {})
    parts = {
        "Where it serves": "\n".join(f"- {escaped(line)}" for line in serving(card)),
        "What it was worth": "\n".join(f"- {escaped(line)}" for line in worth(card)),
        "How good it is": scores(quality),
        "What deep learning adds": gains(card),
        "Slices": slices(quality),
        "What it confuses": confusions(quality),
        "How far off it is": residuals(quality),
        "Limits": "\n".join(f"- {escaped(limit)}" for limit in card.get("limits", [])),
        "How to make it again": again(card),
        "How it was trained": trained(card),
        "How it answers": "\n".join(f"- {escaped(line)}" for line in answers(card)),
        "What its windows are compared with": reference(card.get("reference") or {}),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items() if text)


def scores(found: Mapping[str, Any]) -> str:
    """Tabulate the metrics on the judge and on the anchor rows, the deciding one first, and the baselines."""
    if not found.get("judge"):
        return ""
    metric, counts, anchor = found.get("metric", ""), found.get("rows", {}), found.get("anchor", {})
    lines = [(name, bounded(found["judge"][name]), bounded(anchor.get(name, {}))) for name in ordered(found)]
    lines += [(f"{metric} of the {name} baseline", number(value), "") for name, value in unshown(found).items()]
    columns = ("metric", f"judge rows ({counts.get('judge', 0):,})", f"anchor rows ({counts.get('anchor', 0):,})")
    shown = escaped(found.get("detectable", {}).get("sentence", ""))
    return "\n\n".join(part for part in (table(columns, lines), BOUNDS, shown) if part)


def gains(card: Mapping[str, Any]) -> str:
    """Tabulate the network beside the simple models: how good, how much better, how long, how large."""
    lines = added(card)
    columns = ("model", str(card.get("quality", {}).get("metric")), "the network gains", "seconds to train", "size")
    return f"{escaped(adds(card))}\n\n{table(columns, lines)}" if lines else ""


def slices(found: Mapping[str, Any]) -> str:
    """Tabulate the metric by slice, the worst first."""
    every = worst_first(found)
    lines = [(one["slice"], f"{one['rows']:,}", bounded(one)) for one in every[:MOST_SLICES]]
    lines += [(f"and {len(every) - MOST_SLICES} that are better", "", "")] if len(every) > MOST_SLICES else []
    return table(("slice", "rows", str(found.get("metric", ""))), lines) if lines else ""


def confusions(found: Mapping[str, Any]) -> str:
    """Name the answers most often wrong; the whole matrix is in the page."""
    if "confusion" not in found:
        return ""
    counts, levels = np.array(found["confusion"]), found["levels"]
    truths = [*levels, "(a level it never saw)"]
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    worst = [divmod(int(place), wrong.shape[1]) for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]]
    lines = [(truths[true], levels[said], wrong[true, said]) for true, said in worst if wrong[true, said]]
    return table(("truth", "answer", "rows"), lines) if lines else "No judge row was answered wrongly."


def residuals(found: Mapping[str, Any]) -> str:
    """Tabulate how far truths lie from answers, by the size of the answer; every bin is in the page."""
    bins = found.get("residuals", [])
    lines = [
        (number(one["answer"]), f"{one['rows']:,}", *(number(one[name]) for name in ("low", "middle", "high")))
        for one in bins[:: max(len(bins) // MOST_BINS, 1)]
    ]
    columns = ("answers around", "rows", "truth - answer: 5 %", "middle", "95 %")
    return table(columns, lines) if lines else ""


def reference(known: Mapping[str, Any]) -> str:
    """Say what windows are compared with, and what they can show."""
    if not known:
        return ""
    said = [origin(known), thresholds(known)]
    said += [f"{column} is not watched: {why}" for column, why in known.get("broken", {}).items()]
    sizes = [(name, change) for name, change in known.get("detectable", {}).items()]
    seen = table(("column", "smallest change that 8 of 10 windows show"), sizes) if sizes else ""
    return "\n".join(f"- {escaped(line)}" for line in said if line) + (f"\n\n{seen}" if seen else "")


def again(card: Mapping[str, Any]) -> str:
    """List what made it, as far as people compare it, and the one command that makes it again."""
    facts = {title: card["facts"][name] for name, title in KEPT.items() if card.get("facts", {}).get(name)}
    if not facts:
        return ""
    command = f"`{quotable(card['reproduce'])}` does it and compares.\n\n" if card.get("reproduce") else ""
    return command + table(("what", "value"), list(facts.items()))


def trained(card: Mapping[str, Any]) -> str:
    """Say how it was trained, and which contestants it was chosen from."""
    known = card.get("training", {})
    lines = contestants(known)
    rivals = table(("contestant", f"{card.get('quality', {}).get('metric')} on earlier rows", ""), lines)
    return escaped(learned(known)) + (f"\n\n{rivals}" if lines else "")


def training(history: Mapping[str, Any]) -> str:
    """Say how a training went, from its `history.json`."""
    known = card_value.training(history)
    worker = served_by_torch(known["worker"], {}) if known["worker"] else ""
    return f"{learned(known)} {worker}".strip()


def headline(sentence: str) -> str:
    """Return a verdict's sentence as one paragraph that is no markup; without one, that there is none yet."""
    said = " ".join((sentence or "CANDIDATE: not judged yet").split())
    return html.escape(said, quote=False).replace("](", "]\\(")


def description(first_line: str, gates: Sequence[Mapping[str, Any]], text: str) -> str:
    """Return a version's page: the verdict, the gates, then the card, cut to what MLflow keeps.

    Args:
        first_line: the verdict's sentence; empty for a version not judged yet.
        gates: `Judgement.table()`.
        text: the card's `body`. Parts that don't fit are left out whole, and named.
    """
    opening, *sections = re.split(r"(?m)^(?=## )", spaced(text))
    head = headline(first_line)
    head = head if len(head) <= LONGEST_HEAD else head[:LONGEST_HEAD].rsplit(" ", 1)[0] + " …"
    said = "\n\n".join(part for part in (head, foremost(gates), opening.strip()) if part)
    left: list[str] = []
    for section in sections:
        if left or len(said) + len(section) > LONGEST - TAIL:
            left.append(section.splitlines()[0].removeprefix("## "))
        else:
            said += "\n\n" + section.strip()
    return f"{said}\n\nLeft out here: {', '.join(left)}. All of it: `{card_value.PAGE}`." if left else said


def foremost(gates: Sequence[Mapping[str, Any]]) -> str:
    """Tabulate the gates' numbers as far as there is room: first those that stand in the way; the others are counted.

    What decided stands in the verdict above; every gate's sentence stands in the card.
    """
    names = hindering(gates)
    standing = [gate for gate in gates if str(gate["gate"]) in names]
    head, rule, *lines = spaced(gate_table([*standing, *(gate for gate in gates if gate not in standing)])).splitlines()
    fits = sum(length <= LONGEST_GATES for length in accumulate(map(len, lines)))
    more = f"\n\n{len(lines) - fits} more in the card." if fits < len(lines) else ""
    return "\n".join((head, rule, *lines[:fits])) + more if fits else more.strip()


def gate_table(gates: Sequence[Mapping[str, Any]]) -> str:
    """Tabulate the numbers of `Judgement.table()`."""
    return table(GATE_COLUMNS, [[cell(gate.get(name)) for name in GATE_COLUMNS] for gate in gates])


def gate_lines(gates: Sequence[Mapping[str, Any]]) -> str:
    """List what the gates of `Judgement.table()` say; in a table such sentences leave no room for numbers."""
    return "\n".join(
        f"- **{escaped(gate['result'])}** {escaped(gate['gate'])}: {escaped(unnamed(gate))}" for gate in gates
    )


def spaced(text: str) -> str:
    """Widen the cells of tables, for MLflow's page of a version sets them without space."""
    lines = (line.replace(" | ", " &emsp;| ") if line.startswith("| ") else line for line in text.splitlines())
    return "\n".join(lines)
