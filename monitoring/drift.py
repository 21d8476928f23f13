"""The Evidently door: a report for people on each window, with our test in it (made by `tasks.reporting`)."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from data.schema import Category, Number, Rows
from monitoring.binning import count
from monitoring.budget import Rule
from monitoring.calibration import Calibration, calibrated
from monitoring.columns import rows_in
from monitoring.frames import frames, showable, titles
from monitoring.records import Verdict
from monitoring.reference import Reference
from monitoring.statistics import components, effect, score

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.report import Snapshot

TEST = "holdfast"
COLUMNS = 40  # shown at most, 30 to 60 kB each beside 3.7 MB of scripts
LARGEST = 5_900_000  # bytes of a page
NAMED = 20  # columns said to be missing


def report(
    reference: Reference, observed: Rows, calibration: Calibration, first: Sequence[str] = (), most: int = COLUMNS
) -> tuple["Snapshot | None", dict[str, str]]:
    """Return Evidently's report on a window, with our test per column, and the columns left out with the reason.

    None when no column can be shown. Where there are more than `most`, those named `first` are shown. At most 20,000
    rows are looked at; up to that size the columns it flags are those of the verdict.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    some, out = showable(reference, observed)
    fit = [name for name in dict.fromkeys([*first, *reference.watched]) if name in some]
    out |= dict.fromkeys(fit[most:], f"the page shows {most} columns; its numbers are in the JSON")
    shown = titles([name for name in reference.watched if name in set(fit[:most])])
    if not shown:
        return None, out
    _register(reference, some, shown, calibration)
    known, current = frames(reference, some, shown)
    numbers = [title for name, title in shown.items() if isinstance(reference.columns[name], Number)]
    levels = [title for name, title in shown.items() if isinstance(reference.columns[name], Category)]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=levels)
    drifts = [ValueDrift(column=title, method=TEST, threshold=calibration.threshold) for title in shown.values()]
    with np.errstate(all="ignore"):
        snapshot = Report(drifts, include_tests=True).run(
            Dataset.from_pandas(current, data_definition=definition),
            Dataset.from_pandas(known, data_definition=definition),
        )
    return snapshot, out


def _register(reference: Reference, observed: Rows, shown: Mapping[str, str], calibration: Calibration) -> None:
    """Make our statistic Evidently's test, on these rows.

    Evidently drops nulls before it asks, so the test takes the column's rows from here.
    """
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    names = {title: name for name, title in shown.items()}

    def test(_: "pd.Series[Any]", current: "pd.Series[Any]", kind: object, threshold: float) -> tuple[float, bool]:  # noqa: ARG001
        name = names[str(current.name)]
        binning, before = reference.binnings[name], calibration.known[name]
        now = count(binning, observed[name])
        found = float(score(components(before, now, binning.ordered), calibration.nulls[name]))
        return found, calibration.drifted(name, found, float(effect(before, now, binning.ordered)))

    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    register_stattest(StatTest(TEST, "score of the verdict, in standard deviations", kinds), test)


def flagged(snapshot: "Snapshot") -> list[str]:
    """Return the titles of the columns whose test failed."""
    failed = [result for result in snapshot.tests_results if result.status.value == "FAIL"]
    return [str(result.metric_config.params["column"]) for result in failed if result.metric_config is not None]


def write_report(
    folder: Path, verdict: Verdict, reference: Reference | None, observed: Rows, *, page: bool
) -> dict[str, Any]:
    """Write a window's report below `folder`; return where it lies, relative to it: `json`, and `html` with `page`."""
    window = verdict.window
    stem = f"{window.project}/{window.generation}/{window.index}"
    (folder / stem).parent.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"outcome": verdict.outcome, "reason": verdict.reason, "rows": verdict.rows}
    snapshot, out, drawn = _drawn(verdict, reference, observed, page=page)
    body = {
        "window": [window.project, window.generation, window.index],
        "verdict": {**about, "detail": verdict.detail},
        "left_out": out,
        "evidently": orjson.loads(_standard(snapshot.json())) if snapshot is not None else None,
    }
    _replace(folder / f"{stem}.json", orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    if drawn is None:
        return {"json": f"{stem}.json", "html": None}
    _replace(folder / f"{stem}.html", drawn)
    return {"json": f"{stem}.json", "html": f"{stem}.html"}


def _drawn(
    verdict: Verdict, reference: Reference | None, observed: Rows, *, page: bool
) -> tuple["Snapshot | None", dict[str, str], bytes | None]:
    """Return the report, what it leaves out, and its page, of as many columns as a page can hold."""
    if reference is None or not rows_in(observed) or "budget" not in verdict.detail:
        return None, {}, None
    rule = Rule.from_json(verdict.detail["budget"])
    first = [*verdict.detail.get("faults", ()), *(line["column"] for line in verdict.detail.get("triage", ()))]
    calibration, most = calibrated(reference, rows_in(observed), rule, verdict.window.start), COLUMNS
    while True:
        snapshot, out = report(reference, observed, calibration, first, most)
        if not page or snapshot is None:
            return snapshot, out, None
        drawn = _headed(snapshot.get_html_str(as_iframe=False), verdict, out).encode(errors="replace")
        if len(drawn) <= LARGEST or most == 1:
            return snapshot, out, drawn
        most //= 2


def _headed(page: str, verdict: Verdict, out: Mapping[str, str]) -> str:
    """Say above Evidently's charts which window they show, the verdict on it, and which columns are missing."""
    window = verdict.window
    title = f"{window.project}: window {window.index} of generation {window.generation}"
    missing = "".join(f"<br>{escape(name)} is not shown: {escape(why)}" for name, why in [*out.items()][:NAMED])
    missing += f"<br>and {len(out) - NAMED:,} more" if len(out) > NAMED else ""
    said = f"<b>{escape(title)}</b>, {verdict.rows:,} rows<br>{escape(verdict.reason)}{missing}"
    head, body, charts = page.partition("<body>")
    style = "margin: 24px 32px 0; font: 16px/1.5 system-ui, sans-serif"
    return f'{head}<title>{escape(title)}</title>{body}<div style="{style}">{said}</div>{charts}'


def _standard(text: str) -> bytes:
    """Return JSON without the NaN and Infinity that Python writes."""
    import json

    return orjson.dumps(json.loads(text, parse_constant=lambda _: None))


def _replace(path: Path, content: bytes) -> None:
    part = path.with_suffix(f"{path.suffix}.part")
    part.write_bytes(content)
    part.replace(path)
