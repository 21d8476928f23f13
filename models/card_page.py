"""A card as one HTML page that stands alone: no script, nothing from elsewhere, every value escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from models import card_charts as charts
from models import card_value
from models.card_curves import curves
from models.card_gains import added, adds
from models.card_style import STYLE
from models.card_words import (
    FACTS,
    answers,
    baselines,
    bounded,
    contestants,
    first_line,
    latency,
    learned,
    number,
    ordered,
    origin,
    serving,
    size,
    thresholds,
    unnamed,
    unshown,
    when,
    worst_first,
    worth,
)

MOST_INPUTS = 12  # more are folded
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@card_value.drawing
def page(card: Mapping[str, Any]) -> str:
    """Return the whole page."""
    name = f"{card.get('project')}@{card['version']}" if card.get("version") else str(card.get("project"))
    sections = {
        "What it is for": purpose(card),
        "Gates": gates(card),
        "How good it is": scores(card),
        "What deep learning adds": gains(card),
        "Slices": slices(card),
        "What it confuses": confusion(card),
        "How sure it is": curves(card["quality"].get("curves") or {}),
        "How far off it is": charts.residuals(
            card["quality"].get("residuals", []), str(card["purpose"].get("target", "the target"))
        ),
        "Where it serves": items(serving(card)),
        "What it was worth": items(worth(card)),
        "What its windows are compared with": reference(card),
        "Limits": items(card["limits"]),
        "How it answers": items(answers(card)),
        "How it was trained": training(card),
        "What it was made from": data(card),
        "How to make it again": again(card),
    }
    body = "".join(f"<section><h2>{title}</h2>{text}</section>" for title, text in sections.items() if text)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(name)}: model card</title><style>{STYLE}</style></head>"
        f"<body><main>{header(card)}{body}{footer(card)}</main></body></html>\n"
    )


def header(card: Mapping[str, Any]) -> str:
    """Say which version this is, what was decided, and the few numbers that everybody asks for."""
    verdict = card.get("verdict") or {}
    outcome = str(verdict.get("outcome") or "not judged")
    version = f' <span class="soft">version {escape(str(card["version"]))}</span>' if card.get("version") else ""
    warned = "".join(f'<p class="warning">{escape(str(one))}</p>' for one in card["warnings"])
    sentence = escape(str(first_line(card) or "No verdict yet: its gates have not been held against anything."))
    at = f'<p class="soft small">Judged {escape(when(str(verdict["at"])))}.</p>' if verdict.get("at") else ""
    return (
        f'<header><p class="kicker">Model card</p><h1>{escape(str(card.get("project")))}{version}</h1>'
        f'{pill(outcome)}{stage(card)}{warned}<p class="verdict">{sentence}</p>{at}</header>{tiles(card)}'
    )


def stage(card: Mapping[str, Any]) -> str:
    """Say whether this version serves."""
    if not card["generations"]:
        return '<span class="pill quiet">has never served</span>'
    newest = card["generations"][-1]
    if newest.get("until"):
        return f'<span class="pill quiet">served until {escape(when(str(newest["until"])))}</span>'
    return f'<span class="pill passed">serves as generation {escape(str(newest["generation"]))}</span>'


def tiles(card: Mapping[str, Any]) -> str:
    """Return the metric that decides, what a trivial rule does, the rows, the latency and the size."""
    found = card["quality"]
    metric = str(found.get("metric", ""))
    numbers = found.get("judge", {}).get(metric, {})
    known, counts = baselines(found), found.get("rows", {})
    told = {
        metric: (number(numbers.get("value")), bounds(numbers)),
        "trivial baseline": (number(known.get("trivial")), f"{metric}, same rows"),
        "judge rows": (number(counts.get("judge")), f"{number(counts.get('train'))} learned"),
        "latency": (latency(found), "95 of 100 single rows"),
        "size": (size(found), "all its files"),
    }
    shown = [
        f'<div class="tile"><span class="soft small">{escape(title)}</span><b>{escape(value)}</b>'
        f'<span class="soft small">{escape(below)}</span></div>'
        for title, (value, below) in told.items()
        if value
    ]
    return f'<div class="tiles">{"".join(shown)}</div>' if shown else ""


def bounds(numbers: Mapping[str, Any]) -> str:
    """Write the one-sided bounds, where they are known."""
    return f"[{number(numbers['low'])}, {number(numbers['high'])}]" if numbers.get("low") is not None else ""


def gates(card: Mapping[str, Any]) -> str:
    """Return every gate with its verdict, its numbers and its sentence."""
    every = (card.get("verdict") or {}).get("gates", [])
    shown = "".join(gate(one) for one in every if one.get("result") == "shown")
    decided = "".join(gate(one) for one in every if one.get("result") != "shown")
    return decided + (f"<details><summary>Shown, deciding nothing</summary>{shown}</details>" if shown else "")


def gate(one: Mapping[str, Any]) -> str:
    """Return one gate."""
    parts = [f"value {number(one.get('value'))}"] if one.get("value") is not None else []
    if one.get("interval"):
        parts.append(f"[{', '.join(number(end) for end in one['interval'])}]")
    parts += [f"threshold {number(one.get('threshold'))}"] if one.get("threshold") is not None else []
    parts += [f"{number(one['rows'])} rows"] if one.get("rows") else []
    return (
        f'<div class="gate">{pill(str(one.get("result")))}<div><b>{escape(str(one.get("gate")))}</b> '
        f'<span class="soft small">{escape(" · ".join(parts))}</span><p>{escape(unnamed(one))}</p></div></div>'
    )


def scores(card: Mapping[str, Any]) -> str:
    """Return the metrics on judge and anchor rows, the baselines, and what the labels could show."""
    found = card["quality"]
    judge, anchor, counts = found.get("judge", {}), found.get("anchor", {}), found.get("rows", {})
    if not judge:
        return ""
    lines = []
    for name in ordered(found):
        both = [judge[name], anchor.get(name, {})]
        drawn = [charts.interval(one, *charts.limits(both)) for one in both]
        cells = "".join(f"<td>{escape(bounded(one))}{bar}</td>" for one, bar in zip(both, drawn, strict=True))
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    lines += [
        f'<tr><th scope="row">{escape(str(found.get("metric")))} of the {escape(name)} baseline</th>'
        f"<td>{escape(number(value))}</td><td></td></tr>"
        for name, value in unshown(found).items()
    ]
    head = ("metric", *(f"{role} rows ({number(counts.get(role, 0))})" for role in ("judge", "anchor")))
    note = "In brackets: one-sided 95 % bounds. None of these rows was learned from."
    shown = str(found.get("detectable", {}).get("sentence", ""))
    version = f"Anchor set {found['anchor_version']}." if found.get("anchor_version") else ""
    return table(head, "".join(lines)) + "".join(
        f'<p class="soft small">{escape(one)}</p>' for one in (note, shown, version) if one
    )


def gains(card: Mapping[str, Any]) -> str:
    """Return the network beside the simple models: how good, how much better, how long, how large."""
    head = ("model", str(card["quality"].get("metric")), "the network gains", "seconds to train", "size")
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in added(card)
    )
    return f"<p>{escape(adds(card))}</p>{table(head, lines)}" if lines else ""


def slices(card: Mapping[str, Any]) -> str:
    """Return the metric by slice, the worst first, each beside the whole."""
    found = card["quality"]
    several = worst_first(found)
    if not several:
        return ""
    whole = found.get("judge", {}).get(found.get("metric"), {})
    ends = charts.limits([*several, whole])
    lines = "".join(
        f'<tr><th scope="row">{escape(str(one.get("slice")))}</th><td>{escape(number(one.get("rows")))}</td>'
        f"<td>{escape(bounded(one))}{charts.interval(one, *ends, mark=whole.get('value'))}</td></tr>"
        for one in several
    )
    note = '<p class="soft small">The upright line is the value on all judge rows.</p>'
    return table(("slice", "rows", str(found.get("metric"))), lines) + note


def confusion(card: Mapping[str, Any]) -> str:
    """Return the matrix of truth against answer."""
    found = card["quality"]
    return charts.confusion(found["confusion"], found.get("levels", [])) if "confusion" in found else ""


def purpose(card: Mapping[str, Any]) -> str:
    """Say what is answered, from what."""
    known = card["purpose"]
    if not known:
        return ""
    lines = "".join(row(name, what) for name, what in known.get("inputs", {}).items())
    network = card["training"].get("parameters", {}).get("network")
    by = f" by the network <code>{escape(str(network))}</code>" if network else ""
    said = f"<p>A {escape(str(known.get('task')))} of <code>{escape(str(known.get('target')))}</code>{by}.</p>"
    hidden = ", ".join(str(name) for name in known.get("sensitive", []))
    told = f'<p class="soft small">Declared sensitive: {escape(hidden)}.</p>' if hidden else ""
    inputs = table(("input", "what it holds"), lines) if lines else ""
    if len(known.get("inputs", {})) > MOST_INPUTS:
        inputs = f"<details><summary>{len(known['inputs'])} inputs</summary>{inputs}</details>"
    return said + inputs + told


def reference(card: Mapping[str, Any]) -> str:
    """Say what windows are compared with, at what threshold, and which changes they can show."""
    known = card.get("reference")
    if not known:
        return ""
    said = [origin(known), thresholds(known)]
    said += [f"{column} is not watched: {why}" for column, why in known.get("broken", {}).items()]
    lines = "".join(row(name, size) for name, size in known.get("detectable", {}).items())
    seen = table(("column", "smallest change that 8 of 10 windows show"), lines) if lines else ""
    return items(said) + seen


def training(card: Mapping[str, Any]) -> str:
    """Say how it learned, and what it was told."""
    told = card["training"]
    if not told:
        return ""
    lines = "".join(row(name, value) for name, value in sorted(told.get("parameters", {}).items()))
    details = f"<details><summary>Parameters</summary>{table(('parameter', 'value'), lines)}</details>" if lines else ""
    rivals = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td><td>{escape(became)}</td></tr>'
        for name, value, became in contestants(told)
    )
    metric = f"{card['quality'].get('metric')} on earlier rows"
    details = (table(("contestant", metric, ""), rivals) if rivals else "") + details
    return f"<p>{escape(learned(told))}</p>{charts.losses(told.get('losses', []))}{details}"


def data(card: Mapping[str, Any]) -> str:
    """Say what it learned from."""
    known = card["data"]
    if not known.get("snapshot"):
        return ""
    span = f", {known['first']} to {known['last']}" if known.get("first") else ""
    said = {
        "Snapshot": known["snapshot"],
        "Rows": f"{number(known.get('rows'))} in {number(known.get('batches'))} batches{span}",
        "Revision of the data registry": known.get("revision"),
    }
    return table((), "".join(row(title, value) for title, value in said.items()))


def again(card: Mapping[str, Any]) -> str:
    """Return the command that makes it again, and everything that it depends on."""
    facts = card["facts"]
    if not facts:
        return ""
    command = f"<pre>{escape(str(card['reproduce']))}</pre>" if card.get("reproduce") else ""
    names = [*(name for name in FACTS if name in facts), *sorted(facts.keys() - FACTS)]
    return command + table((), "".join(row(FACTS.get(name, name), facts[name]) for name in names))


def footer(card: Mapping[str, Any]) -> str:
    """Say where this page comes from."""
    made = f"Registered {escape(when(str(card['made_at'])))}" if card.get("made_at") else "Registered"
    run = f", run {escape(str(card['run']))}" if card.get("run") else ""
    return f'<footer class="soft small">{made}{run}. Drawn from card.json, which stands beside this page.</footer>'


def pill(word: str) -> str:
    """Return a word on a coloured ground; an unknown one has none of its own."""
    return f'<span class="pill {escape(word.split(" ", maxsplit=1)[0], quote=True)}">{escape(word)}</span>'


def items(lines: Sequence[Any]) -> str:
    """Return a list."""
    return f"<ul>{''.join(f'<li>{escape(str(line))}</li>' for line in lines if line)}</ul>" if lines else ""


def row(title: Any, value: Any) -> str:
    """Return a line of a table of two columns."""
    return f'<tr><th scope="row">{escape(str(title))}</th><td>{escape(number(value))}</td></tr>'


def table(head: Sequence[str], lines: str) -> str:
    """Return a table that scrolls by itself on a narrow screen; the lines are HTML."""
    top = f"<thead><tr>{''.join(f'<th scope=col>{escape(name)}</th>' for name in head)}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{top}<tbody>{lines}</tbody></table></div>'
