"""What a backtest says: a table of numbers, its picture over time, and a page that stands alone."""

import base64
import html
import io
import itertools
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.card_style import STYLE
from models.outputs import levelled
from tasks.backtest import Played
from tasks.backtesting import Result
from tasks.ingestion import write_atomically
from tasks.observing import utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 40  # of a curve
COLOURS = ("#1f5f8b", "#8d949b", "#a8661a", "#2f7f52", "#b9b4aa")  # the policy, never, weekly, always, trivial
MOST = 200  # rows of a table on the page
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style} img {{ width: 100%; background: #fff; border-radius: 6px; }}</style><main>
"""


def sentence(result: Result) -> str:
    """Say in one line what the policy reached beside the calendar, on the part that chose nothing."""
    policy, _, weekly, *_ = result.arms
    name = measure(result)
    ours, theirs = (result.metric(one, last_third=True) for one in (policy, weekly))
    spent = f"{len(policy.retrainings)} retrainings against {len(weekly.retrainings)} {weekly.name}"
    return f"{policy.name}: {name} {ours:.3f} on the last third, {weekly.name} {theirs:.3f}; in all {spent}"


def measure(result: Result) -> str:
    """Name the number that arms are compared by."""
    return "accuracy" if levelled(result.stream.project.task) else "mean absolute error"


def table(result: Result) -> list[dict[str, Any]]:
    """Return one line an arm; `lift` is over the trivial one, above 0 where the arm is better."""
    sign = 1 if levelled(result.stream.project.task) else -1
    known = {last: result.metric(result.arms[-1], last_third=last) for last in (False, True)}
    also = () if levelled(result.stream.project.task) else ("rmse", "r2")
    found = []
    for arm in result.arms:
        whole, last = (result.metric(arm, last_third=part) for part in (False, True))
        late = [one for one in arm.retrainings if one.at > result.split]
        found.append(
            {
                "arm": arm.name,
                measure(result): rounded(whole),
                "last_third": rounded(last),
                **{name: rounded(result.score(arm, name)) for name in also},
                "lift": rounded(sign * (whole - known[False])),
                "lift_last_third": rounded(sign * (last - known[True])),
                "retrainings": len(arm.retrainings),
                "of_them_last_third": len(late),
                "minutes": round(arm.minutes, 2),
            }
        )
    return found


def rounded(value: float) -> float | None:
    """Return four decimals; None for what is no number."""
    return None if np.isnan(value) else round(value, 4)


def facts(result: Result) -> dict[str, Any]:
    """Return everything as JSON values."""
    policy = result.arms[0]
    return {
        "project": result.stream.project.name,
        "sentence": sentence(result),
        "since": result.since.isoformat(),
        "last_third_from": result.split.isoformat(),
        "until": result.until.isoformat(),
        "rows": len(result.stream.come(result.since, result.until)),
        "window": str(result.window),
        "label_delay": str(result.stream.project.labels.delay),
        "week": str(result.week),
        "policies": [{**asdict(one), "metric": rounded(one.metric)} for one in result.tried],
        "arms": table(result),
        "outcomes": dict(Counter(f"{one['check']} {one['verdict']}" for one in policy.verdicts)),
        "first_version": training(result.first),
        "retrainings": [training(one) for one in policy.retrainings],
        "undone": policy.undone,
        "incidents": policy.incidents,
        "verdicts": policy.verdicts,
        "curves": {arm.name: curve(result, arm) for arm in result.arms},
    }


def training(one: Any) -> dict[str, Any]:
    """Return a retraining as JSON values."""
    return {**asdict(one), "at": one.at.isoformat(), "seconds": round(one.seconds, 2)}


def curve(result: Result, arm: Played) -> list[dict[str, Any]]:
    """Return the metric over time, in as many stretches of equally many rows as a picture shows."""
    edges = stretches(result)
    return [
        {"until": until.isoformat(), "value": rounded(result.between(arm, after, until))}
        for after, until in itertools.pairwise(edges)
    ]


def stretches(result: Result) -> list[datetime]:
    """Return the ends of the picture's stretches."""
    rows = result.stream.seen[result.stream.come(result.since, result.until)]
    places = np.linspace(0, len(rows) - 1, min(POINTS, len(rows)) + 1).round().astype(int)[1:]
    return [result.since, *sorted({utc(rows[place]) for place in places})]


def picture(result: Result, found: dict[str, Any]) -> bytes:
    """Draw the metric over time with the policy's incidents and retrainings, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, points) in zip(COLOURS, found["curves"].items(), strict=False):
        times = [day(point["until"]) for point in points]
        values = [np.nan if point["value"] is None else point["value"] for point in points]
        width = 2.2 if name == result.arms[0].name else 1.1
        axes.plot(times, values, color=colour, lw=width, label=name, zorder=3 if width > 2 else 2)
    mark(axes, result, found)
    axes.xaxis_date()
    axes.set(ylabel=measure(result), title=f"{found['project']}: {result.arms[0].name}")
    axes.legend(loc="lower center", ncols=7, fontsize=8, frameon=False, bbox_to_anchor=(0.5, -0.24))
    axes.grid(alpha=0.25)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120, metadata={"Software": None})
    return drawn.getvalue()


def mark(axes: "Axes", result: Result, found: dict[str, Any]) -> None:
    """Mark the last third, each incident and each retraining."""
    axes.axvspan(day(result.split), day(result.until), color="#000", alpha=0.04, label="last third")
    for number, incident in enumerate(found["incidents"]):
        opened, closed = day(incident["opened"]), day(incident["closed"] or result.until)
        axes.axvspan(opened, closed, color="#b3412b", alpha=0.12, lw=1, label="" if number else "incident")
    for number, one in enumerate(result.arms[0].retrainings):
        style = "-" if one.outcome == "promoted" else ":"
        axes.axvline(day(one.at), color="#1f5f8b", lw=0.9, ls=style, alpha=0.7, label="" if number else "retraining")


def day(moment: datetime | str) -> float:
    """Return a time as matplotlib's axes count it: in days since 1970."""
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp() / 86_400


def page(result: Result, found: dict[str, Any]) -> str:
    """Return the page: what was reached, the picture, what was tried, and everything that happened."""
    drawn = base64.b64encode(picture(result, found)).decode()
    title = f"Backtest of {found['project']}"
    about = (
        f"{found['rows']:,} rows from {found['since']} to {found['until']}; windows of {found['window']}, labels after "
        f"{found['label_delay']}, a week is {found['week']}. The last third begins {found['last_third_from']}; nothing "
        "was chosen on it. People are taken to say yes at once, and a training to take no time of the replay's."
    )
    parts = [
        HEAD.format(title=html.escape(title), style=STYLE),
        f"<header><p class=kicker>Backtest</p><h1>{html.escape(found['project'])}</h1>",
        f"<p class=verdict>{html.escape(found['sentence'])}</p><p class='soft small'>{html.escape(about)}</p></header>",
        f"<section><h2>{measure(result).capitalize()} over time</h2>",
        f"<img alt='the metric over time' src='data:image/png;base64,{drawn}'></section>",
        section("Arms", found["arms"]),
        section("Policies on the first two thirds", found["policies"]),
        section("Retrainings", [found["first_version"], *found["retrainings"]]),
        section("Incidents", found["incidents"]),
        section("Verdicts", found["verdicts"]),
    ]
    return "\n".join(parts) + "</main></html>\n"


def section(title: str, rows: list[dict[str, Any]]) -> str:
    """Return a table with its heading; of a long one the newest rows."""
    if not rows:
        return f"<section><h2>{title}</h2><p class=soft>none</p></section>"
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape('-' if value is None else str(value))}</td>" for value in row.values())
        for row in rows[-MOST:]
    )
    cut = f"<p class='soft small'>the last {MOST} of {len(rows):,}</p>" if len(rows) > MOST else ""
    table_ = f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    return f"<section><h2>{title}</h2>{cut}{table_}</section>"


def write(result: Result, found: dict[str, Any], home: Path, now: datetime) -> Path:
    """Write the page of these facts below the home's reports, and return where it lies."""
    path = home / "reports" / "backtests" / f"{result.stream.project.name}-{now:%Y%m%dT%H%M%S}.html"
    write_atomically(path, page(result, found))
    return path
