"""Drift reports for people, in a process of their own: `python -m tasks.reporting`. Verdicts never wait for it.

It loads the project's file, as the verdict did: so columns that the project computes, and what the champion makes of
a picture, are on the page too. The newest pages of a project are kept; the JSON beside each is kept for good.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.environment import QUIET
from data.errors import Corrupt, HoldfastError, ServerUnavailable
from data.schema import Rows
from monitoring.answers import read_shortly
from monitoring.drift import write_report
from monitoring.logged import reference_of
from monitoring.records import Incident, Verdict, WindowKey
from monitoring.reference import Reference
from monitoring.store.verdicts import Recorded
from tasks.observing import observed, predictor_of
from tasks.resources import Resources, connect

logger = logging.getLogger(__name__)

ALERTING = ("drift", "fault")
PAGES = 50  # of a project, 4 to 6 MB each


def make_reports(resources: Resources) -> int:
    """Make every pending report, with a page where the verdict alerts; return how many.

    One that can't be made is noted with the reason, and not tried again.
    """
    made = 0
    while pending := resources.store.verdicts.without_report(limit=20):
        for verdict in pending:
            make_report(resources, verdict, page=verdict.outcome in ALERTING)
        made += len(pending)
    for project in sorted({folder.name for folder in (resources.settings.home / "reports").glob("*/")}):
        prune(resources, project)
    return made


def make_report(resources: Resources, verdict: Verdict, *, page: bool) -> dict[str, Any]:
    """Make the report of one window from what is stored, and note where it lies.

    Raises: ServerUnavailable, the store is away: it is made later.
    """
    why, seen, reference = "", Rows(), None
    try:
        reference, seen = window_of(resources, verdict.window)
    except ServerUnavailable:
        raise
    except HoldfastError as error:
        why = str(error)
    made = write_report(resources.settings.home / "reports", verdict, reference, seen, page=page)
    made = {**made, "why": why} if why else made
    resources.store.verdicts.attach_report(verdict.window, "data", made)
    logger.info("%s window %d: report %s", verdict.window.project, verdict.window.index, made)
    return made


def window_of(resources: Resources, window: WindowKey) -> tuple[Reference, Rows]:
    """Return what a verdict was made from: the reference, and the watched columns of the window.

    Raises: Corrupt, BadDeclaration: the version, its reference or the project's code is not what it was.
    """
    recorded = resources.store.verdicts.get(window, "data")
    revision = revision_of(resources, recorded) if recorded else None
    reference = reference_of(resources.store, window, resources.calibrations, revision=revision)
    generations = resources.store.ledger.generations(window.project)
    generation = next((one for one in generations if one.number == window.generation), None)
    if generation is None:
        raise Corrupt(f"ledger of {window.project}", f"generation {window.generation}", "none")
    predictor = predictor_of(resources, generation)
    return reference, observed(resources.store, predictor, window, read_shortly, reference.projection)[0]


def revision_of(resources: Resources, recorded: Recorded) -> int | None:
    """Return the revision of the reference that a verdict was made with; one that does not say so: in force then."""
    window = recorded.verdict.window
    if "revision" in recorded.verdict.detail:
        told: int | None = recorded.verdict.detail["revision"]
        return told
    known = resources.store.references.revisions(window.project, window.generation)
    past = [one for one in known if one.at <= recorded.at]
    for_it = [one.number for one in past if one.change is None or one.change.first_window <= window.index]
    return max(for_it, default=None)


def prune(resources: Resources, project: str) -> list[Path]:
    """Delete all but the newest pages of a project, and return those deleted; an open incident's stay.

    The verdict is told first, so that a page that is gone is never linked to; killed in between, it is done again.
    """
    folder = resources.settings.home / "reports" / project
    wanted = set(named(resources.store.incidents.open_ones(project)))
    old = sorted(pages(folder), key=lambda page: page.stat().st_mtime, reverse=True)[PAGES:]
    gone = [page for page in old if (int(page.parent.name), int(page.stem)) not in wanted]
    for page in gone:
        generation, index = int(page.parent.name), int(page.stem)
        for one in resources.store.verdicts.between(project, generation, "data", index, index):
            kept = {"json": f"{project}/{generation}/{index}.json", "html": None, "why": "its page was old"}
            resources.store.verdicts.attach_report(one.verdict.window, "data", kept)
        page.unlink(missing_ok=True)
    return gone


def pages(folder: Path) -> Iterator[Path]:
    """Yield the pages of a project's windows."""
    for page in folder.glob("*/*.html"):
        if page.stem.isdecimal() and page.parent.name.isdecimal() and page.is_file():
            yield page


def named(incidents: list[Incident]) -> Iterator[tuple[int, int]]:
    """Yield the windows, as generation and index, that people are sent to by these incidents."""
    for one in incidents:
        ends = (one.first_window, one.last_window, one.detail.get("window"))
        for index in (*ends, *one.detail.get("windows", ())):
            if index is not None:
                yield one.generation, int(index)


def main(words: list[str] | None = None) -> int:
    """Make the pending reports, or one that is asked for by name, with its page."""
    parser = argparse.ArgumentParser(prog="python -m tasks.reporting", description=main.__doc__)
    parser.add_argument(
        "--window", nargs=3, metavar=("PROJECT", "GENERATION", "INDEX"), help="make this one, with a page"
    )
    given = parser.parse_args(words)
    resources = connect()
    try:
        if given.window is None:
            make_reports(resources)
            return 0
        project, generation, index = given.window
        found = resources.store.verdicts.between(project, int(generation), "data", int(index), int(index))
        for one in found:
            make_report(resources, one.verdict, page=True)
        return 0 if found else 1
    except HoldfastError as error:
        logger.error("reports wait: %s", error)  # noqa: TRY400 - an expected failure, said on one line
        return 1


if __name__ == "__main__":
    os.environ.update(QUIET)
    os.nice(19)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.exit(main())
