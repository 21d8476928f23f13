"""The Evidently door: a report for people on each window, in a process of its own, with our test in it.

`python -m monitoring.drift --home HOME` makes every report that is pending; verdicts never wait for it.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from data.environment import QUIET
from data.errors import Corrupt, HoldfastError
from data.schema import Category, Number, Rows, length
from monitoring.binning import count
from monitoring.budget import Rule
from monitoring.calibration import Calibration, calibrated
from monitoring.frames import frames, left_out, sampled, titles
from monitoring.logged import observe, reference_of
from monitoring.records import Verdict
from monitoring.reference import Reference
from monitoring.statistics import components, effect, score

if TYPE_CHECKING:
    import pandas as pd
    from evidently.core.report import Snapshot

    from monitoring.store import Store

logger = logging.getLogger(__name__)

ALERTING = ("drift", "fault")
TEST = "holdfast"


def report(reference: Reference, observed: Rows, calibration: Calibration) -> tuple["Snapshot | None", dict[str, str]]:
    """Return Evidently's report on a window, with our test per column, and the columns left out with the reason.

    None when no column can be shown. At most 20,000 rows are looked at; up to that size the columns it flags
    are those of the verdict.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    some = sampled(observed, reference.seed)
    out = left_out(reference, some)
    shown = titles([name for name in reference.watched if name not in out])
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
        binning, before = reference.binnings[name], reference.counts[name]
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
    snapshot: Snapshot | None = None
    out: dict[str, str] = {}
    if reference is not None and length(observed) and "budget" in verdict.detail:
        rule = Rule.from_json(verdict.detail["budget"])
        snapshot, out = report(reference, observed, calibrated(reference, length(observed), rule, window.start))
    body = {
        "window": [window.project, window.generation, window.index],
        "verdict": {**about, "detail": verdict.detail},
        "left_out": out,
        "evidently": orjson.loads(_standard(snapshot.json())) if snapshot is not None else None,
    }
    _replace(folder / f"{stem}.json", orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    if not page or snapshot is None:
        return {"json": f"{stem}.json", "html": None}
    page_of_it = _headed(snapshot.get_html_str(as_iframe=False), verdict, out)
    _replace(folder / f"{stem}.html", page_of_it.encode(errors="replace"))
    return {"json": f"{stem}.json", "html": f"{stem}.html"}


def _headed(page: str, verdict: Verdict, out: Mapping[str, str]) -> str:
    """Say above Evidently's charts which window they show, the verdict on it, and which columns are missing."""
    window = verdict.window
    title = f"{window.project}: window {window.index} of generation {window.generation}"
    missing = "".join(f"<br>{escape(name)} is not shown: {escape(why)}" for name, why in out.items())
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


def make_reports(store: "Store", home: Path) -> int:
    """Make every pending report, with a page where the verdict alerts; return how many.

    One that can't be made is noted with the reason, and not tried again.
    """
    made = 0
    while pending := store.verdicts.without_report(limit=20):
        for verdict in pending:
            make_report(store, home, verdict, page=verdict.outcome in ALERTING)
        made += len(pending)
    return made


def make_report(store: "Store", home: Path, verdict: Verdict, *, page: bool) -> dict[str, Any]:
    """Make the report of one window from what is stored, and note where it lies."""
    why, observed, reference = None, {}, None
    try:
        reference = reference_of(store, verdict.window)
        observed = observe(home, verdict.window, store.predictions.rows(verdict.window))
    except Corrupt as error:
        why = str(error)
    made = write_report(home / "reports", verdict, reference, observed, page=page)
    made = {**made, "why": why} if why else made
    store.verdicts.attach_report(verdict.window, "data", made)
    logger.info("%s window %d: report %s", verdict.window.project, verdict.window.index, made)
    return made


def main(words: list[str] | None = None) -> int:
    """Make the pending reports, or one that is asked for by name, with its page."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.drift", description=main.__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument(
        "--store",
        default=os.environ.get("HOLDFAST_DATABASE_URL", ""),
        help="URL of the store; empty: HOLDFAST_DATABASE_URL, else the SQLite file of the home",
    )
    parser.add_argument(
        "--window", nargs=3, metavar=("PROJECT", "GENERATION", "INDEX"), help="make this one, with a page"
    )
    given = parser.parse_args(words)
    from monitoring.store import open_store

    home = given.home.absolute()
    try:
        store = open_store(given.store or f"sqlite:///{home / 'holdfast.db'}")
        if given.window is None:
            make_reports(store, home)
            return 0
        project, generation, index = given.window
        known = store.verdicts.all(project, check="data", generation=int(generation))
        found = [verdict for verdict in known if verdict.window.index == int(index)]
        for verdict in found:
            make_report(store, home, verdict, page=True)
        return 0 if found else 1
    except HoldfastError as error:
        logger.error("reports wait: %s", error)  # noqa: TRY400 - an expected failure, said on one line
        return 1


if __name__ == "__main__":
    os.environ.update(QUIET)
    os.nice(19)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(main())
