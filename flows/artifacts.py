"""What a run leaves for people to read in the Prefect UI: a page, a table, a progress bar.

An artifact that can't be written never fails the work it tells of: the log says so and the run goes on.
"""

import base64
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.context import get_run_context
from prefect.utilities.context import get_task_and_flow_run_ids

from data.errors import ServerUnavailable
from data.markdown import escaped
from flows.api import Api, Refused, opened
from models.cards import gate_lines
from tasks.reports import Report

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two updates of a progress bar; each is a write to Prefect's database."""


def key_of(flow: str, project: str, kind: str) -> str:
    """Return the name under which an artifact's history is shown; Prefect allows a-z, 0-9 and dashes."""
    return f"{flow}-{project}-{kind}".replace("_", "-").lower()


def publish(api_url: str, flow: str, project: str, report: Report) -> None:
    """Show a report on the current run's page: the page, and its numbers as a table of their own."""
    with opened(api_url, timeout=5.0, patience=10.0) as api:
        create(api, "markdown", key_of(flow, project, "report"), report.sentence, page(report))
        if report.table:
            table = [{name: cell(value) for name, value in row.items()} for row in report.table]
            create(api, "table", key_of(flow, project, "table"), report.sentence, json_text(table))


def show_pictures(api_url: str, flow: str, project: str, folder: Path) -> None:
    """Show the plots in a folder on the current run's page; an address on the loopback would show nothing elsewhere."""
    with opened(api_url, timeout=5.0, patience=10.0) as api:
        for picture in sorted(folder.glob("*.png")):
            content = base64.b64encode(picture.read_bytes()).decode()
            key = key_of(flow, project, picture.stem)
            create(api, "image", key, picture.stem, f"data:image/png;base64,{content}")


def page(report: Report) -> str:
    """Return what stands under a report's sentence, which Prefect shows above it: details, gates, links."""
    links = " · ".join(linked(title, target) for title, target in report.links.items())
    return "\n\n".join(part for part in (report.markdown, gates_of(report), links) if part) or escaped(report.sentence)


def gates_of(report: Report) -> str:
    """Return the gates among a report's rows as a list."""
    return gate_lines([row for row in report.table if "gate" in row])


def linked(title: str, target: str) -> str:
    """Return a link, or a command to copy where the target is no address."""
    return f"[{escaped(title)}]({target})" if target.startswith("http") else f"{escaped(title)}: `{target}`"


def create(api: Api, kind: str, key: str, description: str, data: object) -> str | None:
    """Create one artifact on the current run and return its id, or None when Prefect doesn't take it."""
    get_run_context()  # outside of a run there is nowhere to show it: a bug
    task_run, flow_run = get_task_and_flow_run_ids()
    body = {"type": kind, "key": key, "description": description[:2000], "data": data}
    body["task_run_id"] = None if task_run is None else str(task_run)
    body["flow_run_id"] = None if flow_run is None else str(flow_run)
    try:
        return str(api.call("POST", "/artifacts/", body)["id"])
    except (ServerUnavailable, Refused) as error:
        logger.warning("artifact %s is not shown: %s", key, error)
        return None


@contextmanager
def progress_bar(api_url: str, flow: str, project: str) -> Iterator[Callable[[float, str], None]]:
    """Yield a function `(share 0..1, what)` that moves a progress bar on the current run's page."""
    with opened(api_url, timeout=2.0, patience=0.0) as api:
        known_as = create(api, "progress", key_of(flow, project, "progress"), "starting", 0.0)
        told = time.monotonic()

        def tell(share: float, what: str) -> None:
            nonlocal told
            logger.info("%s: %s", project, what)
            if known_as is None or (share < 1.0 and time.monotonic() - told < PAUSE):
                return
            told = time.monotonic()
            percent = round(100.0 * min(max(share, 0.0), 1.0), 1)
            try:
                api.call("PATCH", f"/artifacts/{known_as}", {"data": percent, "description": what})
            except (ServerUnavailable, Refused) as error:
                logger.warning("progress is not shown: %s", error)

        yield tell


def cell(value: object) -> object:
    """Return a table cell that JSON can hold and a person can read; NaN is shown as such."""
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(cell(each)) for each in value)
    return str(value)


def json_text(value: object) -> str:
    """Prefect's tables are JSON in a string."""
    import orjson

    return orjson.dumps(value).decode()


def combined(reports: dict[str, Report]) -> Report:
    """Return one report of several steps: the last one's sentence, those of the others, the gates, details, links.

    What the last one's sentence says already, as it does the verdict, is not said again.
    """
    said = list(reports.values())[-1].sentence
    lines = [f"- **{step}**: {escaped(one.sentence)}" for step, one in reports.items() if one.sentence not in said]
    gates = next((found for report in reports.values() if (found := gates_of(report))), "")
    details = {step: report.markdown for step, report in reports.items() if report.markdown}
    sections = [f"### {title}\n\n{text}" for title, text in {"gates": gates, **details}.items() if text]
    links = {title: url for report in reports.values() for title, url in report.links.items()}
    return Report(said, "\n\n".join(["\n".join(lines), *sections]), links)
